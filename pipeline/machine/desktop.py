"""Opens an address in the browser of whoever sits at this machine."""

from __future__ import annotations

import html
import os
import shutil
from pathlib import Path

from . import durable, process

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_OF_A_DESKTOP = (*_DISPLAYS, "BROWSER", "DBUS_SESSION_BUS_ADDRESS", "XAUTHORITY", "XDG_CURRENT_DESKTOP")


def open_in_browser(url: str, page: Path, log: Path) -> bool:
    """Open an address that is for us alone, by xdg-open(1) or as Windows does; False without a desktop.

    The browser is given `page`, a private file that leads there: others may read the arguments of a program.
    """
    refresh = f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(url)}">'
    durable.write(page, refresh.encode())
    if process.opened(page) or _shown_by_xdg(page, log):
        return True
    page.unlink()
    return False


def _shown_by_xdg(page: Path, log: Path) -> bool:
    own = {name: os.environ[name] for name in _OF_A_DESKTOP if name in os.environ}
    opener = shutil.which("xdg-open")
    if opener is None or not any(map(own.get, _DISPLAYS)):
        return False
    process.detached((opener, page.as_uri()), log, extra_environment=own)
    return True
