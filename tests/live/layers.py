"""A layered file system: what is in it already lies on a lower layer, and a rename of a folder is a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.ground import command


@contextmanager
def layered(base: Path, folder: str) -> Iterator[Path]:
    """Given a folder on any disk, yield another folder on layers that holds `folder`, with a file."""
    for name in (f"lower/{folder}", "upper", "work", "merged"):
        (base / name).mkdir(parents=True)
    (base / "lower" / folder / "file").write_text("old")
    options = ",".join(f"{name}dir={base}/{name}" for name in ("lower", "upper", "work"))
    command("mount", "-t", "overlay", "overlay", "-o", options, base / "merged")
    try:
        yield base / "merged"
    finally:
        command("umount", base / "merged")
