"""Where our units and scripts lie on a node, and how systemd names a mount."""

from __future__ import annotations

import re

from ..model import File, Symlink, Text
from .assets import asset

UNITS = "/etc/systemd/system"
SCRIPTS = "/usr/local/lib/metis"


def unit(name: str, text: Text | None = None) -> File:
    """A unit, with the text of the asset of its name where no other is given."""
    return File(f"{UNITS}/{name}", (text or asset(name),))


def enabled(name: str, target: str) -> Symlink:
    """The link by which a target wants a unit, as `systemctl enable` makes it."""
    return Symlink(f"{UNITS}/{target}.wants/{name}", f"{UNITS}/{name}")


def script(name: str) -> File:
    """A script of ours that the unit of the same purpose runs: the asset of its name."""
    return File(f"{SCRIPTS}/{name}", (asset(name),), mode=0o755)


def mount_unit(path: str) -> str:
    """The name of the unit that mounts something at a path of plain letters (systemd.unit(5), escaping)."""
    escaped = re.sub(r"[^A-Za-z0-9:_./]", lambda match: f"\\x{ord(match[0]):02x}", path.strip("/"))
    return escaped.replace("/", "-") + ".mount"
