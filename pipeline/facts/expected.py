"""What the inventory says of a node, as far as a snapshot can be held to it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..model import File, Manifest, ResolvedNode, Text
from ..raw.record import NODE
from ..render.links import addresses
from ..render.storage import disks_of


@dataclass(frozen=True, slots=True)
class ExpectedDisk:
    """A disk by the UUID of its file system, and where that is mounted; `longhorn` is what Longhorn has."""

    uuid: str
    paths: tuple[str, ...]
    is_strict: bool
    longhorn: str


@dataclass(frozen=True, slots=True)
class Expected:
    """A node as the inventory has it.

    `files` is what the card's record says of each file that Metis puts there, and `card_sha256` the hash of
    that record. `targets` are the versions that the class or the node names, `packages` those of packages.
    """

    node: str
    klass: str
    hostname: str
    addresses: tuple[str, ...]
    disks: tuple[ExpectedDisk, ...]
    files: Mapping[str, Mapping[str, str]]
    card_sha256: str
    targets: Mapping[str, str]
    packages: Mapping[str, str]

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**own, "disks": [asdict(disk) for disk in self.disks]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Expected:
        """The inverse of to_data; raises KeyError or TypeError for what it did not give."""
        disks = tuple(ExpectedDisk(**{**disk, "paths": tuple(disk["paths"])}) for disk in data["disks"])
        return cls(**{**data, "addresses": tuple(data["addresses"]), "disks": disks})


def expected(node: ResolvedNode, manifest: Manifest) -> Expected:
    """What a node must be by its settings and its manifest."""
    record = _record(manifest)
    targets = node.settings.get("targets", {})
    return Expected(
        node=node.name,
        klass=node.klass.name,
        hostname=node.hostname,
        addresses=tuple(map(str, addresses(node))),
        disks=tuple(
            ExpectedDisk(disk.uuid, (disk.path, *disk.binds), disk.is_strict, disk.disk_uuid.strip("-"))
            for disk in disks_of(node)
        ),
        files=json.loads(record)["files"],
        card_sha256=hashlib.sha256(record.encode()).hexdigest(),
        targets={name: text for name, text in targets.items() if name != "packages"},
        packages=dict(targets.get("packages", {})),
    )


def _record(manifest: Manifest) -> str:
    """The text of the card's record, which each manifest has."""
    entries = (item.entry for item in manifest.entries)
    record = next(entry for entry in entries if isinstance(entry, File) and entry.path == NODE)
    return "".join(piece.text for piece in record.content if isinstance(piece, Text))
