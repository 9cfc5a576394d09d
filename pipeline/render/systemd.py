"""Units that the operating system itself brings: enabled or masked as systemctl(1) does it."""

from __future__ import annotations

from ..model import Symlink

_ADMIN = "/etc/systemd/system"
_SHIPPED = "/usr/lib/systemd/system"


def want(unit: str, target: str) -> str:
    """The path of the link by which a target wants a unit."""
    return f"{_ADMIN}/{target}.wants/{unit}"


def wanted(unit: str, target: str) -> Symlink:
    """The link of an enabled unit; systemd goes by its name, wherever the unit itself lies."""
    return Symlink(want(unit, target), f"{_SHIPPED}/{unit}")


def masked(unit: str) -> Symlink:
    """The link of a unit that nothing can start, not even another that wants it or a script in init.d."""
    return Symlink(f"{_ADMIN}/{unit}", "/dev/null")
