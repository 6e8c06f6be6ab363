"""The files of a Debian 11 with sshd, made once (25 s) and kept outside of the repository as a tar file."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from pathlib import Path

RELEASE = "bullseye"
PACKAGES = "openssh-server"
# Where the release has moved away from the mirrors: an archive's address.
MIRROR_VARIABLE = "HOTFLEET_OLD_DEBIAN"


def find_old_root() -> Path:
    """Return the tar file. Makes it when there is none yet; a second process waits for the first."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    base = home / "hotfleet-lab"
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = base / f"{RELEASE}-{PACKAGES}.tar"
    with (base / f"{RELEASE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = file.with_suffix(".unfinished.tar")
            _make(unfinished)
            os.replace(unfinished, file)
    return file


def _make(file: Path) -> None:
    words = ["mmdebstrap", "--mode=root", "--variant=minbase", "--quiet", f"--include={PACKAGES}"]
    words += ["--keyring=/usr/share/keyrings", '--aptopt=Acquire::Check-Valid-Until "false"']
    words += [RELEASE, str(file), os.environ.get(MIRROR_VARIABLE) or _find_mirror()]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise AssertionError(
            f"Debian 11 could not be made (set {MIRROR_VARIABLE} to an archive that has it): "
            f"{done.stderr[-2000:]}"
        )


def _find_mirror() -> str:
    """Return the mirror that this machine's apt uses."""
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    for file in files:
        if file.exists() and (found := re.search(r"https?://\S+/debian/?(?=\s)", _without_comments(file))):
            return found[0]
    raise AssertionError(f"no Debian mirror is known to this machine's apt: set {MIRROR_VARIABLE}")


def _without_comments(file: Path) -> str:
    return "".join(line for line in file.read_text().splitlines(True) if not line.startswith("#"))
