"""Who made a signature of minisign(1), whose files are lines of text: https://jedisct1.github.io/minisign/"""

from __future__ import annotations

import binascii
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...errors import MismatchError
from ...machine import process

COMMENT = b"untrusted comment:"
"""How a public key's file starts, and a signature's."""
_TRUSTED = b"trusted comment: "
_OLD, _HASHED = b"Ed", b"ED"
_KEY, _SIGNATURE, _SEAL = 42, 74, 64
"""Lengths in bytes: algorithm, id and key; algorithm, id and signature; the signature over the comment."""
WHOLE = 64 << 20
"""Bytes of a file that a signature of the old kind may be over: minisign reads such a file into memory."""
_SAID = 1 << 16


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: its id as minisign shows it (no zeros before it), and the line that it is."""

    id: str
    line: str


@dataclass(frozen=True, slots=True)
class Signature:
    """The id of the key that it names, whether it is of the old kind, and the file that it is."""

    key_id: str
    old: bool
    data: bytes


def key(data: bytes) -> Key:
    """A public key from its file; raises ValueError where it is none."""
    lines = data.strip().splitlines()
    raw = _decoded(lines[1], _KEY) if len(lines) == 2 and lines[0].startswith(COMMENT) else b""  # noqa: PLR2004
    if raw[:2] != _OLD:
        raise ValueError("it is no public key of minisign")
    return Key(_id(raw), lines[1].strip().decode())


def signature(data: bytes) -> Signature:
    """A signature from its file; raises ValueError where it is none."""
    lines = data.strip().splitlines()
    if len(lines) != 4 or not (lines[0].startswith(COMMENT) and lines[2].startswith(_TRUSTED)):  # noqa: PLR2004
        raise ValueError("it is none of minisign")
    raw = _decoded(lines[1], _SIGNATURE)
    if raw[:2] not in {_OLD, _HASHED} or not _decoded(lines[3], _SEAL):
        raise ValueError("it is none of minisign")
    return Signature(_id(raw), raw[:2] == _OLD, data)


def verify(file: Path, name: str, signature: Signature, key: Key, keyring: Path) -> str:
    """The id of the key, which `keyring` holds, if it made the signature; raises MismatchError if not."""
    if signature.key_id != key.id:
        raise MismatchError(
            f"{name} is signed by {signature.key_id}, which is not in {keyring}",
            "see whether the publisher has a new key, and where it is vouched for, before you trust it",
        )
    if signature.old and file.stat().st_size > WHOLE:
        raise MismatchError(
            f"the signature of {name} by {key.id} is of a kind that takes the whole file into memory",
            "ask the publisher for one of minisign 0.10 or later, without -l",
        )
    with tempfile.TemporaryDirectory(prefix="metis-minisign-") as folder:
        made = Path(folder, "signature")
        made.write_bytes(signature.data)
        argv = ["minisign", "-V", "-q", "-m", str(file.absolute()), "-x", str(made), "-P", key.line]
        said = process.run(argv, check=False, limit=_SAID)
    if said.code == 0:
        return key.id
    if said.code != 1:
        raise process.ToolError(f"minisign failed: {said.last_words}")
    raise MismatchError(
        f"the signature by {key.id} does not match {name}",
        "one of the two is damaged or was altered: fetch both again, and ask the publisher if it stays so",
    )


def _decoded(line: bytes, length: int) -> bytes:
    """What a line of base64 holds; empty where it is none, or of another length."""
    try:
        raw = binascii.a2b_base64(line.strip(), strict_mode=True)
    except binascii.Error:
        return b""
    return raw if len(raw) == length else b""


def _id(raw: bytes) -> str:
    return f"{int.from_bytes(raw[2:10], 'little'):X}"
