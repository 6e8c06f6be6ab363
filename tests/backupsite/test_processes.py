"""What a process knows about its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Nearly always inside of `wait`, where a signal has to be harmless.
LOOP = """
from backupsite.processes import StopRequest
stop = StopRequest()
print("ready", flush=True)
while not stop.is_made:
    stop.wait(0)
stop.wait(3600)
print("in order")
"""


@pytest.mark.parametrize("attempt", range(5))
def test_a_request_to_stop_is_heard_in_the_middle_of_a_pause(attempt: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", LOOP], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.communicate(timeout=60)[0] == "in order\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
