"""What each operating system does at its first start that would undo the node's identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..model import Edit, Entry, Fault, File, Remove, ResolvedNode
from . import units

AUTOLOGIN = (
    "/etc/systemd/system/getty@.service.d/override.conf",
    "/etc/systemd/system/serial-getty@.service.d/override.conf",
)
"""Armbian's drop-ins that log root in on every console, until its first login has been gone through."""


def _armbian() -> Iterator[Entry]:
    """armbian/build: packages/bsp/common and lib/functions/rootfs/distro-agnostic.sh."""
    # The dialogue of the first login makes a user and sets passwords; its presets hold them in plain text.
    yield Remove("/root/.not_logged_in_yet")
    yield Remove("/etc/profile.d/armbian-check-first-login.sh")
    yield Remove("/etc/profile.d/armbian-check-first-login-reboot.sh")
    yield Remove("/armbian_first_run.txt", side="boot")
    yield from map(Remove, AUTOLOGIN)
    # It deletes the host keys and makes others; an upgrade of its package may enable it again.
    yield Remove(units.want("armbian-firstrun.service", "multi-user.target"))
    keys_stay = (("OPENSSHD_REGENERATE_HOST_KEYS", "false"),)
    yield Edit("/etc/default/armbian-firstrun", "assignments", keys_stay)
    # All of /var/log, with the logs of the pods, would have to fit into 50 MB of memory.
    yield Remove(units.want("armbian-ramlog.service", "sysinit.target"))
    yield Edit("/etc/default/armbian-ramlog", "assignments", (("ENABLED", "false"),), optional=True)
    # metis-grow-root.service grows the root; two at once would race for the partition table.
    yield Remove(units.want("armbian-resize-filesystem.service", "basic.target"))
    yield File("/root/.no_rootfs_resize", ())


PI_CUSTOMISATION = (
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

PI_FIRST_BOOT = (
    "regenerate_ssh_host_keys.service",  # deletes the host keys and makes others
    "resize2fs_once.service",  # a script in init.d, up to Bookworm
    "rpi-resize.service",  # since Trixie; metis-grow-root.service does it
    "sshswitch.service",  # waits for a file `ssh` on the boot partition
    "userconfig.service",  # asks on the console for a user to rename the first one to
)


def _raspios() -> Iterator[Entry]:
    """RPi-Distro: pi-gen (stage2, export-image), raspberrypi-sys-mods and userconf-pi."""
    yield from (Remove(f"/{name}", side="boot") for name in PI_CUSTOMISATION)
    # Masked, as releases enable them by different targets.
    yield from map(units.masked, PI_FIRST_BOOT)
    # Disabled until the user is renamed or a file `ssh` is there, as is the login at the console.
    yield units.wanted("ssh.service", "multi-user.target")
    yield units.wanted("getty@tty1.service", "getty.target")
    # A banner that says that nobody can log in yet.
    yield Remove("/etc/ssh/sshd_config.d/rename_user.conf")


def _debian() -> Iterator[Entry]:
    """image-specs of raspi.debian.net: rpi-set-sysconf sets passwords, keys and the host name from here."""
    yield Remove("/sysconf.txt", side="boot")


def _ubuntu() -> Iterator[Entry]:
    """Nothing: its first start is all cloud-init's, see `cloud_init`."""
    yield from ()


BY_OS: Mapping[str, Callable[[], Iterator[Entry]]] = {
    "armbian": _armbian,
    "debian": _debian,
    "raspios": _raspios,
    "ubuntu": _ubuntu,
}


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """Removals and settings, by operating system."""
    return tuple(BY_OS[node.klass.os]())


def check(_node: ResolvedNode) -> Iterator[Fault]:
    """Nothing can be wrong with what nobody declares."""
    yield from ()
