"""The addresses of the network that we are in, by the kernel's own list (rtnetlink(7)).

In a container without the host's network these are the container's.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from .host import Host
from .texts import text

_MOST = 1024
_ANSWERS = 1000
_PATIENCE = 2.0
_BUFFER = 1 << 17
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
# linux/rtnetlink.h, linux/netlink.h, linux/if_addr.h
_GETADDR, _NEWADDR = 22, 20
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_ROUTE = 0


def addresses(_: Host) -> list[dict[str, str]]:
    """Each with its prefix, those of the loopback left out. Raises OSError and ValueError."""
    found: list[tuple[int, str]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE) as kernel:
        kernel.settimeout(_PATIENCE)
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _GETADDR, _REQUEST_DUMP, 1, 0) + body)
        for _answer in range(_ANSWERS):
            answer = list(messages(kernel.recv(_BUFFER)))
            for kind, data in answer:
                if kind == _ERROR:
                    raise ValueError("the kernel refuses to list addresses")
                if kind == _NEWADDR:
                    found.extend(address(data))
            if any(kind == _DONE for kind, _data in answer) or not answer:
                break
    return [{"interface": _interface(index), "address": written} for index, written in found[:_MOST]]


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The kind and the body of each message (netlink(7)); what is cut off is left out."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def address(data: bytes) -> Iterator[tuple[int, str]]:
    """The index of an interface and its address, from a message's body; nothing for the loopback's."""
    if len(data) < _ADDRESS.size:
        return
    family, prefix, _, _, index = _ADDRESS.unpack_from(data)
    parts = dict(_attributes(data[_ADDRESS.size :]))
    packed = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS) or b""
    if (family, len(packed)) in {(socket.AF_INET, 4), (socket.AF_INET6, 16)}:
        written = socket.inet_ntop(family, packed)
        if written != "::1" and not written.startswith("127."):
            yield index, f"{written}/{prefix}"


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _interface(index: int) -> str:
    try:
        return text(socket.if_indextoname(index), 64)
    except OSError:  # it went away since
        return str(index)
