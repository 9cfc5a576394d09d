"""Debian, and what the images of all systems that are made from it have in common."""

from __future__ import annotations

from ...model import Entry, Remove
from .system import System

# What images bring to get any address at all. netplan merges its files by key, so a default with
# `dhcp4: true` would stay in force beside a static address, and so would one for another id.
ADDRESSES = (
    # Armbian: with NetworkManager, with networkd, and before 24.05
    "/etc/netplan/00-default-use-network-manager.yaml",
    "/etc/netplan/10-dhcp-all-interfaces.yaml",
    "/etc/netplan/armbian-default.yaml",
    # Ubuntu: server installer (2), desktop, cloud-init
    "/etc/netplan/00-installer-config.yaml",
    "/etc/netplan/01-netcfg.yaml",
    "/etc/netplan/01-network-manager-all.yaml",
    "/etc/netplan/50-cloud-init.yaml",
    # Debian's images without cloud-init
    "/etc/netplan/90-default.yaml",
    # Raspberry Pi OS: the Imager's, and what its NetworkManager makes of eth0 (the id is always this)
    "/etc/NetworkManager/system-connections/preconfigured.nmconnection",
    "/etc/netplan/90-NM-75a1216a-9d1a-30cd-8aca-ace5526ec021.yaml",
)

# Where images say that the seed is on a FAT partition. The one of Raspberry Pi OS is read after ours ("_"
# comes after "-"), and its seedfrom would replace our user-data.
SEEDS = (
    "/etc/cloud/cloud.cfg.d/99-fake-cloud.cfg",  # Ubuntu
    "/etc/cloud/cloud.cfg.d/99-fake_cloud.cfg",  # Armbian
    "/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg",
)

# image-specs of raspi.debian.net: rpi-set-sysconf sets passwords, keys and the host name from here.
QUIRKS: tuple[Entry, ...] = (Remove("/sysconf.txt", side="boot"),)

SYSTEM = System(QUIRKS, by_firmware=True, renderer="networkd", addresses=ADDRESSES, seeds=SEEDS)
