"""Ubuntu: its first start is all cloud-init's, see `render.cloud_init`."""

from __future__ import annotations

from . import debian
from .system import System

SYSTEM = System((), by_firmware=True, renderer="networkd", addresses=debian.ADDRESSES, seeds=debian.SEEDS)
