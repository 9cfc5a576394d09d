"""Units on a node: ours and the operating system's own, enabled or masked as systemctl(1) does it."""

from __future__ import annotations

import re

from ..model import File, Symlink, Text
from .assets import asset

UNITS = "/etc/systemd/system"
SCRIPTS = "/usr/local/lib/metis"
_SHIPPED = "/usr/lib/systemd/system"
FOLDERS = (UNITS, "/run/systemd/system", "/lib/systemd/system", _SHIPPED)


def unit(name: str, text: Text | None = None) -> File:
    """A unit, with the text of the asset of its name where no other is given."""
    return File(f"{UNITS}/{name}", (text or asset(name),))


def want(name: str, target: str) -> str:
    """The path of the link by which a target wants a unit."""
    return f"{UNITS}/{target}.wants/{name}"


def enabled(name: str, target: str) -> Symlink:
    """The link of a unit of ours that a target wants."""
    return Symlink(want(name, target), f"{UNITS}/{name}")


def wanted(name: str, target: str) -> Symlink:
    """The link of a unit of the system; that of an instance (`getty@tty1.service`) leads to its template."""
    template = re.sub(r"@.*\.", "@.", name)
    return Symlink(want(name, target), f"{_SHIPPED}/{template}")


def masked(name: str) -> Symlink:
    """The link of a unit that nothing can start, not even another that wants it or a script in init.d."""
    return Symlink(f"{UNITS}/{name}", "/dev/null")


def strays(prefix: str) -> dict[str, str]:
    """Where units whose names begin alike are heeded, as `concern.Owned` has strays."""
    return dict.fromkeys(
        (f"{UNITS}/{prefix}*", want(f"{prefix}*", "*")), "systemd would heed it beside our units"
    )


def anywhere(prefix: str) -> tuple[str, ...]:
    """All places of units and their drop-ins whose names begin alike, as `concern.Owned` has paths."""
    return tuple(f"{folder}/{below}{prefix}*" for folder in FOLDERS for below in ("", "**/"))


def script(name: str) -> File:
    """A script of ours that the unit of the same purpose runs: the asset of its name."""
    return File(f"{SCRIPTS}/{name}", (asset(name),), mode=0o755)


def mount_unit(path: str) -> str:
    """The name of the unit that mounts something at a path of plain letters (systemd.unit(5), escaping)."""
    escaped = re.sub(r"[^A-Za-z0-9:_./]", lambda match: f"\\x{ord(match[0]):02x}", path.strip("/"))
    return escaped.replace("/", "-") + ".mount"
