"""Keyrings and detached signatures of OpenPGP (RFC 9580): out of their armour, and what packets they hold.

Whether a signature is good is for gpgv(1) to say. It sees no packet that has no business there: one that is
compressed could unpack to anything.
"""

from __future__ import annotations

import binascii
from itertools import takewhile

MOST = 16
"""Signatures beside each other; publishers make one or two, and each costs time."""

_SIGNATURE, _PUBLIC_KEY = 2, 6  # RFC 9580, 5
_SIGNED_MESSAGE = b"-----BEGIN PGP SIGNED MESSAGE-----"


def keys(data: bytes) -> bytes:
    """What `gpg --export` writes, without its armour; raises ValueError where it is something else."""
    raw = _without_armour(data, b"PUBLIC KEY BLOCK")
    if _tags(raw)[:1] != [_PUBLIC_KEY]:
        raise ValueError("it holds no public key")
    return raw


def signatures(data: bytes) -> bytes:
    """A detached signature, or several, without armour; raises ValueError where it is something else."""
    if _SIGNED_MESSAGE in data:
        raise ValueError("it is a signed message, and no detached signature")
    raw = _without_armour(data, b"SIGNATURE")
    tags = _tags(raw)
    if not tags:
        raise ValueError("it is none of OpenPGP")
    if set(tags) != {_SIGNATURE}:
        raise ValueError("it holds other things than detached signatures")
    if len(tags) > MOST:
        raise ValueError(f"it holds more than {MOST} signatures")
    return raw


def _without_armour(data: bytes, kind: bytes) -> bytes:
    """The packets of all blocks of a kind, one after another (RFC 9580, 6.2); nothing where there is none."""
    if data[:1] >= b"\x80":  # each packet begins so, and no text in ASCII
        return data
    begin, end = (b"-----%s PGP %s-----" % (word, kind) for word in (b"BEGIN", b"END"))
    raw = bytearray()
    lines = map(bytes.strip, data.splitlines())
    for line in lines:
        if line == begin:
            block = takewhile(lambda line: line != end, lines)
            for _ in takewhile(bool, block):  # headers, up to an empty line
                pass
            # What begins with = is a checksum, which is not to be relied on (6.1).
            text = b"".join(line for line in block if not line.startswith(b"="))
            try:
                raw += binascii.a2b_base64(text, strict_mode=True)
            except binascii.Error:
                raise ValueError("its armour is damaged") from None
    return bytes(raw)


def _tags(raw: bytes) -> list[int]:
    """The types of the packets, if they follow each other to the last byte."""
    at, found = 0, []
    while at < len(raw):
        tag, length = _header(raw[at : at + 6])
        at += length
        found.append(tag)
    if at != len(raw):
        raise ValueError("it is cut off")
    return found


def _header(head: bytes) -> tuple[int, int]:
    """The type of a packet and its length in bytes with the header, of which `head` is the start.

    Raises ValueError for a length that is not told before: of keys and signatures it always is.
    """
    first, second = head[0], head[1:2]
    if first < 0x80:  # noqa: PLR2004 - these numbers stand in RFC 9580, 4.2
        raise ValueError("it is none of OpenPGP")
    older = first < 0xC0  # noqa: PLR2004
    tag = first >> 2 & 0xF if older else first & 0x3F
    if older:
        start, octets = 1, (1, 2, 4, 0)[first & 3]
    elif second < b"\xe0":
        start, octets = 1, 1 if second < b"\xc0" else 2
    else:
        start, octets = (2, 4) if second == b"\xff" else (1, 0)
    if not octets:
        raise ValueError("it is a message, or a part of one")
    if len(head) < start + octets:
        raise ValueError("it is cut off")
    length = int.from_bytes(head[start : start + octets], "big")
    if octets == 2 and not older:  # noqa: PLR2004
        length -= (0xC0 << 8) - 0xC0
    return tag, start + octets + length
