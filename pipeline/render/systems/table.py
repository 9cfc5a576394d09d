"""All operating systems by the names that classes give them, and what follows from a class's own."""

from __future__ import annotations

from collections.abc import Mapping

from ...model import ResolvedClass
from . import armbian, debian, raspios, ubuntu
from .system import System

SYSTEMS: Mapping[str, System] = {
    "armbian": armbian.SYSTEM,
    "ubuntu": ubuntu.SYSTEM,
    "raspios": raspios.SYSTEM,
    "debian": debian.SYSTEM,
}

PI_ARCH = "arm64"
"""What a Raspberry Pi's firmware starts kernels of."""


def system_of(klass: ResolvedClass) -> System:
    """What Metis knows of the operating system of a class's golden."""
    return SYSTEMS[klass.os]


def starts_by_firmware(klass: ResolvedClass) -> bool:
    """Whether a Raspberry Pi's firmware starts the golden: no other has a cmdline.txt."""
    return klass.arch == PI_ARCH and system_of(klass).by_firmware
