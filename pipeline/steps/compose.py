"""From the declared files to resolved nodes and manifests.

This is where the order of layers is: rendered concerns, then hooks, the node's record of itself, the class
chain's overlays, the class's fetched files, and the node's overlay. A later layer wins where it says that it
replaces; a hook does where a class or the node says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from ..errors import InventoryError, Problem
from ..hooks import Hooks
from ..inventory import overlay
from ..inventory.document import Document
from ..inventory.overlay import Listed
from ..inventory.read import Inventory
from ..inventory.resolve import GoldenOverride, class_of, resolve_class, resolve_node
from ..manifest import Contribution, collect
from ..model import Entry, Layer, Manifest, Overlay, RemoteFile, ResolvedClass, ResolvedNode
from ..render import k3s, k3s_state, k3s_units, record
from ..render.concerns import CONCERNS, checked
from .ids import BaseManifest

Listing = Callable[[str], tuple[Listed, ...]]
"""Gives what is in an overlay's folder."""


class Composer:
    """Resolves and renders what an inventory declares; keeps classes. Safe to use from threads."""

    def __init__(
        self,
        inventory: Inventory,
        override: Callable[[str], GoldenOverride | None],
        listing: Listing,
    ) -> None:
        self._inventory = inventory
        self._override = override
        self._listing = listing
        self._hooks = Hooks(inventory.root)
        self._classes: dict[str, ResolvedClass] = {}
        self._lock = threading.Lock()

    def klass(self, name: str) -> ResolvedClass:
        """A class with all that it extends."""
        with self._lock:
            if name not in self._classes:
                self._classes[name] = resolve_class(name, self._document, self._override(name))
            return self._classes[name]

    def node(self, name: str) -> ResolvedNode:
        """A node with its class and its cluster; raises InventoryError for whatever is wrong with it."""
        document = self._inventory.get("nodes", name)
        if document is None:
            why = "no such node: `metis status` lists them"
            raise InventoryError([Problem(f"nodes/{name}.yaml", 0, "", why)])
        klass = self.klass(class_of(document, self._document))
        return checked(resolve_node(name, document, klass, self._inventory.cluster()))

    def fetched(self, name: str) -> tuple[RemoteFile, ...]:
        """What must be in the cache before a node's manifest can be applied."""
        return k3s_state.fetched(self.node(name))

    def base_manifest(self, name: str) -> BaseManifest:
        """What a class's base is made of, beside its golden."""
        klass = self.klass(name)
        manifest = collect(f"class {name}", self._of_class(klass))
        return BaseManifest(manifest, klass.golden.headroom if klass.golden else 0, klass.labels)

    def manifest(self, name: str) -> Manifest:
        """Everything that is done to a node's base to make its image."""
        return self.rendered(self.node(name))

    def rendered(self, node: ResolvedNode) -> Manifest:
        """The same of a node that is resolved already."""
        concerns = [Contribution(name, concern.render(node)) for name, concern in CONCERNS.items()]
        hooks = self._of_hooks(node)
        layers = [*self._of_class(node.klass, in_base=True), *self._of_layer(node.layer)]
        _refuse_beside_k3s(node, [*hooks, *layers])
        winning: dict[tuple[str, str], Entry] = {
            (entry.side, entry.path): entry for part in (*concerns, *hooks, *layers) for entry in part.entries
        }
        about = Contribution("record", record.render(node, winning.values()))
        return collect(node.name, [*concerns, *hooks, about, *layers])

    def _of_hooks(self, node: ResolvedNode) -> Sequence[Contribution]:
        declared = (*node.klass.layers, node.layer)
        replaces = frozenset[str]().union(*(layer.replaces for layer in declared))
        return [
            Contribution(f"hook {name}", self._hooks.render(name, node), replaces, node.layer.file)
            for name in node.settings.get("hooks", ())
        ]

    def _document(self, name: str) -> Document | None:
        return self._inventory.get("classes", name)

    def _of_class(self, klass: ResolvedClass, *, in_base: bool = False) -> Sequence[Contribution]:
        """The layers of a class; with `in_base`, as what a node's image has from its base already."""
        parts = [part for layer in klass.layers for part in self._of_layer(layer, in_base=in_base)]
        last = klass.layers[-1]
        fetched = tuple(item.entry for item in klass.files)
        return [*parts, Contribution(f"files of {last.name}", fetched, last.replaces, last.file, in_base)]

    def _of_layer(self, layer: Layer, *, in_base: bool = False) -> Sequence[Contribution]:
        return [
            Contribution(layer.name, self._of_overlay(item), layer.replaces, layer.file, in_base)
            for item in layer.overlays
        ]

    def _of_overlay(self, item: Overlay) -> tuple[Entry, ...]:
        return overlay.entries(item, self._listing(item.folder), self._inventory.modes(item.folder))


def _refuse_beside_k3s(node: ResolvedNode, parts: Iterable[Contribution]) -> None:
    """Raise where something could lead a server past the guard that keeps it from founding a cluster."""
    role = k3s.role_of(node)
    text = (
        "decides how a server's k3s starts: leave it out, and set k3s of the node, its class or cluster.yaml"
    )
    problems = [
        Problem(part.file or node.layer.file, 0, entry.path, text)
        for part in parts
        for entry in part.entries
        if k3s_units.is_protected(role, entry.path)
    ]
    if problems:
        raise InventoryError(problems)


def live_listing(inventory: Inventory) -> Listing:
    """Looks into the overlays' folders themselves, each once."""
    known: dict[str, tuple[Listed, ...]] = {}

    def listing(folder: str) -> tuple[Listed, ...]:
        if folder not in known:
            known[folder] = overlay.listing(overlay.folder_of(inventory.root, folder), folder)
        return known[folder]

    return listing
