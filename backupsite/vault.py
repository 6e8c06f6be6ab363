"""Secrets at rest: sealed for the workers' key, so that the web process can write them and never read them.

SealedBox (PyNaCl: X25519, XSalsa20-Poly1305). The plaintext is a JSON object with owner and secret: a row
whose sealed value was swapped with another's does not open. Keys lie in `<home>/keys/workers` (private,
newest first, one line of hex each, 0600) and `<home>/keys/workers.pub`, or in the environment
(HOTFLEET_WORKERS_KEY, HOTFLEET_WORKERS_PUBLIC_KEY).

For the day on which this machine is lost the private keys can be *locked* with the recovery password: scrypt,
and a SecretBox. What comes out lies beside the copies of the database, and opens with the printed kit alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

from django.conf import settings
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.secret import SecretBox

from agents.commands import Secret
from backupsite import environment

# 32 MiB and 0.1 s: the recovery password is 200 random bits, nobody guesses it.
_SCRYPT = {"n": 2**15, "r": 8, "p": 1}
_MOST_SCRYPT_BYTES = 2**28
_LOCKED_KEYS = "vault:keys"


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


def read_keys() -> list[Secret]:
    """Return the private keys, newest first, for a node's machine. Raise VaultError when there is none."""
    return [Secret(key.hex()) for key in _read("HOTFLEET_WORKERS_KEY", "workers")]


def lock_keys(password: Secret) -> str:
    """Given the recovery password, return the private keys as a text that only it opens. For workers.

    Raise VaultError when there is no private key."""
    salt = os.urandom(16)
    keys = [key.hex() for key in _read("HOTFLEET_WORKERS_KEY", "workers")]
    box = SecretBox(_derive(password, salt, **_SCRYPT))
    sealed = bytes(box.encrypt(json.dumps({"owner": _LOCKED_KEYS, "keys": keys}).encode()))
    texts = {"salt": base64.b64encode(salt).decode(), "sealed": base64.b64encode(sealed).decode()}
    return json.dumps(texts | _SCRYPT)


def unlock_keys(locked: str, password: Secret) -> list[Secret]:
    """Given what `lock_keys` made, return the private keys, newest first. Raise VaultError when the password
    is another one, or the text is damaged."""
    try:
        record = json.loads(locked)
        salt, sealed = (base64.b64decode(record[name], validate=True) for name in ("salt", "sealed"))
        key = _derive(password, salt, *(int(record[name]) for name in _SCRYPT))
    except (ValueError, KeyError, TypeError) as error:
        raise VaultError("the locked keys are damaged") from error
    try:
        plain = json.loads(SecretBox(key).decrypt(sealed))
    except CryptoError as error:
        raise VaultError("the password does not open the keys") from error
    if plain.get("owner") != _LOCKED_KEYS:
        raise VaultError("what was locked are no keys")
    return [Secret(str(each)) for each in plain["keys"]]


def restore_keys(keys: list[Secret]) -> None:
    """Make these the keys of this home, which has none. Raise VaultError when it has, or the environment."""
    if has_private_key() or has_public_key():
        raise VaultError("this home, or the environment, has keys already")
    directory = _directory()
    directory.mkdir(mode=0o700, exist_ok=True)
    newest = PrivateKey(bytes.fromhex(keys[0].reveal()))
    _write_once(directory / "workers.pub", bytes(newest.public_key).hex())
    _write_once(directory / "workers", "\n".join(key.reveal() for key in keys))


def _derive(password: Secret, salt: bytes, n: int, r: int, p: int) -> bytes:
    memory = 128 * r * (n + p + 2) + 2**20
    if min(n, r, p) < 1 or memory > _MOST_SCRYPT_BYTES:
        raise ValueError("the parameters of the key derivation are out of bounds")
    return hashlib.scrypt(password.reveal().encode(), salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=32)
