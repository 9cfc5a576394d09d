"""Class chain and node → one resolved value, with the origin of every part.

Pure: documents come in, checked by `validate` already. Maps merge key by key; scalars and lists replace;
overlays stack (parent, class, node).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..errors import InventoryError, Problem
from ..model import (
    SIDES,
    DeclaredGolden,
    Layer,
    Origin,
    Overlay,
    RemoteFile,
    ResolvedClass,
    ResolvedNode,
    Signature,
    freeze,
)
from .document import Document
from .formats import size_in_bytes

CLASS_ONLY = frozenset({"extends", "abstract", "arch", "os", "image", "partitions", "files"})
PER_LAYER = frozenset({"class", "boot_overlay", "root_overlay", "replaces"})
DEFAULT_HEADROOM = "512M"

Classes = Callable[[str], Document | None]
"""Gives the checked document of a class, or None where there is none of that name."""


@dataclass(frozen=True, slots=True)
class GoldenOverride:
    """A golden named by the environment in place of a class's own."""

    source: str
    sha256: str
    variable: str


def class_of(node: Document, classes: Classes) -> str:
    """The name of a node's class; raises InventoryError where it is not there, or abstract."""
    name = str(node.data["class"])
    document = classes(name)
    if document is None:
        raise InventoryError([node.problem(("class",), f"no class {name!r}")])
    if document.data.get("abstract"):
        text = f"{name} is abstract: name a class that extends it"
        raise InventoryError([node.problem(("class",), text)])
    return name


def class_chain(name: str, classes: Classes) -> tuple[tuple[str, Document], ...]:
    """A class and all that it extends by name, parents first.

    Raises InventoryError for a class that is not there, or that extends itself.
    """
    chain: dict[str, Document] = {}
    wanted: str | None = name
    asker: Document | None = None
    while wanted is not None:
        document = classes(wanted)
        if wanted in chain or document is None:
            raise InventoryError([_broken_link(asker, wanted, [*chain, wanted], found=document is not None)])
        chain[wanted] = document
        asker, wanted = document, document.data.get("extends")
    return tuple(reversed(chain.items()))


def _broken_link(asker: Document | None, wanted: str, names: Sequence[str], *, found: bool) -> Problem:
    if asker is None:
        return Problem(f"classes/{wanted}.yaml", 0, "", "no such class")
    text = f"a class that extends itself: {' → '.join(names)}" if found else f"no class {wanted!r}"
    return asker.problem(("extends",), text)


def resolve_class(name: str, classes: Classes, override: GoldenOverride | None = None) -> ResolvedClass:
    """Merge a class with all that it extends; `override` takes the place of its image's source and hash."""
    chain = class_chain(name, classes)
    merged = _Merged()
    layers = []
    for each, document in chain:
        merged.lay_over(document, skip=PER_LAYER | {"extends", "abstract"})
        layers.append(_layer(f"class {each}", document))
    if override is not None:
        for key in ("source", "sha256"):
            merged.origins["image", key] = Origin(override.variable, 0)
    merged.require(("arch", "os"), chain[-1][1])
    data = merged.data
    labels = {side: part["label"] for side, part in data.get("partitions", {}).items() if "label" in part}
    return ResolvedClass(
        name=name,
        layers=tuple(layers),
        arch=data["arch"],
        os=data["os"],
        golden=_golden(data, override),
        labels=freeze(labels),
        files=tuple(_remote_file(item) for item in data.get("files", ())),
        settings=freeze({key: value for key, value in data.items() if key not in CLASS_ONLY}),
        origins=MappingProxyType(merged.origins),
    )


def resolve_node(name: str, document: Document, klass: ResolvedClass, cluster: Document) -> ResolvedNode:
    """Merge a node over its class; what only the whole can show is checked by `render.concerns`."""
    merged = _Merged(dict(klass.settings), dict(klass.origins))
    merged.lay_over(document, skip=PER_LAYER)
    return ResolvedNode(
        name=name,
        klass=klass,
        layer=_layer(f"node {name}", document),
        settings=freeze(merged.data),
        cluster=freeze(cluster.data),
        origins=MappingProxyType(merged.origins),
    )


@dataclass(slots=True)
class _Merged:
    """Values in the making, and where each came from."""

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, ...], Origin] = field(default_factory=dict)

    def lay_over(self, document: Document, skip: frozenset[str]) -> None:
        upper = {key: value for key, value in document.data.items() if key not in skip}
        self.data = self._merge(self.data, upper, (), document)

    def _merge(
        self, lower: Mapping[str, Any], upper: Mapping[str, Any], path: tuple[str, ...], document: Document
    ) -> dict[str, Any]:
        result = dict(lower)
        for key, value in upper.items():
            here = (*path, key)
            old = result.get(key)
            if isinstance(value, Mapping):
                result[key] = self._merge(old if isinstance(old, Mapping) else {}, value, here, document)
            else:
                result[key] = value
                self.origins[here] = Origin(document.file, document.line(here))
        return result

    def require(self, keys: Sequence[str], document: Document) -> None:
        problems = [
            document.problem((key,), "missing: neither this class nor one that it extends has it")
            for key in keys
            if key not in self.data
        ]
        if problems:
            raise InventoryError(problems)


def _layer(name: str, document: Document) -> Layer:
    data = document.data
    overlays = tuple(
        Overlay(name, side, data[f"{side}_overlay"]) for side in SIDES if f"{side}_overlay" in data
    )
    return Layer(name, document.file, overlays, frozenset(data.get("replaces", ())), document.line(()))


def _golden(data: Mapping[str, Any], override: GoldenOverride | None) -> DeclaredGolden | None:
    declared = data.get("image", {})
    headroom = size_in_bytes(declared.get("headroom", DEFAULT_HEADROOM))
    if override is not None:
        return DeclaredGolden(override.source, override.sha256, headroom)
    if "source" not in declared:
        return None
    signature = Signature(**declared["signature"]) if "signature" in declared else None
    if declared["source"].startswith("debian:"):
        # What is built here has no hash beforehand; what a parent declares is of the parent's image. That
        # somebody must have signed it is not dropped so lightly: see `steps.goldens.check_golden`.
        return DeclaredGolden(declared["source"], None, headroom, signature=signature)
    mirrors = tuple(declared.get("mirrors", ()))
    sha256, sums = declared.get("sha256"), declared.get("sums")
    return DeclaredGolden(declared["source"], sha256, headroom, mirrors, sums, signature)


def _remote_file(item: Mapping[str, Any]) -> RemoteFile:
    mode, mirrors = int(item.get("mode", "0644"), 8), tuple(item.get("mirrors", ()))
    return RemoteFile(item["path"], item["source"], item["sha256"], mode, mirrors)
