"""The disks of the guest, made once for a recipe and kept outside of the repository.

The recipe is the folder `guest` and the constants here: when one of them changes, another image is made.
Tests never write into an image: they work on overlays.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.commands import Secret
from agents.ssh import HostKey, KeyPair, authorized_keys_line, make_key_pair

RELEASE = "bookworm"
GUEST = Path(__file__).parent / "guest"
DISKS = ("root", "disk1", "disk2")
_ROOT_BYTES = 3 * 2**30
_DATA_BYTES = 3 * 2**30
_UNUSED_S = 7 * 24 * 3600
_HOST_KEYS = ("ssh_host_ed25519_key.pub", "ssh_host_ecdsa_key.pub", "ssh_host_rsa_key.pub")
# Files that nobody reads in the guest.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True, slots=True)
class Image:
    """A folder with the disks (raw, sparse), kernel and initrd, the console's key, the guest's host keys."""

    folder: Path

    @property
    def key_pair(self) -> KeyPair:
        return KeyPair(
            (self.folder / "key.pub").read_text().strip(), Secret((self.folder / "key").read_text())
        )

    @property
    def host_keys(self) -> list[HostKey]:
        """The keys that a person would have approved."""
        lines = [(self.folder / name).read_text().split() for name in _HOST_KEYS]
        return [HostKey(words[0], base64.b64decode(words[1])) for words in lines]


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotfleet-lab"


def recipe_hash() -> str:
    """Return the name of the image that the recipe makes."""
    digest = hashlib.sha256(repr((RELEASE, _ROOT_BYTES, _DATA_BYTES, _HOST_KEYS, _LEFT_OUT)).encode())
    for path in sorted(each for each in GUEST.iterdir() if each.is_file()):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def find_image() -> Image:
    """Return the image of the recipe. Makes it (2 minutes, 1.2 GB of disk) when there is none yet; a second
    process waits for the first. Images that nobody used for a week are removed."""
    base = cache_folder()
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = base / recipe_hash()
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _make(folder)
        os.utime(folder)
        for other in base.iterdir():
            if other.is_dir() and time.time() - other.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(other)
    return Image(folder)


def _make(folder: Path) -> None:
    from tests.vm.furnish import furnish  # it boots an image, and so knows this file

    unfinished = folder.with_suffix(".unfinished")  # left behind by a killed process: the lock is ours
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    image = Image(unfinished)
    try:
        make_disks(image)
        furnish(image)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def make_disks(image: Image) -> None:
    """Given an empty folder, make all of it but what `furnish` adds. Needs root and the machine's apt."""
    pair = make_key_pair("console-of-the-lab")
    (image.folder / "key").touch(mode=0o600)
    (image.folder / "key").write_text(pair.private_key.reveal())
    (image.folder / "key.pub").write_text(pair.public_line + "\n")
    with tempfile.TemporaryDirectory(dir=image.folder) as temporary:
        root, sources = Path(temporary) / "root", Path(temporary) / "sources"
        sources.write_text("".join(_read_sources()))
        _run("mmdebstrap", *_options_of_mmdebstrap(pair), RELEASE, str(root), str(sources))
        for name in _HOST_KEYS:
            shutil.copy(root / "etc/ssh" / name, image.folder / name)
        shutil.copy(next((root / "boot").glob("vmlinuz-*")), image.folder / "kernel")
        shutil.copy(next((root / "boot").glob("initrd.img-*")), image.folder / "initrd")
        for name, size in zip(DISKS, (_ROOT_BYTES, _DATA_BYTES, _DATA_BYTES), strict=True):
            with (image.folder / name).open("xb") as disk:
                disk.truncate(size)
        _run("mke2fs", "-q", "-t", "ext4", "-L", "lab", "-d", str(root), str(image.folder / "root"))


def _options_of_mmdebstrap(pair: KeyPair) -> Iterator[str]:
    yield from ("--mode=root", "--variant=essential", "--format=directory", "--quiet")
    yield "--include=" + ",".join((GUEST / "packages").read_text().split())
    for line in _network_options():
        yield f"--aptopt={line}"
    for pattern in _LEFT_OUT:
        yield f"--dpkgopt=path-exclude={pattern}"
    words = shlex.join([str(GUEST), authorized_keys_line(pair.public_line)])
    yield f'--customize-hook=sh {shlex.quote(str(GUEST / "customise.sh"))} "$1" {words}'


def _read_sources() -> Iterator[str]:
    """Return what this machine's apt knows about the release: whole stanzas, or lines of the old form."""
    suites = {RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security"}
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))):
        if path.suffix not in (".list", ".sources") or not path.exists():
            continue
        separator = "\n" if path.suffix == ".list" else "\n\n"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        for part in "\n".join(lines).split(separator):
            if suites & set(part.split()):
                yield part + separator


def _network_options() -> list[str]:
    """Return how this machine's apt reaches its mirror (a proxy), which the guest's packages need too."""
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    wanted = ("Acquire::http::", "Acquire::https::", "Acquire::Check-Valid-Until ", "Acquire::Check-Date ")
    return [line for line in dumped.splitlines() if line.startswith(wanted)]


def _run(*words: str) -> None:
    """Run a program. Raise AssertionError with the end of what it said when it fails."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise AssertionError(
            f"{words[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}"
        )
