"""All edits by the names that manifests call them by. A new one is a function and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import MetisError
from .accounts import group, gshadow, passwd, shadow
from .assignments import assignments
from .cmdline import cmdline
from .config_txt import config_txt
from .fstab import fstab
from .hosts import hosts
from .lines import Arguments, EditFunction

VERSION = 4
"""Of what all edits do: counts up when one of them would give other bytes, as manifests only name them."""

EDITS: Mapping[str, EditFunction] = {
    "assignments": assignments,
    "hosts": hosts,
    "passwd": passwd,
    "group": group,
    "gshadow": gshadow,
    "shadow": shadow,
    "cmdline": cmdline,
    "config_txt": config_txt,
    "fstab": fstab,
}


def apply(name: str, old: bytes, arguments: Arguments, path: str) -> bytes:
    """Apply the edit called `name` to the bytes of the file at `path` (empty where there is none)."""
    try:
        text = old.decode()
    except UnicodeDecodeError:
        raise MetisError(f"cannot edit {path} of the golden", "it is not UTF-8 text") from None
    if name not in EDITS:
        raise MetisError(f"no edit called {name!r} is known", "run again, so that the manifest is made anew")
    return EDITS[name](text, arguments, path).encode()
