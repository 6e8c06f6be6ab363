"""Lines of known_hosts: which keys somebody saw a machine show before, and trusted. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field

from agents.ssh.keys import SIGNATURES, HostKey
from backupsite.fleet.imports.rows import Note

MOST_LINES = 20_000
# Each hashed name is tried with each device.
MOST_HASHED = 1000


@dataclass(frozen=True)
class _Hashed:
    salt: bytes
    digest: bytes
    key: HostKey


@dataclass
class KnownHosts:
    """The keys of known machines. `notes` say which lines were passed over."""

    by_name: dict[str, dict[HostKey, None]] = field(default_factory=dict)
    hashed: list[_Hashed] = field(default_factory=list)
    revoked: set[bytes] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)
    count: int = 0

    def keys_of(self, address: str, port: int) -> list[HostKey]:
        """Given where a machine is reached, return the keys it is known by, as ssh would look them up."""
        name = address.lower() if port == 22 else f"[{address.lower()}]:{port}"
        found = dict(self.by_name.get(name, {}))
        asked = name.encode()
        found |= {
            each.key: None
            for each in self.hashed
            if hmac.compare_digest(hmac.digest(each.salt, asked, "sha1"), each.digest)
        }
        return [key for key in found if key.blob not in self.revoked]


def parse_known_hosts(text: str) -> KnownHosts:
    """Given lines of known_hosts, return the keys in them."""
    known = KnownHosts()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if number > MOST_LINES:
            known.notes.append(Note(number, f"Only the first {MOST_LINES} lines were read.", is_error=True))
            break
        _read_line(line, number, known)
    return known


def _read_line(line: str, number: int, known: KnownHosts) -> None:
    words = line.split()
    marker = words.pop(0) if words[0].startswith("@") else ""
    if len(words) < 3:
        known.notes.append(Note(number, "This is no line of known_hosts: name, type and key are expected."))
        return
    names, key_type, encoded = words[:3]
    key = _read_key(key_type, encoded)
    if marker == "@revoked" and key is not None:
        known.revoked.add(key.blob)
    elif marker:
        known.notes.append(Note(number, f"{marker[:40]} is not taken: keys of machines only."))
    elif key_type not in SIGNATURES:
        known.notes.append(Note(number, f"Keys of the type {key_type[:40]} are not taken."))
    elif key is None:
        known.notes.append(Note(number, "The key in this line is damaged."))
    else:
        _add(names, key, number, known)


def _read_key(key_type: str, encoded: str) -> HostKey | None:
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    # A key says its own type first.
    said = blob[4 : 4 + int.from_bytes(blob[:4])]
    return HostKey(key_type, blob) if said == key_type.encode() and len(blob) > len(said) + 36 else None


def _add(names: str, key: HostKey, number: int, known: KnownHosts) -> None:
    known.count += 1
    if names.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in names[3:].split("|"))
        except (binascii.Error, ValueError):
            known.notes.append(Note(number, "The hashed name in this line is damaged."))
            return
        if len(known.hashed) >= MOST_HASHED:
            known.notes.append(Note(number, f"More than {MOST_HASHED} hashed names.", is_error=True))
            return
        known.hashed.append(_Hashed(salt, digest, key))
        return
    for name in names.lower().split(","):
        if any(sign in name for sign in "*?!"):
            known.notes.append(Note(number, f"{name[:60]} is a pattern: no single machine was seen by it."))
        else:
            known.by_name.setdefault(_plain(name), {})[key] = None


def _plain(name: str) -> str:
    # ssh writes [address]:22 as the address alone.
    return name[1:-4] if name.startswith("[") and name.endswith("]:22") else name
