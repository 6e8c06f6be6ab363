"""Units that hang together: what systemd stops along with a service runs again afterwards.

`systemctl` is a small stand-in that stops what requires a unit, or is a part of it, as systemd does
(systemd.unit(5), Requires= and PartOf=)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.applications.services import stop_around

_STAND_IN = """#!/bin/sh
units={units}
for unit in "$@"; do :; done
case $1 in
  show)
    case "$*" in *LoadState*) echo LoadState=loaded ;; esac
    case "$*" in
      *ActiveState*) [ -e "$units/$unit/active" ] && echo ActiveState=active || cat "$units/$unit/rests" ;;
    esac
    case "$*" in *'-p Result'*) echo Result=success ;; esac
    case "$*" in *RequiredBy*ConsistsOf*) cat "$units/$unit/lists" ;; esac
    ;;
  stop)
    rm -f "$units/$unit/active"
    echo "$unit" >>"$units/../stopped"
    for also in $(sed -n 's/^RequiredBy=//p; s/^ConsistsOf=//p' "$units/$unit/lists"); do
      [ ! -e "$units/$also/active" ] || "$0" stop -- "$also"
    done
    ;;
  start)
    shift
    echo "$*" >>"$units/../started"
    : >"$units/$unit/active"
    ;;
esac
"""
# The runner's machine has no systemd: only its sign is there, for this one process.
_INSIDE = """
mount -t tmpfs none /run && mkdir -p /run/systemd/system
PATH=$1:$PATH
hold=$2
"""


class Units:
    """Units in a directory, and the shell of a cold backup over them."""

    def __init__(self, folder: Path) -> None:
        self.path, self._programs, self._hold = folder / "units", folder / "bin", folder / "hold"
        for each in (self.path, self._programs, self._hold):
            each.mkdir()
        program = self._programs / "systemctl"
        program.write_text(_STAND_IN.format(units=self.path))
        program.chmod(0o755)

    def add(self, name: str, *lists: str, rests: str = "") -> None:
        """Given lists as systemctl shows them ("RequiredBy=a b"), add a unit that runs, or rests so."""
        unit = self.path / name
        unit.mkdir()
        (unit / "lists").write_text("".join(f"{line}\n" for line in lists))
        (unit / "rests").write_text(f"ActiveState={rests or 'inactive'}\n")
        if not rests:
            (unit / "active").touch()

    def said(self, what: str) -> list[str]:
        """What was "stopped" or "started", with its options, in this order."""
        path = self.path.parent / what
        return path.read_text().splitlines() if path.exists() else []

    @property
    def active(self) -> set[str]:
        return {unit.name for unit in self.path.iterdir() if (unit / "active").exists()}

    def run(self, shell: tuple[str, ...], source: str) -> subprocess.CompletedProcess[str]:
        words = ["unshare", "-m", *shell, "-c", f"set -u\n{_INSIDE}\n{source}", "sh"]
        return subprocess.run(
            [*words, str(self._programs), str(self._hold)], capture_output=True, text=True, timeout=120
        )


@pytest.fixture
def units(tmp_path: Path) -> Units:
    return Units(tmp_path)


SHELLS = pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")], ids=["dash", "busybox"])


def hold(units: Units, shell: tuple[str, ...], source: str) -> subprocess.CompletedProcess[str]:
    return units.run(shell, f"take() {{\n{source}\n}}\ntake")


@SHELLS
def test_what_is_stopped_along_with_a_service_runs_again(units: Units, shell: tuple[str, ...]) -> None:
    units.add("db.service", "RequiredBy=shop.service idle.service some.target", "ConsistsOf=a@1.service")
    units.add("shop.service", "RequiredBy=proxy.service db.service")  # a circle ends
    units.add("proxy.service")
    units.add("idle.service", rests="inactive")
    units.add("a@1.service")
    units.add("some.target", "ConsistsOf=part.service", "Wants=idle.service part.service")
    units.add("part.service")
    before = units.active
    quiesce = stop_around(["db.service"])
    held = hold(units, shell, quiesce.hold)
    assert held.returncode == 0, held.stderr
    assert units.active == set()
    let_go = units.run(shell, quiesce.undo)
    assert let_go.returncode == 0, let_go.stderr
    assert units.active == before


@SHELLS
def test_sockets_come_before_their_service_and_what_depends_on_it_after_it(
    units: Units, shell: tuple[str, ...]
) -> None:
    units.add("db.service", "TriggeredBy=db.socket", "RequiredBy=shop.service")
    units.add("db.socket", "RequiredBy=db.service")
    units.add("shop.service", "TriggeredBy=shop.socket", "RequiredBy=proxy.service")
    units.add("shop.socket", "RequiredBy=shop.service")
    units.add("proxy.service")
    quiesce = stop_around(["db.service"])
    assert hold(units, shell, quiesce.hold).returncode == 0
    stopped = list(dict.fromkeys(units.said("stopped")))
    assert stopped.index("db.socket") < stopped.index("db.service")
    assert units.run(shell, quiesce.undo).returncode == 0
    order = ["db.socket", "db.service", "shop.socket", "shop.service", "proxy.service"]
    assert units.said("started") == [f"-- {name}" for name in order]


@SHELLS
def test_what_starts_others_is_started_alone_when_one_of_them_stood(
    units: Units, shell: tuple[str, ...]
) -> None:
    parts = "a@1.service a@2.service"
    units.add("a.service", f"ConsistsOf={parts}", f"Wants={parts}", "RequiredBy=all.target")
    units.add("a@1.service")
    units.add("a@2.service", rests="failed")
    units.add("all.target")
    units.add("b.service", "ConsistsOf=b@1.service", "Wants=b@1.service other.service")
    units.add("b@1.service")
    units.add("other.service", rests="inactive")
    quiesce = stop_around(["a.service", "b.service"])
    assert hold(units, shell, quiesce.hold).returncode == 0
    assert units.run(shell, quiesce.undo).returncode == 0
    alone = "--job-mode=ignore-dependencies"
    assert units.said("started") == [
        "-- b.service",
        "-- b@1.service",
        f"{alone} -- a.service",
        f"{alone} -- all.target",
        "-- a@1.service",
    ]


@SHELLS
def test_a_name_with_a_backslash_is_read_as_systemctl_quotes_it(units: Units, shell: tuple[str, ...]) -> None:
    units.add("db.service", r'RequiredBy=x.service "a\\x2db.service"')
    units.add("x.service")
    units.add(r"a\x2db.service")
    before = units.active
    quiesce = stop_around(["db.service"])
    held = hold(units, shell, quiesce.hold)
    assert held.returncode == 0 and units.active == set(), held.stderr
    assert units.run(shell, quiesce.undo).returncode == 0 and units.active == before


@SHELLS
def test_what_just_works_once_is_not_cut_off(units: Units, shell: tuple[str, ...]) -> None:
    units.add("db.service", "RequiredBy=dump.service")
    units.add("dump.service", rests="activating")
    quiesce = stop_around(["db.service"])
    held = hold(units, shell, quiesce.hold)
    assert held.returncode == 1 and "dump.service is just being started or stopped" in held.stderr
    assert units.said("stopped") == []
    assert units.run(shell, quiesce.undo).returncode == 0


@SHELLS
def test_what_stood_and_is_started_meanwhile_is_no_cold_copy(units: Units, shell: tuple[str, ...]) -> None:
    """By its administrator, or by another run that had stopped it."""
    units.add("db.service", rests="inactive")
    quiesce = stop_around(["db.service"])
    held = hold(units, shell, quiesce.hold)
    assert held.returncode == 0 and "did not run" in held.stdout
    (units.path / "db.service" / "active").touch()
    let_go = units.run(shell, quiesce.undo)
    assert let_go.returncode == 3 and "was started by somebody else" in let_go.stderr
    assert units.run(shell, quiesce.undo).returncode == 0
