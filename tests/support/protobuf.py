"""Messages of etcd as they are on the wire (protobuf.dev/programming-guides/encoding), right or wrong."""

from __future__ import annotations


def field(number: int, content: bytes | int) -> bytes:
    """A field as protobuf has it on the wire."""
    if isinstance(content, int):
        return bytes([number << 3]) + varint(content)
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low = bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
    return low + (varint(value >> 7) if value > 0x7F else b"")


def listed(*fields: bytes, id_: int = 7) -> bytes:
    """A member in a MemberListResponse."""
    return field(2, field(1, id_) + b"".join(fields))
