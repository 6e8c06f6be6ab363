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
      *ActiveState*) [ -e "$units/$unit/active" ] && echo ActiveState=active || echo ActiveState=inactive ;;
    esac
    case "$*" in *'-p Result'*) echo Result=success ;; esac
    case "$*" in *RequiredBy*) echo "RequiredBy=$(cat "$units/$unit/required-by" 2>/dev/null)" ;; esac
    case "$*" in *ConsistsOf*) echo "ConsistsOf=$(cat "$units/$unit/consists-of" 2>/dev/null)" ;; esac
    ;;
  is-active) [ -e "$units/$unit/active" ] && echo active || echo inactive ;;
  stop)
    rm -f "$units/$unit/active"
    for also in $(cat "$units/$unit/required-by" "$units/$unit/consists-of" 2>/dev/null); do
      [ ! -e "$units/$also/active" ] || "$0" stop -- "$also"
    done
    ;;
  start) : >"$units/$unit/active" ;;
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

    def add(self, name: str, *, required_by: str = "", consists_of: str = "", is_active: bool = True) -> None:
        unit = self.path / name
        unit.mkdir()
        (unit / "required-by").write_text(f"{required_by}\n")
        (unit / "consists-of").write_text(f"{consists_of}\n")
        if is_active:
            (unit / "active").touch()

    @property
    def active(self) -> set[str]:
        return {unit.name for unit in self.path.iterdir() if (unit / "active").exists()}

    def run(self, shell: tuple[str, ...], source: str) -> subprocess.CompletedProcess[str]:
        words = ["unshare", "-m", *shell, "-c", f"set -u\n{_INSIDE}\n{source}", "sh"]
        return subprocess.run(
            [*words, str(self._programs), str(self._hold)], capture_output=True, text=True, timeout=20
        )


@pytest.fixture
def units(tmp_path: Path) -> Units:
    return Units(tmp_path)


SHELLS = pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")], ids=["dash", "busybox"])


@SHELLS
def test_what_is_stopped_along_with_a_service_runs_again(units: Units, shell: tuple[str, ...]) -> None:
    units.add(
        "db.service", required_by="shop.service idle.service multi-user.target", consists_of="a@1.service"
    )
    units.add("shop.service", required_by="proxy.service db.service")  # a circle ends
    units.add("proxy.service")
    units.add("idle.service", is_active=False)
    units.add("a@1.service")
    units.add("multi-user.target")
    before = units.active
    quiesce = stop_around(["db.service"])
    held = units.run(shell, f"take() {{\n{quiesce.hold}\n}}\ntake")
    assert held.returncode == 0, held.stderr
    assert not units.active & {"db.service", "shop.service", "proxy.service", "a@1.service"}
    let_go = units.run(shell, quiesce.undo)
    assert let_go.returncode == 0, let_go.stderr
    assert units.active == before - {"multi-user.target"}, "a target starts what nobody stopped"


@SHELLS
def test_what_stood_and_is_started_meanwhile_is_no_cold_copy(units: Units, shell: tuple[str, ...]) -> None:
    """By its administrator, or by another run that had stopped it."""
    units.add("db.service", is_active=False)
    quiesce = stop_around(["db.service"])
    held = units.run(shell, f"take() {{\n{quiesce.hold}\n}}\ntake")
    assert held.returncode == 0 and "did not run" in held.stdout
    (units.path / "db.service" / "active").touch()
    let_go = units.run(shell, quiesce.undo)
    assert let_go.returncode == 3 and "was started by somebody else" in let_go.stderr
    assert units.run(shell, quiesce.undo).returncode == 0
