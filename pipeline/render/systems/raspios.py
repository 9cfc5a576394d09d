"""Raspberry Pi OS.

Sources: RPi-Distro's pi-gen (stage2, export-image), raspberrypi-sys-mods and userconf-pi.
"""

from __future__ import annotations

from ...model import Entry, Remove
from .. import units
from . import debian
from .system import System

CUSTOMISATION = (
    "custom.toml",
    "firstrun.sh",
    "rpi-preseed.toml",
    "ssh",
    "ssh.txt",
    "userconf",
    "userconf.txt",
    "wpa_supplicant.conf",
)
"""What Raspberry Pi's Imager, or an operator, leaves on the boot partition for the first start."""

FIRST_BOOT = (
    "regenerate_ssh_host_keys.service",  # deletes the host keys and makes others
    "resize2fs_once.service",  # a script in init.d, up to Bookworm
    "rpi-resize.service",  # since Trixie; metis-grow-root.service does it
    "sshswitch.service",  # waits for a file `ssh` on the boot partition
    "userconfig.service",  # asks on the console for a user to rename the first one to
)

QUIRKS: tuple[Entry, ...] = (
    *(Remove(f"/{name}", side="boot") for name in CUSTOMISATION),
    # Masked, as releases enable them by different targets.
    *map(units.masked, FIRST_BOOT),
    # Disabled until the user is renamed or a file `ssh` is there, as is the login at the console.
    units.wanted("ssh.service", "multi-user.target"),
    units.wanted("getty@tty1.service", "getty.target"),
    # A banner that says that nobody can log in yet.
    Remove("/etc/ssh/sshd_config.d/rename_user.conf"),
)

SYSTEM = System(
    QUIRKS,
    by_firmware=True,
    renderer="keyfile",
    addresses=debian.ADDRESSES,
    seeds=debian.SEEDS,
    kernel_4k="kernel8.img",
)
