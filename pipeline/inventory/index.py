"""What the graph must know of each file before anything is resolved, remembered between runs.

Of a node that is its class and its overlays, of a class what it extends and its overlays, and of both what
only one node may have. A file that did not change (size, times, inode) is not read again, so that a graph
of a thousand nodes is listed without parsing YAML.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MetisError
from ..machine import durable
from ..model import SIDES
from . import renames
from .read import KINDS, Group, Inventory, check_name

if TYPE_CHECKING:
    from .document import Document

FORMAT = 4

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
    """None where there is no such class, or none that images are made of."""
    files: tuple[Path, ...]
    overlays: tuple[str, ...]
    conflicts: tuple[str, ...]
    hostname: str
    """In lower case."""


@dataclass(frozen=True, slots=True)
class Index:
    """All nodes and classes of an inventory by name."""

    nodes: Mapping[str, NodeFacts]
    classes: Mapping[str, ClassFacts]
    stamps: Mapping[Path, tuple[int, ...]]
    """How the files of nodes and classes looked before they were read: size, times and inode."""
    renamed: tuple[str, ...]
    """A line for each use of an old name of a key."""


def build(inventory: Inventory, cache: Path, *, remember: bool = True) -> Index:
    """The index of an inventory; `cache` is the file that remembers what was read, written if `remember`.

    A file that cannot be read leaves its node or class in the index without anything known of it: the task
    that needs it says what is wrong. Raises InventoryError for a single-file inventory that cannot be read,
    since then not even the names are known.
    """
    form = [FORMAT, renames.state(inventory.today)]
    known = _remembered(cache, form)
    try:
        index, current = _built(inventory, known)
    except (AttributeError, KeyError, TypeError):  # the cache holds something of another shape
        index, current = _built(inventory, {})
    if remember and current != known:
        # A full disk, or another who remembers just now, costs the next run time, and this one nothing.
        with suppress(MetisError):
            durable.write(cache, json.dumps({"format": form, "files": current}).encode())
    return index


def _built(inventory: Inventory, known: Mapping[str, Any]) -> tuple[Index, dict[str, Any]]:
    """The index, and what is worth to be remembered for the next one."""
    facts, current = _all_facts(inventory, known)
    for name, about in (*facts["nodes"].items(), *facts["classes"].items()):
        check_name(name, about["file"])
    classes = {name: _class_facts(inventory, name, facts["classes"]) for name in sorted(facts["classes"])}
    claims = {name: _claims(name, facts) for name in facts["nodes"]}
    conflicts = _conflicts(claims)
    shared = (inventory.cluster_file,) if inventory.cluster_file.is_file() else ()
    nodes = {
        name: _node_facts(
            facts["nodes"][name],
            classes,
            own=inventory.file("nodes", name),
            shared=shared,
            conflicts=conflicts.get(name, ()),
            hostname=dict(claims[name]).get("hostname", name.lower()),
        )
        for name in sorted(facts["nodes"])
    }
    stamps = {Path(file): tuple(entry["stamp"]) for file, entry in current.items()}
    renamed = tuple(line for entry in current.values() for line in entry["renamed"])
    return Index(nodes, classes, stamps, renamed), current


# ------------------------------------------------------------------------------------------ reading


def _all_facts(inventory: Inventory, known: Mapping[str, Any]) -> tuple[Facts, dict[str, Any]]:
    current: dict[str, Any] = {}
    merged: Facts = {"nodes": {}, "classes": {}}
    for group in KINDS:
        for name, file in inventory.files(group).items():
            key, stamp = str(file), _stamp(file)
            entry = current.get(key) or known.get(key)
            if not isinstance(entry, dict) or entry.get("stamp") != stamp:
                entry = {"stamp": stamp, **_said_in(inventory, group, name, file)}
            if entry["facts"] is None:  # not remembered: it is tried again the next time
                merged[group][name] = (_node if group == "nodes" else _class)(None, inventory.shown(file))
            else:
                current[key] = entry
                merged[group].update(entry["facts"][group])
    return merged, current


def _remembered(cache: Path, form: object) -> dict[str, Any]:
    try:
        content = json.loads(cache.read_bytes())
        return dict(content["files"]) if content["format"] == form else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _stamp(file: Path) -> list[int] | None:
    try:
        about = os.stat(file)  # noqa: PTH116 - a thousand of these at each start
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _said_in(inventory: Inventory, group: Group, name: str, file: Path) -> dict[str, Any]:
    """The facts of a file, None where it cannot be read, and a line for each old name in it."""
    try:
        document = inventory.parse(file, KINDS[group])
    except MetisError:
        if inventory.single:
            raise
        return {"facts": None}
    renamed = [str(document.problem(path, use.words)) for path, use in document.renamed.items()]
    return {"facts": _facts_of(inventory, group, name, document), "renamed": renamed}


def _facts_of(inventory: Inventory, group: Group, name: str, document: Document) -> Facts:
    data, shown = document.data, document.file
    if not inventory.single:
        return {group: {name: _node(data, shown) if group == "nodes" else _class(data, shown)}}
    return {
        "nodes": {key: _node(value, shown) for key, value in _mapping(data.get("nodes")).items()},
        "classes": {key: _class(value, shown) for key, value in _mapping(data.get("classes")).items()},
    }


# ------------------------------------------------------- facts of one document, which may be invalid


def _node(value: object, file: str) -> dict[str, Any]:
    data = _mapping(value)
    return {
        "file": file,
        "class": _text(data.get("class")),
        "overlays": _overlays(data),
        "claims": _own_claims(data),
    }


def _class(value: object, file: str) -> dict[str, Any]:
    data = _mapping(value)
    return {
        "file": file,
        "extends": _text(data.get("extends")),
        "abstract": data.get("abstract") is True,
        "overlays": _overlays(data),
        "claims": _own_claims(data),
    }


def _own_claims(data: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """By its place, what a document itself claims, as JSON has it."""
    from .validate import claims

    return {place: list(map(list, made)) for place, made in claims(data, "").items()}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _overlays(data: Mapping[str, Any]) -> list[str]:
    found = (_text(data.get(f"{side}_overlay")) for side in SIDES)
    return [folder for folder in found if folder is not None and _can_be_named(folder)]


def _can_be_named(folder: str) -> bool:
    """Whether a folder may become a path and a task; why it may not is said when it is resolved."""
    from .formats import relative_path

    try:
        relative_path(folder)
    except ValueError:
        return False
    return True


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
    about: Mapping[str, Any],
    classes: Mapping[str, ClassFacts],
    *,
    own: Path,
    shared: tuple[Path, ...],
    conflicts: tuple[str, ...],
    hostname: str,
) -> NodeFacts:
    klass = classes.get(about["class"] or "")
    files = (own, *(klass.files if klass else ()), *shared)
    buildable = klass is not None and not klass.abstract
    overlays = [*(klass.overlays if klass else ()), *about["overlays"]]
    return NodeFacts(
        about["class"] if buildable else None,
        tuple(dict.fromkeys(files)),
        tuple(dict.fromkeys(overlays)),
        conflicts,
        hostname,
    )


def _claims(name: str, facts: Facts) -> list[tuple[str, str]]:
    """What a node claims: its own place by place over its classes', and its name where none says another."""
    about = facts["nodes"][name]
    if about["class"] is None:
        return []
    chain = _chain(about["class"], facts["classes"])
    found = {"hostname": [["hostname", name.lower()]]}
    for claimed in (*(facts["classes"][item]["claims"] for item in reversed(chain)), about["claims"]):
        found.update(claimed)
    return [(path, value) for made in found.values() for path, value in made]


def _conflicts(claims_of: Mapping[str, list[tuple[str, str]]]) -> Mapping[str, tuple[str, ...]]:
    claimed = [claim for made in claims_of.values() for claim in made]
    if len(set(claimed)) == len(claimed):
        return {}
    from .validate import duplicates

    return duplicates(claims_of)
