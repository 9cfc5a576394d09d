"""What may be named as the source of an identity: a mounted root, an image or card, or a live node."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from ..errors import SourceError, UsageError, reason_of

EXPECTED = "name a folder, an image, a device, ssh://[USER@]HOST[:PORT] or USER@HOST"

_USER = r"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})"
_HOST = r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,15})?\])"
_URL = re.compile(rf"ssh://(?:{_USER}@)?{_HOST}(?::(?P<port>[0-9]{{1,5}}))?/?", re.ASCII)
_SHORT = re.compile(rf"{_USER}@{_HOST}", re.ASCII)
_PORTS = range(1, 1 << 16)

_FORMS = {
    b"\xfd7zXZ\0": ("compressed", "unpack it first: `xz --decompress --keep FILE`"),
    b"\x1f\x8b": ("compressed", "unpack it first: `gzip --decompress --keep FILE`"),
    b"\x28\xb5\x2f\xfd": ("compressed", "unpack it first: `zstd --decompress FILE`"),
    b"BZh": ("compressed", "unpack it first: `bzip2 --decompress --keep FILE`"),
    b"PK\x03\x04": ("compressed", "unpack it first: `unzip FILE`"),
    b"QFI\xfb": ("a qcow2 image", "make it raw first: `qemu-img convert -O raw FILE FILE.img`"),
}
"""What images are often kept as and cannot be read from, by their first bytes."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The root of a node, mounted or copied there."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Image:
    """A raw image of a node's disk, or the card itself in a block device."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Live:
    """A node that is up, as ssh(1) knows it; what is empty or None is left to ssh's configuration."""

    host: str
    user: str = ""
    port: int | None = None

    @property
    def destination(self) -> str:
        """As an argument of ssh."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"ssh://{user}{host}{port}"


Source = Folder | Image | Live


def parse(text: str) -> Source:
    """The source that a text names; a file that is there is meant before a node of that name.

    Raises UsageError for anything else, without repeating what may be a password, and SourceError where it
    cannot be looked at.
    """
    if "://" in text:
        return _live(_URL.fullmatch(text))
    try:
        mode = Path(text).stat().st_mode if text else 0
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return _live(_SHORT.fullmatch(text))
    except OSError as error:
        raise SourceError(f"{text}: {reason_of(error)}", "run as root, or copy it") from None
    if stat.S_ISDIR(mode):
        return Folder(Path(text))
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        _refuse_other_forms(Path(text))
        return Image(Path(text))
    raise UsageError("--from is neither a folder nor an image, a device or a node", EXPECTED)


def _live(match: re.Match[str] | None) -> Live:
    if match is None:
        raise UsageError("--from names nothing that is there, and no node", EXPECTED)
    parts = match.groupdict()
    port = int(parts["port"]) if parts.get("port") else None
    if port is not None and port not in _PORTS:
        raise UsageError(f"--from has the port {port}", "ports are 1 to 65535")
    return Live(parts["host"].strip("[]"), parts["user"] or "", port)


def _refuse_other_forms(file: Path) -> None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"{file}: {reason_of(error)}", "run as root, or copy it") from None
    try:
        first = os.read(descriptor, 8)
    finally:
        os.close(descriptor)
    for magic, (what, hint) in _FORMS.items():
        if first.startswith(magic):
            raise UsageError(f"{file} is {what}", hint)
