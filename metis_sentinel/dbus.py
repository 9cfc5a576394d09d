"""As much of D-Bus as one question needs: messages of few types (the D-Bus specification). Pure."""

from __future__ import annotations

import struct

LARGEST = 4 << 20
"""Bytes of a message; of 1,000 units there are 300 KiB."""
FIXED = 16
"""Bytes of a message that tell how long it is."""
CALL, RETURN, ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _REPLY, _DESTINATION, _SIGNATURE = 1, 2, 3, 5, 6, 8


def call(
    serial: int, destination: str, path: str, member: str, words: tuple[str, ...] | None = None
) -> bytes:
    """A message that calls `member` (INTERFACE.NAME), with one argument, a list of words, or none."""
    interface, _, name = member.rpartition(".")
    fields = [(_PATH, "o", path), (_INTERFACE, "s", interface), (_MEMBER, "s", name)]
    fields.append((_DESTINATION, "s", destination))
    body = b""
    if words is not None:
        fields.append((_SIGNATURE, "g", "as"))
        for word in words:
            body = _aligned(body, 4) + _string(word)
        body = struct.pack("<I", len(body)) + body
    packed = b""
    for code, kind, value in fields:
        packed = _aligned(packed, 8) + bytes((code, 1, ord(kind), 0))
        packed += bytes((len(value),)) + value.encode() + b"\0" if kind == "g" else _string(value)
    head = struct.pack("<cBBBIII", b"l", CALL, 0, 1, len(body), serial, len(packed))
    return _aligned(head + packed, 8) + body


def _aligned(data: bytes, to: int) -> bytes:
    return data + bytes(-len(data) % to)


def _string(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode() + b"\0"


def length(fixed: bytes) -> int:
    """Bytes of a message, by its first FIXED ones. Raises ValueError where it is none, or too long."""
    order = _order(fixed)
    body, _, fields = struct.unpack_from(f"{order}III", fixed, 4)
    whole = FIXED + fields + -fields % 8 + body
    if whole > LARGEST:
        raise ValueError(f"a message has {whole} bytes")
    return int(whole)


def _order(message: bytes) -> str:
    if message[:1] not in {b"l", b"B"}:
        raise ValueError("what came is no message of D-Bus")
    return "<" if message[:1] == b"l" else ">"


class Message:
    """What came: its kind, the serial of the call that it answers (0 for none), and its body, yet to be read.

    Raises ValueError where it is not as it should be.
    """

    def __init__(self, data: bytes) -> None:
        self._order = _order(data)
        self._data = data
        self._at = 0
        self.kind = self._bytes(12)[1]
        self.answers = 0
        end = FIXED + self._number()
        while self._at < end:
            self._align(8)
            code, kind = self._bytes(1)[0], self._signature()
            if code == _REPLY and kind == b"u":
                self.answers = self._number()
            elif kind == b"u":
                self._number()
            elif kind == b"g":
                self._signature()
            elif kind in {b"s", b"o"}:
                self._text()
            else:
                raise ValueError(f"a message has a field of type {kind!r}")
        self._align(8)

    def units(self, most: int) -> list[bytes]:
        """The first text of each structure in a list of (ssssssouso), as systemd's units are told."""
        end = self._number() + self._at
        self._align(8)
        found: list[bytes] = []
        while self._at < min(end, len(self._data)) and len(found) < most:
            self._align(8)
            name, *_ = [self._text() for _ in range(7)]
            self._number()
            _ = (self._text(), self._text())
            found.append(name)
        return found

    def words(self) -> bytes:
        """The first text of the body: of an error, what is wrong."""
        return self._text()

    def _align(self, to: int) -> None:
        self._at += -self._at % to

    def _bytes(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        if len(found) < count:
            raise ValueError("a message is cut off")
        return found

    def _number(self) -> int:
        self._align(4)
        return int(struct.unpack(f"{self._order}I", self._bytes(4))[0])

    def _text(self) -> bytes:
        return self._bytes(self._number() + 1)[:-1]

    def _signature(self) -> bytes:
        return self._bytes(self._bytes(1)[0] + 1)[:-1]
