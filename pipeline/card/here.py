"""The platforms that cards are burned on, and which of them we run on."""

from __future__ import annotations

import sys
from importlib import import_module

from ..errors import MetisError
from .platform import Platform

PLATFORMS = {"linux": "linux", "win32": "windows"}
"""The module of each platform, by what its `sys.platform` begins with."""


def here() -> Platform:
    """The platform of this machine; its module is imported only now, as others could not be."""
    for beginning, module in PLATFORMS.items():
        if sys.platform.startswith(beginning):
            found: Platform = import_module(f".{module}", __package__).platform()
            return found
    raise MetisError(f"no card is found or written on {sys.platform}", "burn on another machine")
