"""What Hotfleet is compared with: the same restic with the same words, another way to the repository.

`run_openssh`: restic on the device reaches our own gateway by OpenSSH's `ssh -R`: only the tunnel differs.
The gateway listens on a loopback port in a process of its own, the cipher is the one that ours uses. (Debian
has no rest-server, and one that does not fsync would win for the wrong reason.)

`run_local`: restic writes into a local repository. No network, no gateway.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from agents.commands import Secret
from agents.gateway import Credentials, Gateway, Journal, KeyFile, LocalStore, Rights, make_credentials
from agents.restic import arguments
from agents.restic.arguments import Restic, files_from_raw
from agents.restic.keys import Key, make_run_key, open_master_key
from agents.session import Stream
from tests.bench.ours import Figures, engine_seconds
from tests.live.flows import Console
from tests.live.machine import command as run_tool

_FORK = get_context("fork")
_CIPHER = "aes128-gcm@openssh.com"
# On the device: restic sees a snapshot at the true path, as it does with us.
_SHOW_AND_RUN = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


@contextmanager
def fresh_snapshot(console: Console) -> Iterator[Path]:
    """A new read-only snapshot of the device's btrfs: its pages and inodes are in no cache."""
    path = console.device.btrfs / f".bench-{secrets.token_hex(4)}"
    run_tool("btrfs", "subvolume", "snapshot", "-r", console.device.btrfs, path)
    try:
        yield path
    finally:
        run_tool("btrfs", "subvolume", "delete", path)


def make_ordinary(console: Console) -> None:
    """Put a repository that restic made alone in the place of the console's: with one key, its own."""
    shutil.rmtree(console.place.path)
    environment = {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in arguments.environment(str(console.place.path), console.password).items()
    }
    words = [str(console.binary.path), "--no-cache", "init"]
    subprocess.run(words, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)


def run_local(console: Console, source: Path, *, live: bool = False) -> Figures:
    """Back up into the local repository. `live`: as a person does by hand: the live files, an ordinary key, a
    cache; without it from a fresh snapshot and with a run key, as we do."""
    began = time.monotonic()
    if live:
        restic = Restic(str(console.binary.path), cache_dir=str(console.place.path.parent / "cache"))
        environment = arguments.environment(str(console.place.path), console.password)
        _run(["sh", "-s"], _script(console, restic, environment, source, None))
    else:
        with fresh_snapshot(console) as snapshot, _view(console) as (view, key):
            restic = Restic(str(console.binary.path))
            environment = arguments.environment(str(view), key.password)
            began = time.monotonic()
            _run(["sh", "-s"], _script(console, restic, environment, source, snapshot))
    whole_s = time.monotonic() - began
    return Figures(whole_s, engine_seconds(console))


def run_openssh(console: Console, source: Path) -> Figures:
    """Back up through OpenSSH's reverse tunnel into our gateway."""
    restic = Restic(str(console.binary.path))
    with fresh_snapshot(console) as snapshot, _tunnel(console, Rights.BACKUP) as (words, environment):
        began = time.monotonic()
        _run(words, _script(console, restic, environment, source, snapshot))
        whole_s = time.monotonic() - began
    return Figures(whole_s, engine_seconds(console))


def restore_openssh(console: Console, restic_id: str, folder: Path, target: Path) -> Figures:
    """Restore through OpenSSH's reverse tunnel, straight into `target`, until it is on the disk."""
    with _tunnel(console, Rights.RESTORE) as (words, environment):
        return _restore(console, words, environment, restic_id, folder, target)


def restore_local(console: Console, restic_id: str, folder: Path, target: Path) -> Figures:
    """Restore from the local repository, straight into `target`, until it is on the disk."""
    with _view(console) as (view, key):
        environment = arguments.environment(str(view), key.password)
        return _restore(console, ["sh", "-s"], environment, restic_id, folder, target)


def _restore(
    console: Console,
    words: Sequence[str],
    environment: Mapping[str, str | Secret],
    restic_id: str,
    folder: Path,
    target: Path,
) -> Figures:
    restic = Restic(str(console.binary.path), takes_locks=False)
    command = arguments.restore(restic, restic_id, str(target), folder=str(folder), sparse=True, verify=True)
    lines = [*_exports(environment), f"{shlex.join(command.argv)} >/dev/null && sync -f {target}", ""]
    began = time.monotonic()
    _run(words, "\n".join(lines))
    whole_s = time.monotonic() - began
    return Figures(whole_s, whole_s)


@contextmanager
def _tunnel(console: Console, rights: Rights) -> Iterator[tuple[list[str], Mapping[str, str | Secret]]]:
    """What starts a shell on the device with OpenSSH's tunnel to our gateway, and what restic needs there."""
    key = make_run_key(open_master_key(console.place.path, console.password))
    credentials = make_credentials()
    listener = socket.create_server(("127.0.0.1", 0))
    server = _FORK.Process(target=_serve, args=(listener, console, key, credentials, rights))
    server.start()
    try:
        port = 20_000 + secrets.randbelow(10_000)
        environment = arguments.environment(
            f"rest:http://127.0.0.1:{port}/", key.password,
            user=credentials.user, user_password=credentials.password,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            forward = f"127.0.0.1:{port}:127.0.0.1:{listener.getsockname()[1]}"
            yield _ssh(console, Path(folder), forward), environment
    finally:
        server.kill()
        server.join()
        listener.close()


def _ssh(console: Console, folder: Path, forward: str) -> list[str]:
    device = console.device
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_text(device.key_pair.private_key.reveal())
    options = {
        "IdentityFile": str(key), "IdentitiesOnly": "yes", "BatchMode": "yes", "Ciphers": _CIPHER,
        "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR",
        "ExitOnForwardFailure": "yes",
    }  # fmt: skip
    words = ["ssh", "-F", "/dev/null", "-p", str(device.port), "-R", forward]
    for name, value in options.items():
        words += ["-o", f"{name}={value}"]
    return [*words, f"root@{device.address}", "sh -s"]


def _script(
    console: Console,
    restic: Restic,
    environment: Mapping[str, str | Secret],
    source: Path,
    snapshot: Path | None,
) -> str:
    """Return what a shell runs: restic with the words that the product uses."""
    command = arguments.backup(restic, [str(source)], host=console.device.name)
    words: Sequence[str] = [str(word) for word in command.argv]
    if snapshot is not None:
        inside = snapshot / source.relative_to(console.device.btrfs)
        words = ["unshare", "-m", "sh", "-c", _SHOW_AND_RUN, "sh", str(inside), str(source), *words]
    lines = _exports(environment)
    paths = "".join(f"\\{byte:03o}" for byte in files_from_raw([str(source)]))
    return "\n".join([*lines, f"printf '{paths}' | {shlex.join(words)} >/dev/null", ""])


def _exports(environment: Mapping[str, str | Secret]) -> list[str]:
    return [
        f"export {name}={shlex.quote(value.reveal() if isinstance(value, Secret) else value)}"
        for name, value in environment.items()
    ]


def _run(words: Sequence[str], script: str) -> None:
    subprocess.run(words, input=script, text=True, check=True)


@contextmanager
def _view(console: Console) -> Iterator[tuple[Path, Key]]:
    """The repository with one run key in `keys/`, so that restic needs no scrypt of the real one."""
    key = make_run_key(open_master_key(console.place.path, console.password))
    with tempfile.TemporaryDirectory() as folder:
        view = Path(folder)
        (view / "keys").mkdir()
        (view / "keys" / key.name).write_bytes(key.content)
        for name in ("data", "index", "snapshots", "locks", "config"):
            (view / name).symlink_to(console.place.path / name)
        yield view, key


class _SocketStream:
    """A socket as the gateway takes it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.recv = connection.recv
        self.sendall = connection.sendall
        self.settimeout = connection.settimeout

    def close(self) -> None:
        self._connection.close()


def _serve(
    listener: socket.socket, console: Console, key: Key, credentials: Credentials, rights: Rights
) -> None:
    """The gateway behind a plain listener, for one run; killed at its end."""
    journal = console.place.path.parent / f"journal-{os.getpid()}"
    with LocalStore(console.place.path) as store, Journal(journal) as kept:
        gateway = Gateway(
            store, credentials, rights=rights, journal=kept,
            run_key=KeyFile(key.name, key.content),
        )  # fmt: skip
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream: Stream = _SocketStream(connection)
            threading.Thread(target=gateway.serve, args=(stream,), daemon=True).start()
