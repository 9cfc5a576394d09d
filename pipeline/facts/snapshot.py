"""A snapshot as values: what a node's sentinel said of it, held to the schema. Pure.

All of it is a stranger's word: texts may hold what a terminal or a browser would obey. Where snapshots come
from is in `reading`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import jsonschema_rs

from ..errors import MetisError
from ..wording import shown

FORMAT = 1
LARGEST = 4 << 20
"""Bytes of a snapshot; one of 3,000 packages has 200 KiB."""
MOST_MARKS = 400_000
"""Of what stands around values in JSON: as many as the schema allows. There could be a million empty lists in
4 MiB, each of which takes 20 times the memory of its three bytes."""
_MARKS = b"[{,:"
VERSIONS = ("kernel", "k3s", "containerd", "runc")
"""What a class's nodes should agree on, packages aside."""
_ARCHITECTURES = {"aarch64": "arm64", "armv7l": "armhf", "x86_64": "amd64"}
"""What dpkg calls machines that uname(2) calls otherwise; rpm calls them as that does."""
_SCHEMA = "snapshot.schema.json"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a pair that stands for one character: alone it is none, and cannot be printed or stored."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system where it is mounted; `uuid` is empty where it is not known."""

    path: str
    source: str
    uuid: str


@dataclass(frozen=True, slots=True)
class ManagedFile:
    """A file that Metis put there, as it was found.

    `state` is file, missing, other or unread. `sha256` is what it holds and `burned` what the card's record
    says that it held, both empty where that is a secret's.
    """

    state: str
    sha256: str = ""
    burned: str = ""
    mode: str = ""
    owner: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one node said at one time. What it did not say is empty, or None where empty would mean something.

    `versions` has those of VERSIONS that are known. Of `packages` those of the node's own architecture go by
    their names alone, also where there are others beside them. What begins with `card` and `burned` is of the
    records on the card: the class that it was made for, the image's id and when it was burned.
    """

    id: str
    node: str
    at: datetime
    hostname: str
    machine_id_hash: str
    arch: str
    board: str
    os_name: str
    memory: int
    uptime: int | None
    versions: Mapping[str, str]
    packages: Mapping[str, str] | None
    mounts: tuple[Mount, ...] | None
    longhorn_disks: Mapping[str, str]
    addresses: tuple[str, ...] | None
    files: Mapping[str, ManagedFile] | None
    card_class: str
    card_sha256: str
    burned_image: str
    burned_at: str
    failed_units: tuple[str, ...]
    gaps: tuple[str, ...]
    raw: Mapping[str, Any]
    """All that it said, for whoever looks at one node; empty where only a summary is made."""

    def package(self, name: str) -> str | None:
        """The version of a package by its name, or by NAME:ARCH as dpkg(1) takes it; None for none."""
        return (self.packages or {}).get(name.removesuffix(f":{_native(self.arch)}"))


def parse(data: bytes, *, whole: bool = False) -> Snapshot:
    """A snapshot from its JSON; with `whole`, with all that it said beside.

    Raises MetisError, which does not name the file, for what is none or of another format.
    """
    if len(data) > LARGEST:
        raise MetisError(f"is larger than {LARGEST >> 20} MiB")
    if sum(map(data.count, _MARKS)) > MOST_MARKS:
        raise MetisError("is no snapshot: it has too many values")
    try:
        value = json.loads(data.decode("utf-8-sig"))  # loads() itself would let halves of pairs through
        if _HALF.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise MetisError("is no JSON, or not all of it") from None
    return from_data(value, whole=whole)


def from_data(value: object, *, whole: bool = False) -> Snapshot:
    """A snapshot from plain data; raises MetisError as `parse` does."""
    found = value.get("format") if isinstance(value, dict) else None
    if type(found) is int and found > FORMAT:
        raise MetisError(f"is of format {shown(found)[:20]}, and this Metis reads {FORMAT}: upgrade Metis")
    try:
        error = next(iter(_schema().iter_errors(value)), None)
    except ValueError:  # deeper than the validator goes
        raise MetisError("is no snapshot: too deep") from None
    if error is not None or not isinstance(value, dict):
        where = "".join(f"[{str(step)[:60]!r}]" for step in error.instance_path) if error else ""
        raise MetisError(f"is no snapshot{f': {where} is not what the schema says' if where else ''}")
    try:
        at = datetime.fromisoformat(value["at"])
    except ValueError:
        raise MetisError("is no snapshot: ['at'] is no time") from None
    return _snapshot(value, at.astimezone(UTC), whole=whole)


@cache
def _schema() -> jsonschema_rs.Draft202012Validator:
    text = files("metis_sentinel").joinpath(_SCHEMA).read_text("utf-8")
    return jsonschema_rs.Draft202012Validator(json.loads(text))


def _snapshot(value: Mapping[str, Any], at: datetime, *, whole: bool) -> Snapshot:
    versions = {**value.get("versions", {}), **({"kernel": value["kernel"]} if "kernel" in value else {})}
    mounts, addresses = value.get("mounts"), value.get("addresses")
    card, burn = value.get("card", {}), value.get("burn", {})
    return Snapshot(
        id=value["id"],
        node=value["node"],
        at=at,
        hostname=value.get("hostname", ""),
        machine_id_hash=value.get("machine_id_hash", ""),
        arch=value.get("arch", ""),
        board=value.get("board", ""),
        os_name=value.get("os", {}).get("name", ""),
        memory=int(value.get("memory", 0)),
        uptime=int(value["boot"]["uptime"]) if "boot" in value else None,
        versions=MappingProxyType({name: _shared(text) for name, text in versions.items()}),
        packages=_packages(value["packages"], value.get("arch", "")) if "packages" in value else None,
        mounts=None if mounts is None else tuple(map(_mount, mounts)),
        longhorn_disks={disk["path"]: disk["uuid"] for disk in value.get("longhorn_disks", ())},
        addresses=None if addresses is None else tuple(item["address"] for item in addresses),
        files=_files(value["files"]) if "files" in value else None,
        card_class=card.get("class", ""),
        card_sha256=card.get("sha256", ""),
        burned_image=burn.get("image", ""),
        burned_at=burn.get("at", ""),
        failed_units=tuple(value.get("failed_units", ())),
        gaps=tuple(value.get("gaps", ())),
        raw=value if whole else {},
    )


def _mount(item: Mapping[str, Any]) -> Mount:
    return Mount(item["path"], item["source"], item.get("uuid", ""))


def _files(items: Mapping[str, Mapping[str, str]]) -> Mapping[str, ManagedFile]:
    return {_shared(path): ManagedFile(**item) for path, item in items.items()}


def _packages(items: Mapping[str, str], arch: str) -> Mapping[str, str]:
    own = f":{_native(arch)}"
    return {_shared(name.removesuffix(own)): _shared(text) for name, text in items.items()}


def _native(arch: str) -> str:
    """What packages call a machine."""
    return _ARCHITECTURES.get(arch, arch)


def _shared(text: str) -> str:
    """The same text kept once: the nodes of a class say the same thousands of names and versions."""
    return sys.intern(text)
