"""Windows, for burns: cards found with PowerShell, and plain files. `physical_drive` opens them.

Importing this needs no Windows, and running it PowerShell alone.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import RefusedError, UsageError, from_os
from ..machine import process
from . import get_disk
from .cards import SWAP, Card
from .kernel32 import kernel32
from .physical_drive import WindowsOpener
from .platform import Platform

Ask = Callable[[], bytes]
"""Asks PowerShell `get_disk.QUESTION`."""

_TIMEOUT = 60.0
_DRIVE = re.compile(r"\\\\[.?]\\PhysicalDrive(\d{1,4})", re.IGNORECASE)
_VOLUME = re.compile(r"(?:\\\\[.?]\\)?(?:[A-Za-z]:\\?|Volume\{.*)", re.IGNORECASE)
_RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])(?:[ .:].*)?", re.IGNORECASE)


def ask_powershell() -> bytes:
    """PowerShell's answer to `get_disk.QUESTION`. Raises ToolError where it gives none."""
    root = os.environ.get("SYSTEMROOT", r"C:\Windows")  # never one that lies in the folder we are in
    return process.run(
        [
            rf"{root}\System32\WindowsPowerShell\v1.0\powershell.exe",
            *("-NoProfile", "-NonInteractive", "-OutputFormat", "Text"),
            *("-EncodedCommand", base64.b64encode(get_disk.QUESTION.encode("utf-16-le")).decode()),
        ],
        timeout=_TIMEOUT,
    ).out


def find(ask: Ask = ask_powershell) -> tuple[Card, ...]:
    """All disks of this machine."""
    return get_disk.cards(ask())


def card_at(path: str, ask: Ask = ask_powershell) -> Card:
    r"""What an operator named: \\.\PhysicalDriveN, a disk's lasting name, or a plain file.

    Raises UsageError for anything else, and RefusedError where there is no such disk.
    """
    drive = _DRIVE.fullmatch(path)
    if drive or path.startswith(("\\\\?\\", "\\\\.\\")):
        if _VOLUME.fullmatch(path):
            raise _is_volume(path)
        found = [card for card in find(ask) if _is_named(card, path, drive[1] if drive else None)]
        if len(found) != 1:
            problem = "names several disks" if found else "is no disk of this machine"
            raise RefusedError(f"{path} {problem}", "see `metis cards`")
        return found[0]
    if _VOLUME.fullmatch(path):
        raise _is_volume(path)
    return _file_at(path)


def _is_named(card: Card, path: str, number: str | None) -> bool:
    if number is not None:
        return card.number == str(int(number))
    return path.casefold() in {name.casefold() for name in card.names}


def _is_volume(path: str) -> UsageError:
    return UsageError(
        f"{path} is a volume", r"name the whole disk, as `metis cards` shows it: \\.\PhysicalDrive2"
    )


def _file_at(path: str) -> Card:
    place = Path(path)
    if _RESERVED.fullmatch(path.replace("\\", "/").rpartition("/")[2]):
        raise UsageError(f"{path} is a device, but no disk", "name a card, see `metis cards`, or a file")
    try:
        if place.is_dir():
            raise UsageError(f"{path} is a folder", "name a card, see `metis cards`, or a file")
        if place.exists() and not place.is_file():
            raise UsageError(f"{path} is no plain file", "name a card, see `metis cards`, or a file")
        size = place.stat().st_size if place.exists() else 0
    except OSError as error:
        raise from_os(error) from None
    return Card(path, "file", size)


def openers(_card: Card) -> tuple[str, ...]:
    """Nobody, as Windows does not tell. Whoever has a file of a card open keeps it from being locked."""
    return ()


def system_mounts(artifacts: Path) -> Mapping[str, str]:
    """What mount points of this machine must not be lost: Windows, its page files, our folders."""
    found = {get_disk.WINDOWS: "the running Windows", SWAP: "a page file"}
    for folder, what in ((Path.home(), "the home folders"), (artifacts, "the artifacts")):
        found.setdefault(folder.resolve().anchor.upper(), what)
    return found


def platform() -> Platform:
    """What a burn asks of Windows."""
    return Platform(
        knows_file_systems=False,
        find=find,
        card_at=card_at,
        openers=openers,
        system_mounts=system_mounts,
        opener=WindowsOpener(kernel32(), card_at, Path(tempfile.gettempdir())),
    )
