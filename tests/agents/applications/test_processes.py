"""What is asked about a server's process, where others may name things."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agents.applications.processes import FUNCTIONS

# In a namespace of its own, so that the device may have systemd. The names of control groups come from `sed`.
_AS_SYSTEMD = 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec "$@"'


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("postgresql@15-main", "postgresql@15-main"),
        ("dev-disk\\x2dby", "dev-disk\\x2dby"),
        ("*", ""),
        ("mari*", ""),
        ("a?", ""),
        ("[a-z]", ""),
        ("two words", ""),
    ],
)
def test_the_name_of_a_control_group_never_is_a_pattern_of_systemctl(
    tmp_path: Path, shell: tuple[str, ...], name: str, unit: str
) -> None:
    pid = os.getpid()
    for program, line in (("sed", f"printf '%s\\n' '{name}'"), ("systemctl", f"echo MainPID={pid}")):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "$0 $@" >>"{tmp_path}/calls"\n{line}\n')
        (tmp_path / program).chmod(0o755)
    script = f'{FUNCTIONS}\nPATH="{tmp_path}:$PATH"\nprocess_unit {pid}'
    words = ["unshare", "-m", "/bin/sh", "-c", _AS_SYSTEMD, "sh", *shell, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == unit
    assert ("systemctl" in (tmp_path / "calls").read_text()) == bool(unit)
