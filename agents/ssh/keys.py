"""Keys: those that devices show (host keys) and the one that the console shows (key pair). No network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from agents.commands import Secret

# A type of key, and the ways to sign with it that we accept. SHA-1 is not among them.
SIGNATURES: dict[str, tuple[str, ...]] = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
# What a device is asked for, one connection each.
FAMILIES: tuple[tuple[str, ...], ...] = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("ssh-rsa",),
)
RESTRICTIONS = 'restrict,port-forwarding,permitlisten="127.0.0.1:*"'
_PUBLIC_LINE = re.compile(r"^ssh-ed25519 [A-Za-z0-9+/]+={0,2}(?: [\x21-\x7e]+(?: [\x21-\x7e]+)*)?$")


@dataclass(frozen=True)
class HostKey:
    """A public key by which a device is known. `blob` is the key as SSH sends it."""

    key_type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """The text that `ssh-keygen -l` prints: "SHA256:..."."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest())
        return "SHA256:" + digest.decode("ascii").rstrip("=")


@dataclass(frozen=True)
class KeyPair:
    """The console's key. `public_line` may be shown to everybody."""

    public_line: str
    private_key: Secret


def signatures_of(key_types: Iterable[str]) -> tuple[str, ...]:
    """Given types of host keys, return the signatures to accept, best first. Raise ValueError for a type
    that is not known."""
    wanted = set(key_types)
    if unknown := wanted - SIGNATURES.keys():
        raise ValueError(f"unknown type of host key: {', '.join(sorted(unknown))}")
    return tuple(name for key_type, names in SIGNATURES.items() if key_type in wanted for name in names)


def make_key_pair(comment: str) -> KeyPair:
    """Given a comment, return a new ed25519 key in OpenSSH's format. Raise ValueError when the comment holds
    anything but printable ASCII: it becomes part of a line in authorized_keys."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii")
    return KeyPair(_checked_line(f"{public} {comment}".rstrip(" ")), Secret(private))


def authorized_keys_line(public_line: str) -> str:
    """Given the public line of our key, return the line to paste on a device: nothing but commands and a
    tunnel that listens on 127.0.0.1. Needs OpenSSH 7.8. Raise ValueError when it is not such a line."""
    return f"{RESTRICTIONS} {_checked_line(public_line.strip())}"


def jump_line_hint(endpoints: Iterable[str]) -> str:
    """Given "address:port" of devices, return what lets the console through to them and nothing else."""
    return "port-forwarding," + ",".join(f'permitopen="{endpoint}"' for endpoint in endpoints)


def jump_keys_line(public_line: str, endpoints: Iterable[str]) -> str:
    """Given the public line of our key and "address:port" of the devices behind a jump host, return the line
    to paste there. sshd uses the first line of a key, so that one line names all devices. With it the console
    can run no command there. Raise ValueError when it is not such a line."""
    return f'restrict,{jump_line_hint(endpoints)},command="/bin/false" {_checked_line(public_line.strip())}'


def _checked_line(line: str) -> str:
    if not _PUBLIC_LINE.fullmatch(line):
        raise ValueError("This is not the public line of an ed25519 key with a comment in plain ASCII.")
    return line
