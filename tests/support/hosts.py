"""Folders that look like the root of a host, as the sentinel sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import jsonschema_rs

from metis_sentinel.snapshot import take
from tests.support.descriptors import descriptors

ROOT = Path(__file__).parents[2]
SCHEMA = jsonschema_rs.Draft202012Validator(
    json.loads((ROOT / "metis_sentinel/snapshot.schema.json").read_text())
)
MACHINE_ID = "0123456789abcdef0123456789abcdef"
FILES = {
    "/etc/hostname": "titan-1\n",
    "/etc/machine-id": f"{MACHINE_ID}\n",
    "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "/etc/group": "root:x:0:\n",
    "/proc/version": "Linux version 6.1.0\n",
    "/proc/sys/kernel/osrelease": "6.1.0-21-arm64\n",
    "/proc/sys/kernel/random/boot_id": "6f0c2a0e-8a3c-4b3e-9d62-0d7d5d7d9a11\n",
    "/proc/meminfo": "MemTotal:        8139072 kB\nMemFree: 1 kB\n",
    "/proc/uptime": "3600.25 7000.00\n",
    "/proc/cmdline": "console=tty1 root=PARTUUID=ab-02 rootwait\n",
    "/proc/1/mountinfo": "",
    "/sys/firmware/devicetree/base/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "/sys/block/.keep": "",
    "/var/lib/dpkg/status": "Package: bash\nStatus: install ok installed\nVersion: 5.2\n",
    "/var/log/journal/.keep": "",
}
"""What most hosts have."""


def host(root: Path, files: Mapping[str, str | bytes | None] | None = None) -> Path:
    """Make a host of FILES and others; None leaves a file out."""
    for path, content in {**FILES, **(files or {})}.items():
        if content is not None:
            add(root, path, content)
    return root


def add(root: Path, path: str, content: str | bytes) -> Path:
    """Put a file into a host."""
    file = Path(f"{root}{path}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def link(root: Path, path: str, target: str) -> None:
    """Put a symbolic link into a host."""
    place = Path(f"{root}{path}")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def node_json(managed: Mapping[str, object], **other: object) -> str:
    """A card's record of its files."""
    record = {
        "format": 1,
        "node": "titan-1",
        "hostname": "titan-1",
        "class": "worker",
        "files": dict(managed),
    }
    return json.dumps({**record, **other})


def sha256(content: str | bytes) -> str:
    """As node.json has it."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def snapshot(root: Path | str) -> dict[str, object]:
    """A snapshot that left no descriptor open."""
    before = descriptors()
    found = taken(root)
    assert descriptors() <= before
    return found


def taken(root: Path | str) -> dict[str, object]:
    """A snapshot that the schema accepts, as it comes out of its JSON."""
    found: dict[str, object] = json.loads(json.dumps(take(str(root)), ensure_ascii=False).encode())
    SCHEMA.validate(found)
    return found
