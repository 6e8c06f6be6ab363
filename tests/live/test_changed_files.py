"""Files that change while they are read live: listed when they are stored, and only then."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from tests.live.flows import Console
from tests.live.ground import Device


def test_excluded_files_that_change_are_no_warning(device: Device, tmp_path: Path) -> None:
    """A busy log that the policy leaves out made every live backup end with warnings."""
    console = Console(device, tmp_path)
    source = device.make_file_system("ext4") / "data"
    (source / "log").mkdir(parents=True)
    (source / "large").write_bytes(os.urandom(30_000_000))
    is_over = threading.Event()

    def write_on() -> None:
        while not is_over.wait(0.02):
            for name in ("log/busy", "busy.tmp"):
                (source / name).write_text(str(time.time()))

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        outcome = console.back_up(source, fallback="accept-live", excludes=[f"{source}/log", "*.tmp"])
        assert (outcome.is_complete, console.problems) == (True, [])
        stored = console.back_up(source, fallback="accept-live", excludes=["*.tmp"])
        assert [problem.path for problem in console.problems] == [str(source / "log" / "busy")]
        assert not stored.is_complete
    finally:
        is_over.set()
        writer.join()
