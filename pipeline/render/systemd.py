"""Units that the operating system itself brings: enabled or masked as systemctl(1) does it."""

from __future__ import annotations

import re

from ..model import Symlink

_ADMIN = "/etc/systemd/system"
_SHIPPED = "/usr/lib/systemd/system"


def want(unit: str, target: str) -> str:
    """The path of the link by which a target wants a unit."""
    return f"{_ADMIN}/{target}.wants/{unit}"


def wanted(unit: str, target: str) -> Symlink:
    """The link of an enabled unit; that of an instance (`getty@tty1.service`) leads to its template."""
    template = re.sub(r"@.*\.", "@.", unit)
    return Symlink(want(unit, target), f"{_SHIPPED}/{template}")


def masked(unit: str) -> Symlink:
    """The link of a unit that nothing can start, not even another that wants it or a script in init.d."""
    return Symlink(f"{_ADMIN}/{unit}", "/dev/null")
