"""Trees to back up: random content, so that nothing compresses and nothing repeats."""

from __future__ import annotations

import os
from pathlib import Path

_FILES_A_FOLDER = 500
_NOISE_BYTES = 4 * 1024 * 1024


def make_large_files(folder: Path, *, count: int = 8, size_mb: int = 128) -> int:
    """Fill `folder` with a few large files and return their bytes."""
    folder.mkdir(parents=True)
    for number in range(count):
        with (folder / f"file-{number}").open("wb") as file:
            for _ in range(size_mb):
                file.write(os.urandom(1024 * 1024))
    os.sync()
    return count * size_mb * 1024 * 1024


def make_small_files(folder: Path, *, count: int, smallest: int = 500, largest: int = 8000) -> int:
    """Fill `folder` with `count` small files of sizes between the two and return their bytes.

    The content is cut from one piece of noise at ever other places: no two files are the same."""
    noise = os.urandom(_NOISE_BYTES)
    folder.mkdir(parents=True)
    total = 0
    for first in range(0, count, _FILES_A_FOLDER):
        place = os.path.join(
            folder, f"{first // _FILES_A_FOLDER // 40:03d}", f"{first // _FILES_A_FOLDER:05d}"
        )
        os.makedirs(place)
        place_fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        for number in range(first, min(first + _FILES_A_FOLDER, count)):
            size = smallest + (number * 7919) % (largest - smallest)
            start = (number * 104_729) % (_NOISE_BYTES - size)
            fd = os.open(f"f{number:07d}.dat", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=place_fd)
            os.write(fd, b"%d\n" % number)
            total += os.write(fd, noise[start : start + size])
            os.close(fd)
        os.close(place_fd)
    os.sync()
    return total
