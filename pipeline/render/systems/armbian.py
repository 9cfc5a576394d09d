"""Armbian.

Sources: armbian/build, packages/bsp/common and lib/functions/rootfs/distro-agnostic.sh.
"""

from __future__ import annotations

from ...model import Edit, Entry, File, Remove
from .. import units
from . import debian
from .system import System

AUTOLOGIN = (
    "/etc/systemd/system/getty@.service.d/override.conf",
    "/etc/systemd/system/serial-getty@.service.d/override.conf",
)
"""Drop-ins that log root in on every console, until the first login has been gone through."""

QUIRKS: tuple[Entry, ...] = (
    # The dialogue of the first login makes a user and sets passwords; its presets hold them in plain text.
    Remove("/root/.not_logged_in_yet"),
    Remove("/etc/profile.d/armbian-check-first-login.sh"),
    Remove("/etc/profile.d/armbian-check-first-login-reboot.sh"),
    Remove("/armbian_first_run.txt", side="boot"),
    *map(Remove, AUTOLOGIN),
    # It deletes the host keys and makes others; an upgrade of its package may enable it again.
    Remove(units.want("armbian-firstrun.service", "multi-user.target")),
    Edit("/etc/default/armbian-firstrun", "assignments", (("OPENSSHD_REGENERATE_HOST_KEYS", "false"),)),
    # All of /var/log, with the logs of the pods, would have to fit into 50 MB of memory.
    Remove(units.want("armbian-ramlog.service", "sysinit.target")),
    Edit("/etc/default/armbian-ramlog", "assignments", (("ENABLED", "false"),), optional=True),
    # metis-grow-root.service grows the root; two at once would race for the partition table.
    Remove(units.want("armbian-resize-filesystem.service", "basic.target")),
    File("/root/.no_rootfs_resize", ()),
)

SYSTEM = System(
    QUIRKS,
    by_firmware=True,
    renderer="networkd",
    addresses=debian.ADDRESSES,
    seeds=debian.SEEDS,
    has_known_root=True,
)
