"""Asks blkid(8) what lies on a device, in an image or at a place in it; nothing is mounted or changed."""

from __future__ import annotations

from pathlib import Path

from ..machine import process

_TIMEOUT = 60.0
_LIMIT = 1 << 20


def probed(path: Path, *place: str, timeout: float = _TIMEOUT) -> dict[str, str]:
    """What it finds, by udev's names: `ID_FS_TYPE`, `ID_FS_LABEL_ENC`. Several answers at once count as none.

    `place` are its options for a part of the whole; `timeout` is in seconds.
    """
    words = ["blkid", "--probe", *place, "--output", "udev", str(path.absolute())]
    said = process.run(words, timeout=timeout, limit=_LIMIT, check=False)
    pairs = (line.partition("=") for line in said.out.decode(errors="replace").splitlines())
    return {name: value for name, _, value in pairs}
