"""What will happen: the device is asked, and nothing there changes."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.flow import Unstoppable
from agents.restore import Conflict, Entry, Forecast, Mode, RestoreRequest, forecast
from tests.live.flows import MOMENT, Console, assert_device_is_clean, picture_of
from tests.live.ground import Device
from tests.live.test_backup import HOSTILE_NAMES


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


def ask(console: Console, folder: Path, **changes: Any) -> Forecast:
    request = RestoreRequest(
        console.id, secrets.token_hex(16), console.place, console.binary, console.is_local, "a" * 64,
        (), str(folder), None, Conflict.SKIP, Mode.MERGE, False, MOMENT, 0,
    )  # fmt: skip
    request = replace(request, **changes)
    names = [*HOSTILE_NAMES, b"missing"]
    entries = [Entry(str(folder), "dir", 0)]
    entries += [Entry(f"{folder}/{os.fsdecode(name)}", "file", 1000) for name in names]
    return forecast(
        request,
        iter(entries),
        console.open_session,
        tell=console.tell,
        control=Unstoppable(),
        bytes_per_s=100,
    )


def test_what_is_there_is_counted(console: Console) -> None:
    top = console.device.btrfs
    data = top / "data"
    data.mkdir()
    before, after = MOMENT - timedelta(hours=1), MOMENT + timedelta(hours=1)
    for name in HOSTILE_NAMES:
        path = data / os.fsdecode(name)
        path.write_text("x")
        at = (after if name == b"-rf" else before).timestamp()
        os.utime(path, (at, at))
    (data / "not in the point").write_text("x")
    os.utime(data / "not in the point", (before.timestamp(), before.timestamp()))
    picture = picture_of(top)
    said = ask(console, data)
    count = len(HOSTILE_NAMES)
    assert (said.files, said.bytes, said.needed_bytes) == (count + 1, 1000 * (count + 1), 1000 * (count + 1))
    assert (said.existing, said.newer) == (count, 1)
    assert (said.newest_path, said.newest_at) == (str(data / "-rf"), after)
    assert (said.refusal, said.seconds) == ("", 10.0 * (count + 1))
    assert said.free_bytes is not None and said.free_bytes > 1_000_000
    exact = ask(console, data, mode=Mode.EXACT)
    assert (exact.existing, exact.newer, exact.newest_path) == (count + 1, 1, said.newest_path)
    elsewhere = ask(console, data, target=str(top / "elsewhere"))
    assert (elsewhere.existing, elsewhere.newer, elsewhere.newest_at) == (0, 0, None)
    small = console.device.make_file_system("ext4", size_mb=16)
    os.chown(small, 1234, 1234)
    refused = ask(console, data, target=str(small / "x"))
    assert "every folder above it" in refused.refusal and refused.remedy
    assert (refused.files, refused.newest_path) == (count + 1, "")
    assert "symbolic link" in refuse_link(console, top, data)
    assert picture_of(top) == picture | {b"link": picture_of(top)[b"link"]}
    assert_device_is_clean(console)
    assert said.newest_at == datetime(2026, 11, 22, 15, 2, tzinfo=UTC)


def refuse_link(console: Console, top: Path, data: Path) -> str:
    (top / "link").symlink_to("/etc")
    return ask(console, data, target=str(top / "link")).refusal
