"""The ZFS provider against its documented outputs. No machine of the tests has ZFS: `zfs` is a small stand-in
that keeps one file a snapshot, so that the shell sources are at least run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.binds import Bind, Volume
from agents.commands import Command
from agents.facts import DeviceFacts, Mount
from agents.snapshots import Claim, Refusal, providers
from agents.snapshots.zfs import remove_command
from tests.agents.facts.samples import make_facts
from tests.contracts.test_snapshots import Transcript

_STAND_IN = """#!/bin/sh
store={store}
echo "$@" >>"$store/calls"
key() {{ printf '%s' "$1" | tr '/@' '%+'; }}
case $1 in
  list)
    [ ! -e "$store/suspended" ] || {{ echo "cannot iterate filesystems: I/O error" >&2; exit 1; }}
    for last in "$@"; do :; done
    each_snapshot() {{
      for each in "$store"/s-*; do [ ! -e "$each" ] || basename "$each" | cut -c3- | tr '%+' '/@'; done
    }}
    case " $* " in
      *' -d 1 '*) each_snapshot | grep -F "$last@" ;;
      *' -t snapshot '*) each_snapshot ;;
      *) printf '%s\n' tank tank/db other/a ;;
    esac
    true ;;
  snapshot) shift; for each in "$@"; do : >"$store/s-$(key "$each")"; done ;;
  hold) : >"$store/h-$(key "$3")" ;;
  release) rm "$store/h-$(key "$3")" 2>/dev/null || {{ echo "no such tag on this dataset" >&2; exit 1; }} ;;
  destroy)
    [ "$2" != -d ] || shift
    [ ! -e "$store/h-$(key "$2")" ] || {{ echo "cannot destroy '$2': dataset is busy" >&2; exit 1; }}
    if [ -s "$store/busy" ]; then
      sed -i 1d "$store/busy"
      echo "cannot destroy '$2': dataset is busy" >&2
      exit 1
    fi
    rm "$store/s-$(key "$2")" ;;
esac
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    program = tmp_path / "bin" / "zfs"
    program.parent.mkdir()
    program.write_text(_STAND_IN.format(store=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return folder


def zfs_mount(point: str, dataset: str) -> Mount:
    return Mount(point, "zfs", dataset, "/", "0:90", ("rw",), False)


FACTS = make_facts(
    zfs_mount("/tank", "tank"), zfs_mount("/tank/db", "tank/db"), zfs_mount("/other", "other/a"),
    tools=("zfs",),
)  # fmt: skip


def run(command: Command) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command.argv, capture_output=True, text=True, check=False)


def test_it_claims_datasets_only() -> None:
    zfs = providers()["zfs"]
    assert isinstance(zfs.can_take("/tank/db/x", FACTS), Claim)
    assert isinstance(zfs.can_take("/etc", FACTS), Refusal)
    strange = make_facts(zfs_mount("/odd", "tank/-x; rm"), tools=("zfs",))
    assert isinstance(zfs.can_take("/odd", strange), Refusal)


def test_datasets_of_one_pool_are_one_instant() -> None:
    zfs = providers()["zfs"]
    assert zfs.units("/tank/x", FACTS) == zfs.units("/tank/db", FACTS) != zfs.units("/other", FACTS)
    shot = zfs.prepare(Transcript(), ["/tank/x", "/tank/db", "/other"], FACTS, number=2)
    assert [line for line in shot.script.splitlines() if line.startswith("zfs snapshot")] == [
        "zfs snapshot tank@hotfleet-c1-r1-2 tank/db@hotfleet-c1-r1-2 || return 1",
        "zfs snapshot other/a@hotfleet-c1-r1-2 || return 1",
    ]
    assert shot.binds[0] == Bind("/x", "/tank/x", Volume("tank@hotfleet-c1-r1-2", "zfs", "ro"))


def take(facts: DeviceFacts) -> None:
    shot = providers()["zfs"].prepare(Transcript(), ["/tank", "/tank/db"], facts)
    assert run(Command.of("/bin/sh", "-c", f"take() {{\n{shot.script}\n}}\ntake")).returncode == 0


def test_leftovers_are_found_and_removed_by_name(store: Path) -> None:
    zfs = providers()["zfs"]
    take(FACTS)
    (store / "s-tank+daily").touch()
    command = zfs.find_leftovers(FACTS)
    assert command is not None
    words = run(command).stdout.split("\0")[:-1]
    assert words[0::2] == ["hotfleet-c1-r1"] * 2
    assert sorted(words[1::2]) == ["tank/db@hotfleet-c1-r1", "tank@hotfleet-c1-r1"]
    for place in words[1::2]:
        assert run(zfs.remove_leftover(place)).returncode == 0
    assert [each.name for each in store.glob("s-*")] == ["s-tank+daily"]
    assert not list(store.glob("h-*"))


def test_a_busy_snapshot_goes_at_a_later_try_and_nobody_elses_goes_at_all(store: Path) -> None:
    take(FACTS)
    (store / "busy").write_text("1\n")
    assert run(remove_command("tank@hotfleet-c1-r1")).returncode == 0
    assert run(remove_command("tank@hotfleet-c1-r1")).returncode == 0  # idempotent
    (store / "s-tank+daily").touch()
    assert run(remove_command("tank@daily")).returncode == 1
    assert (store / "s-tank+daily").exists()


def test_a_list_that_fails_proves_no_absence(store: Path) -> None:
    """A pool whose disk is away: the undo step stays owed until the list can be read again."""
    take(FACTS)
    (store / "suspended").touch()
    assert run(remove_command("tank@hotfleet-c1-r1")).returncode != 0
    (store / "suspended").unlink()
    assert run(remove_command("tank@hotfleet-c1-r1")).returncode == 0
    assert [each.name for each in store.glob("s-*")] == ["s-tank%db+hotfleet-c1-r1"]
    assert run(remove_command("gone/with-its-dataset@hotfleet-c1-r1")).returncode == 0
