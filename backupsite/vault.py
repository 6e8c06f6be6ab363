"""Secrets at rest: sealed for the workers' key, so that the web process can write them and never read them.

SealedBox (PyNaCl: X25519, XSalsa20-Poly1305). The plaintext is a JSON object with owner and secret: a row
whose sealed value was swapped with another's does not open. Keys lie in `<home>/keys/workers` (private,
newest first, one line of hex each, 0600) and `<home>/keys/workers.pub`, or in the environment
(HOTFLEET_WORKERS_KEY, HOTFLEET_WORKERS_PUBLIC_KEY).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from django.conf import settings
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from agents.commands import Secret
from backupsite import environment


class VaultError(Exception):
    """A sealed value does not open: wrong key, damaged, or moved from another row."""


def _directory() -> Path:
    return Path(settings.HOTFLEET_HOME) / "keys"


def create_keys() -> bool:
    """Make the workers' key pair when there is none. Return True when one was made. Never overwrites."""
    if environment.read("HOTFLEET_WORKERS_KEY") or environment.read("HOTFLEET_WORKERS_PUBLIC_KEY"):
        return False
    directory = _directory()
    directory.mkdir(mode=0o700, exist_ok=True)
    if (directory / "workers").exists():
        return False
    key = PrivateKey.generate()
    _write_once(directory / "workers.pub", bytes(key.public_key).hex())
    _write_once(directory / "workers", bytes(key).hex())
    return True


def _write_once(path: Path, text: str) -> None:
    # The private key is written last and by rename: its presence means that both are whole.
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(variable: str, name: str) -> list[bytes]:
    text = environment.read(variable)
    if not text:
        try:
            text = (_directory() / name).read_text(encoding="ascii")
        except OSError as error:
            raise VaultError(f"the key file keys/{name} cannot be read: {error.strerror}") from error
    try:
        return [bytes.fromhex(line) for line in text.split()]
    except ValueError as error:
        raise VaultError(f"keys/{name} holds something that is no key") from error


def has_public_key() -> bool:
    """Return True when this machine was given, or made, the key that seals."""
    return bool(environment.read("HOTFLEET_WORKERS_PUBLIC_KEY")) or (_directory() / "workers.pub").exists()


def has_private_key() -> bool:
    """Return True when this machine was given, or made, the key that opens: it runs workers."""
    return bool(environment.read("HOTFLEET_WORKERS_KEY")) or (_directory() / "workers").exists()


def seal(owner: str, secret: Secret) -> bytes:
    """Given who owns a secret ("<app>.<model>:<id>:<field>"), return it sealed for the workers.

    Raise VaultError when there is no public key.
    """
    plain = json.dumps({"owner": owner, "secret": secret.reveal()}).encode()
    newest = _read("HOTFLEET_WORKERS_PUBLIC_KEY", "workers.pub")[0]
    return bytes(SealedBox(PublicKey(newest)).encrypt(plain))


def unseal(owner: str, sealed: bytes | memoryview) -> Secret:
    """Given the owner and a sealed value, return the secret. Raise VaultError when it does not open."""
    for key in _read("HOTFLEET_WORKERS_KEY", "workers"):
        try:
            plain = SealedBox(PrivateKey(key)).decrypt(bytes(sealed))
        except CryptoError:
            continue
        value = json.loads(plain)
        if value.get("owner") != owner:
            raise VaultError(f"the secret in the row of {owner} was sealed for another row")
        return Secret(str(value["secret"]))
    raise VaultError(f"no key of the workers opens the secret of {owner}")
