"""What the tasks of the graph (dodo.py) depend on, and when they have nothing to do.

The mechanism by which doit asks is in `freshness`; what a task does, in `tasks`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..inject.tree import VERSION
from ..inventory import overlay
from ..inventory.index import ClassFacts, NodeFacts
from ..lab.lab import Lab, read_json
from ..lab.looks import Looks, look, look_if_there
from ..manifest import secrets_of
from ..manifest_json import digest
from ..secrets import forms_version
from ..steps import receipts
from ..steps.artifacts import bmap_of, receipt_of
from ..steps.ids import base_made_from, image_made_from
from .freshness import Unchanged


class Checks:
    """The inputs and the freshness of one lab's tasks."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.artifacts = lab.artifacts
        self._bases: dict[str, receipts.Receipt | None] = {}
        self._overlay_inputs: dict[str, tuple[Path, ...]] = {}
        self._looks = Looks(lab)

    # --------------------------------------------------------------------------------------- inputs

    def class_inputs(self, name: str) -> list[Path]:
        """What a class is resolved from."""
        return self._inputs(self.lab.index.classes[name])

    def node_inputs(self, name: str) -> list[Path]:
        """What a node is resolved from."""
        return self._inputs(self.lab.index.nodes[name])

    def _inputs(self, about: ClassFacts | NodeFacts) -> list[Path]:
        """The files that something is resolved from: its YAML, its overlays' listings and exceptions."""
        of_overlays = (file for folder in about.overlays for file in self._inputs_of_overlay(folder))
        return [*about.files, *of_overlays]

    def _inputs_of_overlay(self, folder: str) -> tuple[Path, ...]:
        """Looked for once: the nodes of a class share its overlays."""
        if folder not in self._overlay_inputs:
            modes = self.lab.inventory.modes_file(folder)
            listing = self.artifacts.overlay(folder)
            self._overlay_inputs[folder] = (listing, modes) if modes.is_file() else (listing,)
        return self._overlay_inputs[folder]

    def base_of(self, node: str) -> list[str]:
        """The task that makes a node's base; none where the class is not known, which its manifest says."""
        klass = self.lab.class_of(node)
        return [f"base:{klass}"] if klass else []

    # ------------------------------------------------------------------------------------ freshness

    def image_choice_unchanged(self, name: str) -> Unchanged:
        """Whether the environment names the same golden for a class as it did."""
        override = self.lab.settings.override(name)
        # The address may hold a token, and the hash alone decides.
        return Unchanged("override", lambda: override.sha256 if override else "")

    def overlay_unchanged(self, folder: str) -> Unchanged:
        """Whether nothing in an overlay's folder looks different, and its listing is the one we left.

        What is saved is how the folder looked before it was listed: who edits it meanwhile is seen.
        """
        signature = functools.cache(lambda: overlay.signature(self.lab.inventory.root / folder))
        listing = self.artifacts.overlay(folder)
        return Unchanged("folder", lambda: [signature(), look(listing)])

    def as_left(self, *files: Path) -> Unchanged:
        """Whether files are what the task left; another inventory may have classes of the same names."""
        return Unchanged("left", lambda: list(map(look, files)))

    def class_as_resolved(self, name: str) -> Unchanged:
        """Whether what a class is resolved from, and what was resolved, looks as it did; see `_as_made`."""
        about = self.lab.index.classes[name]
        made = (self.artifacts.golden_source(name), self.artifacts.base_manifest(name))
        return self._as_made((), self._looks.declared(about.files, about.overlays), made)

    def manifest_as_rendered(self, name: str) -> Unchanged:
        """Whether what a node is resolved from, and its manifest, looks as it did; see `_as_made`."""
        about = self.lab.index.nodes[name]
        own, *shared = about.files
        inputs = self._looks.declared(tuple(shared), about.overlays)
        return self._as_made(self.lab.index.stamps.get(own, ()), inputs, (self.artifacts.manifest(name),))

    def _as_made(self, own: Sequence[int], inputs: str, made: Sequence[Path]) -> Unchanged:
        """Whether inputs look as they did when the graph was loaded, before any was read, and code too.

        doit itself would save how they look after the task, and would not see an edit meanwhile; nor one
        that keeps a file's time of change.
        """
        return Unchanged("made", lambda: [self._looks.code, inputs, list(own), *map(look, made)])

    def keyring_as_it_was(self, name: str) -> Unchanged:
        """Whether the keys that a golden may be signed by are those that it was judged by."""
        source = self.artifacts.golden_source(name)

        def looks() -> list[int]:
            signature = read_json(source).get("signature")
            return look_if_there(Path(signature["keyring"])) if signature else []

        return Unchanged("keyring", looks)

    def base_is_current(self, klass: str) -> Callable[[], bool]:
        """Whether a base is there as its receipt says, made from the golden and manifest that there are."""

        def check() -> bool:
            base, golden = self._whole_base(klass), self.artifacts.golden_receipt(klass)
            if base is None or not golden.is_file() or not self.artifacts.base_manifest(klass).is_file():
                return False
            made_from = base_made_from(read_json(golden)["sha256"], self.lab.base_manifest(klass))
            return base.id == digest(made_from)

        return check

    def image_is_current(self, node: str) -> Unchanged:
        """Whether an image is there as its receipt says, made from the manifest and base that there are.

        It is when all that was written for it looks as it did then; else its receipt is read.
        """
        image = self.artifacts.image(node)
        written = (image, bmap_of(image), receipt_of(image))

        def looks() -> list[Any]:
            base = self._whole_base(self.lab.class_of(node))
            code = [VERSION, forms_version.VERSION]
            return [*code, base and base.id, self.lab.keyring.seen(node), *map(look, written)]

        def is_as_its_receipt_says() -> bool:
            base = self._whole_base(self.lab.class_of(node))
            return (
                base is not None
                and self.artifacts.manifest(node).is_file()
                and self.lab.is_there(image, self._image_made_from(node, base))
            )

        return Unchanged("image", looks, is_as_its_receipt_says, trusts=not self.lab.settings.deep)

    def _image_made_from(self, node: str, base: receipts.Receipt) -> dict[str, Any]:
        manifest = self.lab.manifest(node)
        used = self.lab.keyring.used(node, secrets_of(manifest))
        return image_made_from(manifest.id, base.id, used)

    def no_conflict(self, node: str) -> bool:
        """Whether no other node claims the same name or address."""
        return not self.lab.index.nodes[node].conflicts

    # ---------------------------------------------------------------------------------------- bases

    def _whole_base(self, klass: str) -> receipts.Receipt | None:
        """The receipt of a base that is whole; looked at once in a run, since many nodes ask for it."""
        if klass not in self._bases:
            base = self.artifacts.base(klass)
            receipt = receipts.read(base)
            self._bases[klass] = receipt if receipt and self.lab.is_whole(base, receipt) else None
        return self._bases[klass]

    def forget_base(self, klass: str) -> None:
        """Have a base looked at again: it is about to be made."""
        self._bases.pop(klass, None)
