"""Machines: what virsh says of them (its documented form; no hypervisor was asked) and what is made of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agents.applications import Ground, Patience, Quiesce
from agents.applications.libvirt import Libvirt
from agents.errors import PlanRefused, ProtocolBroken
from agents.facts import Instance
from tests.agents.facts.samples import make_facts

CASE = Path(__file__).resolve().parents[2] / "cases" / "libvirt" / "look.bin"
ATOMIC = Ground(True, "one btrfs snapshot holds all of its files", "btrfs snapshot")
# Freezes and thaws a file; a second freeze fails as libvirt's does.
VIRSH = """#!/bin/sh
shift 3
case $1 in
  domfsfreeze) [ ! -e frozen ] && : >frozen ;;
  domfsthaw) [ ! -e off ] && rm -f frozen ;;
  domstate) [ ! -e off ] && echo running || echo 'shut off' ;;
esac
"""


def found() -> tuple[Instance, ...]:
    return Libvirt().parse(CASE.read_bytes(), make_facts())


def quiesce_of(instance: Instance) -> Quiesce:
    quiesce = Libvirt().recipe(instance, "snapshot", Patience(), "").quiesce
    assert quiesce is not None
    return quiesce


def test_disks_are_found_with_blanks_in_their_names_and_without_cd_roms() -> None:
    web, off = found()
    assert web.places == ("/var/lib/libvirt/images/web 1.qcow2", "/srv/data.qcow2")
    assert (web.is_running, off.is_running) == (True, False)
    offers = Libvirt().offers(web, ATOMIC, make_facts())
    assert [(each.method, each.consistency.value) for each in offers] == [
        ("snapshot", "file-system"),
        ("stream", "file-system"),
    ]
    assert Libvirt().offers(off, ATOMIC, make_facts()) == (), "a disk that is no file"


def test_the_backup_of_the_hypervisor_knows_machine_scratch_and_disks() -> None:
    recipe = Libvirt().recipe(found()[0], "stream", Patience(freeze_ms=7000), "/var/tmp/.run")
    (stream,) = recipe.streams
    assert stream.producer.argv[4:] == (
        "/var/tmp/.run",
        "c7a5fdbd-cdaf-9455-926a-d65c16db1809",
        "yes",
        "7",
        "vda",
        "vdb",
    )
    assert recipe.scratch_bytes > 32212254720
    with pytest.raises(PlanRefused):
        Libvirt().recipe(found()[1], "stream", Patience(), "")


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
def test_a_thaw_is_safe_before_after_and_without_the_freeze(tmp_path: Path, shell: tuple[str, ...]) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "virsh").write_text(VIRSH)
    (tmp_path / "bin" / "virsh").chmod(0o755)
    (tmp_path / "hold").mkdir()
    quiesce = quiesce_of(found()[0])
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}

    def run(source: str) -> int:
        words = [*shell, "-c", f"hold=$1\n{source}", "sh", str(tmp_path / "hold")]
        return subprocess.run(words, cwd=tmp_path, env=environment).returncode

    frozen = tmp_path / "frozen"
    assert run(quiesce.undo) == 0
    assert run(f"hold() {{\n{quiesce.hold}\n}}\nhold") == 0 and frozen.exists()
    assert run(quiesce.undo) == 0 and not frozen.exists()
    assert run(quiesce.undo) == 0
    frozen.touch()
    assert run(quiesce.undo) == 0 and frozen.exists(), "what somebody else froze is not ours to thaw"
    frozen.unlink()
    assert run(f"hold() {{\n{quiesce.hold}\n}}\nhold") == 0
    (tmp_path / "off").touch()
    assert run(quiesce.undo) == 0, "a machine that is off is not frozen"


@pytest.mark.parametrize(
    "fields", [("", "x"), ("a", "not-a-uuid"), ("a", "c7a5fdbd-cdaf-9455-926a-d65c16db180;")]
)
def test_nonsense_is_refused(fields: tuple[str, str]) -> None:
    row = (*fields, "running", "yes", "1", "9", "")
    with pytest.raises(ProtocolBroken):
        Libvirt().parse("".join(f"{each}\0" for each in row).encode(), make_facts())
