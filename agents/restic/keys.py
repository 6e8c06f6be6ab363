"""restic's key files: open one with a password, make one for a run.

A repository has one master key; each file in `keys/` holds it, encrypted with a key derived from a password
by scrypt (restic's design document, "Keys, Encryption and MAC"). Scrypt slows down whoever guesses passwords;
nobody guesses 128 random bits, so that our own two kinds of key are cheap to open (3 ms for 0.5 s):
the *console's key* lies in the repository, under the password that the console keeps sealed; a *run key* is a
file that the repository never holds: the gateway shows it to one run. The recovery key is restic's own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from agents.commands import Secret
from agents.errors import RepositoryBroken

_IV, _MAC, _SALT = 16, 16, 64
_MAX_SCRYPT_BYTES = 1024 * 1024 * 1024
_CHEAP = {"N": 1024, "r": 8, "p": 1}  # 1 MiB and 3 ms
# Hexadecimal digits for 128 bits. A person's own password is shorter, and must not get a cheap key.
_RANDOM_LENGTH = 32


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The key of everything in one repository. Shows nothing of itself."""

    encryption: bytes = field(repr=False)
    mac_k: bytes = field(repr=False)
    mac_r: bytes = field(repr=False)

    def encrypt(self, plain: bytes) -> bytes:
        """Given a text, return IV, ciphertext and MAC as restic lays them out."""
        iv = secrets.token_bytes(_IV)
        cipher = self._stream(iv).encryptor()
        body = cipher.update(plain) + cipher.finalize()
        return iv + body + self._mac(iv, body)

    def decrypt(self, sealed: bytes) -> bytes:
        """Given what `encrypt` or restic made, return the text. Raise ValueError when the MAC is wrong."""
        if len(sealed) < _IV + _MAC:
            raise ValueError("too short to be encrypted")
        iv, body, mac = sealed[:_IV], sealed[_IV:-_MAC], sealed[-_MAC:]
        if not hmac.compare_digest(self._mac(iv, body), mac):
            raise ValueError("the MAC is wrong")
        cipher = self._stream(iv).decryptor()
        return cipher.update(body) + cipher.finalize()

    def _stream(self, iv: bytes) -> Cipher[modes.CTR]:
        return Cipher(algorithms.AES(self.encryption), modes.CTR(iv))

    def _mac(self, iv: bytes, body: bytes) -> bytes:
        """Poly1305-AES: the one-time key is r (which Poly1305 masks itself) and the IV encrypted under k."""
        block = Cipher(algorithms.AES(self.mac_k), modes.ECB()).encryptor()  # noqa: S305 - one block, by design
        return Poly1305.generate_tag(self.mac_r + block.update(iv) + block.finalize(), body)


@dataclass(frozen=True, slots=True)
class Key:
    """A key file: `name` is the SHA-256 of `content`, `password` opens it."""

    name: str
    content: bytes = field(repr=False)
    password: Secret


def make_run_key(master: MasterKey) -> Key:
    """Given a repository's master key, return a key file under a new random password."""
    return make_cheap_key(master, Secret(secrets.token_hex(32)), user="run")


def make_cheap_key(master: MasterKey, password: Secret, *, user: str) -> Key:
    """Given a random password, return a key file for it that opens in milliseconds. `user` is what restic
    shows beside it. Raise ValueError when the password is too short to be random."""
    if len(password.reveal()) < _RANDOM_LENGTH:
        raise ValueError("a cheap key needs a random password")
    salt = secrets.token_bytes(_SALT)
    user_key = _derive(password, salt, _CHEAP["N"], _CHEAP["r"], _CHEAP["p"])
    record: dict[str, object] = {
        "created": "2000-01-01T00:00:00Z",
        "username": user,
        "hostname": "hotfleet",
        "kdf": "scrypt",
        **_CHEAP,
        "salt": _encode(salt),
        "data": _encode(user_key.encrypt(_to_json(master))),
    }
    content = json.dumps(record).encode()
    return Key(hashlib.sha256(content).hexdigest(), content, password)


def open_key(content: bytes, password: Secret) -> MasterKey | None:
    """Given a key file's content, return the master key, or None when this password does not open it.

    Takes as long as its scrypt parameters say (restic: 0.1 to 0.7 s). Raise RepositoryBroken when the file is
    not a key file.
    """
    try:
        record = json.loads(content)
        salt, data = _decode(record["salt"]), _decode(record["data"])
        cost = int(record["N"]), int(record["r"]), int(record["p"])
        if record["kdf"] != "scrypt":
            raise ValueError("the key derivation is not scrypt")
        user_key = _derive(password, salt, *cost)
    except (ValueError, KeyError, TypeError) as error:
        raise RepositoryBroken("a key file of the repository is damaged", detail=str(error)) from error
    try:
        plain = user_key.decrypt(data)
    except ValueError:
        return None
    return _from_json(plain)


def open_master_key(repository: Path, password: Secret) -> MasterKey:
    """Given a repository's directory, return its master key. Raise RepositoryBroken when no key opens."""
    try:
        contents = [file.read_bytes() for file in (repository / "keys").iterdir()]
    except OSError as error:
        raise RepositoryBroken("the repository's keys cannot be read", detail=str(error)) from error
    return open_one_of(contents, password)


def open_one_of(contents: Iterable[bytes], password: Secret) -> MasterKey:
    """Given the key files of a repository, return its master key. Raise RepositoryBroken when none opens.

    The cheapest key is tried first: it is the one that the console's own password opens.
    """
    damaged: RepositoryBroken | None = None
    for content in sorted(contents, key=_cost_of):
        try:
            master = open_key(content, password)
        except RepositoryBroken as error:  # another one may be whole
            damaged = error
            continue
        if master is not None:
            return master
    if damaged is not None:
        raise damaged
    raise RepositoryBroken(
        "the password that the console keeps does not open the repository",
        remedy="Check that the directory holds the repository of this device.",
    )


def _cost_of(content: bytes) -> float:
    """Return how much work it is to try a key; one that cannot be read comes last."""
    try:
        record = json.loads(content)
        return int(record["N"]) * int(record["r"]) * int(record["p"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _derive(password: Secret, salt: bytes, n: int, r: int, p: int) -> MasterKey:
    """Given scrypt parameters, return the key of a key file. Raise ValueError when they are out of bounds."""
    if len(salt) != _SALT or min(n, r, p) < 1 or 128 * n * r * p > _MAX_SCRYPT_BYTES:
        raise ValueError("the parameters of the key derivation are out of bounds")
    text = password.reveal().encode()
    memory = 128 * r * (n + p + 2) + 1024 * 1024
    derived = hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=64)
    return MasterKey(derived[:32], derived[32:48], derived[48:])


def _to_json(master: MasterKey) -> bytes:
    mac = {"k": _encode(master.mac_k), "r": _encode(master.mac_r)}
    return json.dumps({"mac": mac, "encrypt": _encode(master.encryption)}).encode()


def _from_json(plain: bytes) -> MasterKey:
    try:
        record = json.loads(plain)
        key = MasterKey(_decode(record["encrypt"]), _decode(record["mac"]["k"]), _decode(record["mac"]["r"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RepositoryBroken("a key file of the repository holds no master key") from error
    if (len(key.encryption), len(key.mac_k), len(key.mac_r)) != (32, 16, 16):
        raise RepositoryBroken("a key file of the repository holds no master key")
    return key


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
