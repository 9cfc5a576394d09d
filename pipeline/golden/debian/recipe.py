"""What an image that is made from Debian's packages is made of, as data.

The recipe's hash is what the cache knows the image by, because the packages have no hash of their own. How
they are installed is in `packages`, and what makes a disk of them in `image`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

from ...errors import UsageError
from ...inventory.formats import DEBIAN_SUITE

VERSION = 1
"""Raised when the code makes another image from the same recipe."""

MIB = 1 << 20
ENTRIES = "debian"
"""What kernel-install(8) names this system's boot entries by; without it, by a machine-id that changes."""
PI_FIRMWARE = "boot/firmware"
"""Where the FAT of a Raspberry Pi is mounted, and raspi-firmware puts what belongs on it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what the image holds, apart from what the archive has today.

    Sizes are in bytes. The partitions' types are as sfdisk(8) takes them, a GPT root's from the Discoverable
    Partitions Specification.
    """

    packages: tuple[str, ...]
    components: tuple[str, ...]
    """The parts of the archive that the packages come from."""
    early_files: Mapping[str, tuple[int, str]]
    """Like `files`, but there before the packages are, whose installation they steer."""
    files: Mapping[str, tuple[int, str]]
    """Path in the root file system: mode and content; owned by root."""
    links: Mapping[str, str]
    hooks: tuple[str, ...]
    """Shell lines for mmdebstrap(1), run once the packages and the files are there; `$1` is the root."""
    dpkg_options: tuple[str, ...]
    slack: int
    """Room that is left free in the root, beside a quarter of what is in it for the file system itself."""
    cmdline: str
    """How the kernel is started, where the loader's entry is ours to write."""
    table: Literal["gpt", "dos"]
    fat_type: str
    fat_label: str
    fat_size: int
    root_type: str
    root_label: str
    loader: tuple[str, str] | None
    """The boot loader in the root file system and its name on the ESP; None where packages fill the FAT."""


_CLOUD_INIT = """\
# Without a data source named here cloud-init looks for metadata services for minutes.
datasource_list: [NoCloud, None]
# The locales package is not installed.
locale: "false"
# An obsolete kind that sshd(8) no longer reads would be made too.
ssh_genkeytypes: [rsa, ecdsa, ed25519]
"""

_NO_WAIT = """\
# A node whose cable is out must still come up.
[Service]
ExecStart=
ExecStart=/usr/lib/systemd/systemd-networkd-wait-online --any --timeout=30
"""

_HOSTS = """\
127.0.0.1\tlocalhost
127.0.1.1\tgolden

::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""

_PACKAGES = (
    "ca-certificates cloud-init dbus dosfstools e2fsprogs fdisk initramfs-tools iproute2 kmod netplan.io "
    "openssh-server sudo systemd systemd-resolved systemd-sysv udev"
)

_FILES: Mapping[str, tuple[int, str]] = {
    "etc/cloud/cloud.cfg.d/90_metis.cfg": (0o644, _CLOUD_INIT),
    "etc/hostname": (0o644, "golden\n"),
    "etc/hosts": (0o644, _HOSTS),
    "etc/systemd/system/systemd-networkd-wait-online.service.d/metis.conf": (0o644, _NO_WAIT),
    # Empty, not "uninitialized": that would run the first-boot presets and questions (machine-id(5)).
    "etc/machine-id": (0o444, ""),
}

_LINKS = {"etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf"}

_HOOKS = (
    'chroot "$1" systemctl enable systemd-networkd systemd-resolved ssh',
    # the second is what the host uses for name resolution
    'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/.resolv.conf.*.bak',
)

_DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)


def _fstab(root: str, fat: str, folder: str, options: str) -> tuple[int, str]:
    """The mode and content of an fstab(5) for these labels, with the FAT at `folder`."""
    lines = f"LABEL={root} / ext4 errors=remount-ro 0 1\nLABEL={fat} {folder} vfat {options} 0 2\n"
    return 0o644, lines


_CMDLINE = "root=LABEL=rootfs rw console=tty0 console=ttyS0,115200"

_AMD64 = Recipe(
    packages=(*_PACKAGES.split(), "linux-image-cloud-amd64", "systemd-boot", "systemd-boot-efi"),
    components=("main",),
    early_files={},
    files={
        **_FILES,
        "etc/fstab": _fstab("rootfs", "ESP", "/boot/efi", "umask=0077,nofail"),
        # where kernel-install(8) puts the entry of a later kernel, in the same form as ours
        "etc/kernel/cmdline": (0o644, f"{_CMDLINE}\n"),
        "etc/kernel/entry-token": (0o644, f"{ENTRIES}\n"),
    },
    links=_LINKS,
    hooks=(*_HOOKS, 'mkdir -p "$1"/boot/efi'),
    dpkg_options=_DPKG_OPTIONS,
    slack=192 * MIB,
    cmdline=_CMDLINE,
    table="gpt",
    fat_type="U",
    fat_label="ESP",
    fat_size=256 * MIB,
    root_type="4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
    root_label="rootfs",
    loader=("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "BOOTX64.EFI"),
)

_PI_DEFAULTS = """\
ROOTPART=LABEL=RASPIROOT
CONSOLES="ttyS1,115200 tty0"
CMA=0
"""

_PI_MODULES = """\
#!/bin/sh
# What is needed to find the root: on the card or a USB disk of a Raspberry Pi, or in a virtual machine.
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules ext4 mmc_block sdhci_iproc bcm2835 sdhci_brcmstb \\
    raspberrypi_hwmon gpio_raspberrypi_exp regulator_fixed gpio_regulator clk_raspberrypi bcm2835_dma \\
    reset_raspberrypi pcie_brcmstb xhci_pci usb_storage uas sd_mod \\
    virtio_pci virtio_mmio virtio_blk virtio_scsi
"""

_ARM64 = Recipe(
    packages=(*_PACKAGES.split(), "linux-image-arm64", "raspi-firmware"),
    components=("main", "non-free-firmware"),
    early_files={
        # All modules would make the initrd ten times as large, and an emulated build many minutes longer.
        "etc/initramfs-tools/conf.d/metis": (0o644, "MODULES=list\n"),
        "etc/initramfs-tools/hooks/metis": (0o755, _PI_MODULES),
    },
    files={
        **_FILES,
        "etc/fstab": _fstab("RASPIROOT", "RASPIFIRM", f"/{PI_FIRMWARE}", "nofail"),
        "etc/default/raspi-firmware": (0o644, _PI_DEFAULTS),
    },
    links=_LINKS,
    hooks=(*_HOOKS, 'DEB_MAINT_PARAMS=configure chroot "$1" /etc/kernel/postinst.d/z50-raspi-firmware'),
    dpkg_options=_DPKG_OPTIONS,
    slack=192 * MIB,
    cmdline="",
    table="dos",
    fat_type="c",
    fat_label="RASPIFIRM",
    fat_size=256 * MIB,
    root_type="83",
    root_label="RASPIROOT",
    loader=None,
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({"amd64": _AMD64, "arm64": _ARM64})
"""By architecture as Debian names it."""


def recipe_key(suite: str, arch: str = "amd64") -> str:
    """The SHA-256 (hex) of all that decides what is made, so that a cache can name the image by it.

    Raises UsageError for what cannot be built.
    """
    recipe = recipe_of(suite, arch)
    whole = json.dumps([VERSION, suite, arch, asdict(recipe)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def recipe_of(suite: str, arch: str) -> Recipe:
    """The recipe for a suite and an architecture; raises UsageError for what cannot be built."""
    if not DEBIAN_SUITE.fullmatch(suite):
        raise UsageError(f"{suite!r} is not a suite of Debian", "name one as in debian:bookworm")
    if arch not in RECIPES:
        known = ", ".join(RECIPES)
        raise UsageError(f"debian:{suite} cannot be built for {arch}", f"there is a recipe for {known}")
    return RECIPES[arch]
