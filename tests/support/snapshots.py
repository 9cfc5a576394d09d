"""Snapshots of nodes that were never there: as a sentinel writes them, the same in each run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
"""When the tests read."""
NEWEST = datetime(2026, 11, 29, 2, 20, 0, 123456, tzinfo=UTC)
"""When the newest snapshot of a history was made; each older one an hour before the next."""
LINKS = 10_000
"""Names of one file; file systems allow some 65,000."""
_STEMS = (
    "apt bind curl dbus gcc glib grub kmod linux nfs perl python ssl systemd tar udev vim xz yaml z".split()
)
_KINDS = ("", "-libs", "-dev", "-bin", "-common", "-data", "-utils", "-doc", "-perl", "-core")
_SUFFIXES = ("", "-3", "-base")


def packages() -> dict[str, str]:
    """600 packages with their versions, as dpkg names them."""
    return dict(_packages())


@cache
def _packages() -> dict[str, str]:
    names = [f"{stem}{kind}{suffix}" for stem in _STEMS for kind in _KINDS for suffix in _SUFFIXES]
    return {name: _version(name) for name in names}


def snapshot(node: str, *, at: datetime = NEWEST, **changes: Any) -> dict[str, Any]:
    """A snapshot of a node, valid by the schema; `changes` replace its keys, and None leaves one out."""
    time = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    value = {
        "format": 1,
        "id": _digest(f"{node} {at.isoformat()}")[:32],
        "at": time,
        "sentinel": "0.1.0",
        "node": node,
        "hostname": node,
        "machine_id_hash": _digest(f"machine {node}"),
        "os": {"id": "debian", "version": "12", "name": "Armbian 25.11.1 bookworm"},
        "kernel": "6.12.58-current-bcm2711",
        "arch": "aarch64",
        "board": "Raspberry Pi 4 Model B Rev 1.5",
        "memory": 8_189_988_864,
        "boot": {"id": _digest(f"boot {node}")[:32], "uptime": 432_000},
        "versions": {"k3s": "v1.34.2+k3s1", "containerd": "2.1.5-k3s1", "runc": "1.3.3"},
        "packages": packages(),
        "mounts": _mounts(node),
        "longhorn_disks": [{"path": "/mnt/longhorn", "uuid": _uuid(f"longhorn {node}")}],
        "disks": [
            {"name": "mmcblk0", "size": 63_864_569_856, "model": "SD64G", "removable": False, "wear": {}},
            {"name": "sda", "size": 1_000_204_886_016, "model": "Portable SSD", "removable": False},
        ],
        "addresses": [{"interface": "eth0", "address": "192.0.2.13/24"}],
        "cmdline": "console=serial0,115200 root=LABEL=armbi_root rootwait cgroup_enable=memory",
        "journal_bytes": 167_772_160,
        "card": {"node": node, "class": "rpi4-armbian-longhorn", "sha256": _digest(f"card {node}")},
        "burn": {"node": node, "image": _digest(f"image {node}")[:16], "at": "2026-11-01T08:00:00Z"},
        "files": {path: _file(path) for path in _managed()},
        "failed_units": [],
        "gaps": [],
        "dropped": 0,
        **changes,
    }
    return {key: found for key, found in value.items() if found is not None}


def small(node: str, **changes: Any) -> dict[str, Any]:
    """A snapshot with next to no packages, and no files."""
    return snapshot(node, **{"packages": {"bind": "1"}, "files": {}, **changes})


def written(value: object) -> bytes:
    """A snapshot as a sentinel writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def put(path: Path, content: object) -> Path:
    """A file with bytes or text as they are, or a value as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content if isinstance(content, bytes) else written(content))
    return path


def file_name(at: datetime) -> str:
    """What a sentinel calls the file of a snapshot."""
    return f"{at:%Y%m%dT%H%M%S.%fZ}.json"


def history(folder: Path, nodes: Iterable[str], each: int, *, newest: datetime = NEWEST) -> None:
    """Fill a folder with so many snapshots of each node; the older ones are one file under many names."""
    for node in nodes:
        home = folder / node
        home.mkdir(parents=True)
        (home / file_name(newest)).write_bytes(written(snapshot(node, at=newest)))
        for number in range(1, each):
            at = newest - timedelta(hours=number)
            file = home / file_name(at)
            if number % LINKS == 1:
                first = file
                first.write_bytes(written(snapshot(node, at=at)))
            else:
                file.hardlink_to(first)


def _mounts(node: str) -> list[dict[str, Any]]:
    places = (("/", "/dev/mmcblk0p2", "ext4"), ("/boot/firmware", "/dev/mmcblk0p1", "vfat"))
    disks = (("/mnt/longhorn", "/dev/sda1", "ext4"), ("/var/log/pods", "/dev/sda2", "ext4"))
    return [
        {"path": path, "source": source, "type": kind, "uuid": _uuid(f"{path} {node}"), "read_only": False}
        for path, source, kind in (*places, *disks)
    ]


def _managed() -> list[str]:
    units = [f"/etc/systemd/system/metis-{number}.service" for number in range(160)]
    return [
        "/etc/hostname",
        "/etc/rancher/k3s/config.yaml",
        *units,
        *(f"/etc/modprobe.d/{number}.conf" for number in range(20)),
    ]


def _file(path: str) -> dict[str, str]:
    if "rancher" in path:
        return {"state": "unread"}
    return {"state": "file", "sha256": _digest(path), "mode": "0644", "owner": "root", "group": "root"}


def _version(name: str) -> str:
    number = int(_digest(name)[:4], 16)
    return f"{number % 9}.{number % 47}.{number % 13}-{number % 5}+deb12u{number % 4}"


def _uuid(text: str) -> str:
    digits = _digest(text)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
