"""The packages that are installed, by dpkg or else by rpm (`rpm`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedReader

from . import rpm
from .host import Host
from .texts import text

MOST = 20000
_STATUS = "/var/lib/dpkg/status"
_LINE = 1 << 14
_LARGEST = 256 << 20
_MOST_TEXT = 256
Package = tuple[str, str, str]
"""Its name, architecture and version."""


def packages(host: Host) -> dict[str, str]:
    """Versions by name; by NAME:ARCH where a name is there for several architectures."""
    try:
        with host.files.opened(_STATUS) as descriptor:
            if os.fstat(descriptor).st_size > _LARGEST:
                raise ValueError(f"{_STATUS}: has more than {_LARGEST >> 20} MiB")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return named(_bounded(host, dpkg(file)))
    except FileNotFoundError:
        return named(_bounded(host, rpm.installed(host)))


def named(found: Iterator[Package]) -> dict[str, str]:
    """Packages by the names that tell them apart; several versions of one, as of kernels, are listed."""
    versions: dict[str, dict[str, str]] = {}
    for name, arch, version in found:
        known = versions.setdefault(name, {})
        known[arch] = f"{known[arch]}, {version}" if arch in known else version
    return {
        text(f"{name}:{arch}" if len(known) > 1 else name, _MOST_TEXT): text(version, _MOST_TEXT)
        for name, known in versions.items()
        for arch, version in known.items()
    }


def _bounded(host: Host, found: Iterator[Package]) -> Iterator[Package]:
    for count, package in enumerate(found):
        if count == MOST:
            host.gap("packages", f"there are more than {MOST}")
            return
        yield package


def dpkg(status: BufferedReader) -> Iterator[Package]:
    """The packages that a status file of dpkg(1) says are installed; it is never in memory as a whole."""
    fields: dict[bytes, bytes] = {}
    whole = True
    while data := status.readline(_LINE):
        begins, whole = whole, data.endswith(b"\n")
        if not begins:  # the rest of a line that is longer than any field that counts
            continue
        if data == b"\n":
            yield from _installed(fields)
            fields = {}
            continue
        name, colon, value = data.partition(b":")
        name = name.lower()
        if colon and name in {b"package", b"status", b"version", b"architecture"}:
            fields[name] = value.strip()
    yield from _installed(fields)


def _installed(fields: dict[bytes, bytes]) -> Iterator[Package]:
    if fields.get(b"status", b"").split()[2:] == [b"installed"] and fields.get(b"package"):
        words = (fields.get(name, b"") for name in (b"package", b"architecture", b"version"))
        name, arch, version = (text(word, _MOST_TEXT) for word in words)
        yield name, arch, version
