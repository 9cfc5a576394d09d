"""What the graph must know of each file before anything is resolved, remembered between runs.

Of a node that is its class, its overlays, and the name and address that it claims; of a class what it
extends and its overlays. A file that did not change (size, times, inode) is not read again, so that a graph
of a thousand nodes is listed without parsing YAML.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import durable
from ..errors import MetisError
from .read import Inventory, check_name, read_bounded

FORMAT = 1

Facts = dict[str, dict[str, dict[str, Any]]]
"""What one file says: {"nodes": {name: …}, "classes": {name: …}}."""


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """A class: the files that it is made from, and its overlays with those of its parents."""

    files: tuple[Path, ...]
    overlays: tuple[str, ...]
    abstract: bool


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node: its class, the files that it is made from, all its overlays, and who claims the same."""

    klass: str | None
    files: tuple[Path, ...]
    overlays: tuple[str, ...]
    conflicts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """All nodes and classes of an inventory by name."""

    nodes: Mapping[str, NodeFacts]
    classes: Mapping[str, ClassFacts]


def build(inventory: Inventory, cache: Path, *, remember: bool = True) -> Index:
    """The index of an inventory; `cache` is the file that remembers what was read, written if `remember`.

    A file that cannot be read leaves its node or class in the index without anything known of it: the task
    that needs it says what is wrong. Raises InventoryError for a single-file inventory that cannot be read,
    since then not even the names are known.
    """
    facts = _all_facts(inventory, cache, remember=remember)
    for name, about in (*facts["nodes"].items(), *facts["classes"].items()):
        check_name(name, about["file"])
    classes = {name: _class_facts(inventory, name, facts["classes"]) for name in sorted(facts["classes"])}
    conflicts = _conflicts({name: about["claims"] for name, about in facts["nodes"].items()})
    nodes = {
        name: _node_facts(inventory, name, facts["nodes"][name], classes, conflicts.get(name, ()))
        for name in sorted(facts["nodes"])
    }
    return Index(nodes, classes)


# ------------------------------------------------------------------------------------------ reading


def _all_facts(inventory: Inventory, cache: Path, *, remember: bool) -> Facts:
    known = _remembered(cache)
    current: dict[str, Any] = {}
    merged: Facts = {"nodes": {}, "classes": {}}
    for kind in ("classes", "nodes"):
        for name, file in inventory.files(kind).items():
            stamp = _stamp(file)
            entry = known.get(str(file))
            if entry is None or entry["stamp"] != stamp:
                entry = {"stamp": stamp, "facts": _facts_of(inventory, kind, name, file)}
            if not entry["facts"].pop("unreadable", None):
                current[str(file)] = entry
            merged[kind].update(entry["facts"][kind])
    if remember and current != known:
        durable.write(cache, json.dumps({"format": FORMAT, "files": current}).encode())
    return merged


def _remembered(cache: Path) -> dict[str, Any]:
    try:
        content = json.loads(cache.read_bytes())
        return dict(content["files"]) if content["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _stamp(file: Path) -> list[int]:
    about = os.stat(file)  # noqa: PTH116 - a thousand of these at each start
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _facts_of(inventory: Inventory, kind: str, name: str, file: Path) -> Facts:
    from .document import parse

    shown = inventory.shown(file)
    try:
        data = parse(read_bounded(file), shown).data
    except MetisError:
        if inventory.single:
            raise
        unknown = _node("", {}, shown) if kind == "nodes" else _class({}, shown)
        return {kind: {name: unknown}, "unreadable": {}}
    if not inventory.single:
        return {kind: {name: _node(name, data, shown) if kind == "nodes" else _class(data, shown)}}
    return {
        "nodes": {key: _node(key, value, shown) for key, value in _mapping(data.get("nodes")).items()},
        "classes": {key: _class(value, shown) for key, value in _mapping(data.get("classes")).items()},
    }


# ------------------------------------------------------- facts of one document, which may be invalid


def _node(name: str, value: object, file: str) -> dict[str, Any]:
    from .validate import claims

    data = _mapping(value)
    return {
        "file": file,
        "class": _text(data.get("class")),
        "overlays": _overlays(data),
        "claims": list(claims(data, name)) if name else [],
    }


def _class(value: object, file: str) -> dict[str, Any]:
    data = _mapping(value)
    return {
        "file": file,
        "extends": _text(data.get("extends")),
        "abstract": data.get("abstract") is True,
        "overlays": _overlays(data),
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _overlays(data: Mapping[str, Any]) -> list[str]:
    found = (_text(data.get(f"{side}_overlay")) for side in ("boot", "root"))
    return [folder for folder in found if folder is not None]


# ------------------------------------------------------------------------------------- putting together


def _chain(name: str, classes: Mapping[str, dict[str, Any]]) -> list[str]:
    """A class and what it extends, as far as it can be followed; what is broken is said when resolving."""
    chain: list[str] = []
    following: str | None = name
    while following is not None and following in classes and following not in chain:
        chain.append(following)
        following = classes[following]["extends"]
    return chain


def _class_facts(inventory: Inventory, name: str, classes: Mapping[str, dict[str, Any]]) -> ClassFacts:
    chain = _chain(name, classes)
    files = dict.fromkeys(inventory.file("classes", item) for item in chain)
    overlays = dict.fromkeys(folder for item in chain for folder in classes[item]["overlays"])
    return ClassFacts(tuple(files), tuple(overlays), classes[name]["abstract"])


def _node_facts(
    inventory: Inventory,
    name: str,
    about: Mapping[str, Any],
    classes: Mapping[str, ClassFacts],
    conflicts: tuple[str, ...],
) -> NodeFacts:
    klass = classes.get(about["class"] or "")
    files = [inventory.file("nodes", name), *(klass.files if klass else ())]
    if inventory.cluster_file.is_file():
        files.append(inventory.cluster_file)
    overlays = [*(klass.overlays if klass else ()), *about["overlays"]]
    return NodeFacts(
        about["class"] if klass else None,
        tuple(dict.fromkeys(files)),
        tuple(dict.fromkeys(overlays)),
        conflicts,
    )


def _conflicts(claims: Mapping[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
    from .validate import duplicates

    return duplicates(claims)
