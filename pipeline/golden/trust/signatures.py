"""Whether a golden is signed by a key that the inventory trusts: by OpenPGP or by minisign.

Which of them, the keyring says, as it is ours; the signature is a stranger's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ...errors import MismatchError, UsageError, reason_of
from . import gpgv, minisign, openpgp

LARGEST = 1 << 20
"""Bytes of a signature, which takes some hundred."""
LARGEST_KEYRING = 16 << 20
"""Bytes; the keys of a whole distribution's developers are more, and too many to trust."""

_Read = TypeVar("_Read")


def verify(file: Path, name: str, signature: bytes, keyring: Path) -> str:
    """Say who signed a file's bytes as they are: an OpenPGP fingerprint or a minisign key id, in upper case.

    `name` is what messages call the file, `signature` a detached one. The keyring is what `gpg --export`
    writes, armoured or not, or a public key's file of minisign. Raises MismatchError where nobody in the
    keyring signed these bytes, or the key or the signature is not to be relied on any more; UsageError for
    the keyring, ToolError where gpgv or minisign is missing, and OSError where the file cannot be read.
    """
    pinned = _pinned(keyring)
    file.open("rb").close()  # the programs would call it a signature that does not match
    if pinned.startswith(minisign.COMMENT):
        key = _keys(minisign.key, pinned, keyring)
        return minisign.verify(file, name, _made(minisign.signature, signature, name), key, keyring)
    keys = _keys(openpgp.keys, pinned, keyring)
    return gpgv.verify(file, name, _made(openpgp.signatures, signature, name), keys, keyring)


def _pinned(keyring: Path) -> bytes:
    try:
        with keyring.open("rb") as opened:
            return opened.read(LARGEST_KEYRING + 1)
    except OSError as error:
        raise UsageError(f"cannot read the keyring {keyring}: {reason_of(error)}", _KEYRING_HINT) from None


def _keys(read: Callable[[bytes], _Read], pinned: bytes, keyring: Path) -> _Read:
    try:
        if not pinned:
            raise ValueError("it is empty")
        if len(pinned) > LARGEST_KEYRING:
            raise ValueError(f"it is larger than {LARGEST_KEYRING} bytes")
        return read(pinned)
    except ValueError as error:
        raise UsageError(f"{keyring} is no keyring: {error}", _KEYRING_HINT) from None


_KEYRING_HINT = "name a file that `gpg --export` wrote, or a public key of minisign"


def _made(read: Callable[[bytes], _Read], signature: bytes, name: str) -> _Read:
    try:
        if not signature.strip():
            raise ValueError("it is empty")
        if len(signature) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        if signature.lstrip().startswith(b"<"):
            raise ValueError("it is a web page")
        return read(signature)
    except ValueError as error:
        raise MismatchError(
            f"what should sign {name} is no signature: {error}",
            "check which file the publisher has beside the image",
        ) from None
