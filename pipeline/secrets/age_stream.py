"""What age seals and opens on its way from one stream to another, however long it is (pyrage's encrypt_io).

pyrage makes a text of whatever its streams raise, Ctrl-C too: here that is raised as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

from ..errors import MetisError, UsageError

LONGEST_HEADER = 1 << 16
"""Bytes; age keeps a header in memory, and one of a hundred recipients has a tenth of that."""
_END_OF_HEADER = b"\n--- "

# Of pyrage, which has no types.
Recipient = Any
Identity = Any


class Reads(Protocol):
    """What gives at most so many bytes at a time, none at its end."""

    def read(self, size: int = ..., /) -> bytes:
        """The next bytes."""


class Writes(Protocol):
    """What takes all bytes that it is given."""

    def write(self, data: bytes, /) -> int:
        """Take them, and say how many they are."""


class UnopenedError(Exception):
    """age cannot open it: with its own words, which hold nothing of what is sealed."""


def recipients(texts: Iterable[str], option: str) -> tuple[Recipient, ...]:
    """Whom an option names; raises UsageError where that is nobody, without the value: it may be a key."""
    import pyrage

    found = []
    for number, text in enumerate(texts, 1):
        with suppress(pyrage.RecipientError, ValueError):  # no UTF-8 is no recipient either
            found.append(pyrage.x25519.Recipient.from_str(text))
            continue
        raise UsageError(
            f"{option}: number {number} is no age recipient",
            "age-keygen(1) prints it as the public key, age1…",
        )
    return tuple(found)


def seal(content: Reads, into: Writes, whom: Sequence[Recipient]) -> None:
    """Write what only these recipients can open."""
    import pyrage

    reader, writer = _Reader(content), _Writer(into)
    try:
        pyrage.encrypt_io(reader, writer, whom)
    except (pyrage.EncryptError, OSError) as error:
        _raise_own(reader, writer, error)
        raise MetisError("age could not seal the image", "run again") from None


def unseal(content: BinaryIO, into: BinaryIO, identities: Sequence[Identity]) -> None:
    """Write what is sealed in a file that can be sought in.

    Raises UnopenedError, and has written only what was sealed, where it cannot be opened, is cut short or
    altered.
    """
    import pyrage

    head = content.read(LONGEST_HEADER)
    content.seek(0)
    if _END_OF_HEADER not in head:
        raise UnopenedError("Header is invalid")
    reader, writer = _Reader(content), _Writer(into)
    try:
        pyrage.decrypt_io(reader, writer, identities)
    except (pyrage.DecryptError, OSError) as error:
        _raise_own(reader, writer, error)
        raise UnopenedError(str(error)) from None


class _Reader:
    """A stream that keeps what went wrong with it."""

    def __init__(self, inner: Reads) -> None:
        self._inner = inner
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._inner.read(size)
        except BaseException as error:
            self.error = error
            raise


class _Writer:
    """The same of one that is written to."""

    def __init__(self, inner: Writes) -> None:
        self._inner = inner
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._inner.write(data)
        except BaseException as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Whoever opened the stream does that."""


def _raise_own(reader: _Reader, writer: _Writer, error: Exception) -> None:
    own = reader.error or writer.error
    if own is not None:
        raise own from None
    if str(error).startswith(KeyboardInterrupt.__name__):  # between two of our lines
        raise KeyboardInterrupt
