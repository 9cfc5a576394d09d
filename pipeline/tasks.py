"""The composition root: picks the adapters and gives the graph (dodo.py) and the command line their actions.

An action of the graph fails with one line, never with a traceback; whatever failed is kept, so that the
command line can turn it into its exit code.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Concatenate, ParamSpec

from doit.exceptions import TaskFailed

from . import build, durable, plan, receipts
from .artifacts import Artifacts
from .build import BaseManifest, Tools, base_made_from, image_made_from
from .card.file import burn as burn_to_file
from .compose import CACHED, Composer, check_image, live_listing
from .errors import (
    InventoryError,
    MetisError,
    MismatchError,
    Problem,
    RefusedError,
    RottenError,
    UsageError,
)
from .golden import fetch
from .inject.tree import Injector
from .inventory import overlay
from .inventory.index import Index
from .inventory.index import build as build_index
from .inventory.overlay import Found
from .inventory.read import Inventory
from .inventory.resolve import size_in_bytes
from .manifest import digest, from_data, to_data
from .model import Blob, Manifest
from .plan import Plan
from .progress import Reporter, reporter
from .settings import Settings, image_variable
from .store import Store, stamp

DEFAULT_SIZE_LIMIT = "256G"
P = ParamSpec("P")


def action(
    method: Callable[Concatenate[Lab, P], None],
) -> Callable[Concatenate[Lab, P], TaskFailed | None]:
    """Make a method an action of the graph: alone in the artifacts' folder, its errors of one line."""

    def run(self: Lab, /, *args: P.args, **kwargs: P.kwargs) -> TaskFailed | None:
        try:
            self.hold_artifacts()
            method(self, *args, **kwargs)
        except MetisError as error:
            self.failures.append(error)
            return TaskFailed(str(error))
        return None

    return functools.update_wrapper(run, method)


class Lab:
    """One inventory with its artifacts, and everything that can be done with them."""

    def __init__(self, settings: Settings, *, remembers: bool = True) -> None:
        self.settings = settings
        self.reporter: Reporter = reporter()
        self._remembers = remembers
        self.artifacts = Artifacts(settings.artifacts)
        self.store = Store(settings.cache, self.reporter)
        self.failures: list[MetisError] = []
        self._held = ExitStack()
        self._holding = threading.Lock()
        self._is_held = False
        self._checked: dict[Path, bool] = {}

    @classmethod
    def from_environment(cls, *, remembers: bool = True) -> Lab:
        """The lab that the environment names; relative paths count from the current folder.

        One that does not remember leaves no file behind by looking at the inventory.
        """
        return cls(Settings.from_environment(os.environ, Path.cwd()), remembers=remembers)

    # ------------------------------------------------------------------------------- what is there

    @cached_property
    def inventory(self) -> Inventory:
        """The declared state."""
        return Inventory(self.settings.inventory)

    @cached_property
    def index(self) -> Index:
        """What the graph knows of the inventory without resolving it."""
        cache = self.artifacts.index(self.settings.inventory_key)
        return build_index(self.inventory, cache, remember=self._remembers)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """All nodes."""
        return tuple(self.index.nodes)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All classes that have an image."""
        return tuple(name for name, about in self.index.classes.items() if not about.abstract)

    @cached_property
    def overlays(self) -> tuple[str, ...]:
        """The folders of all overlays, relative to the inventory."""
        folders = [folder for about in self.index.classes.values() for folder in about.overlays]
        folders += [folder for about in self.index.nodes.values() for folder in about.overlays]
        return tuple(dict.fromkeys(folders))

    @cached_property
    def composer(self) -> Composer:
        """Resolves and renders from what the graph has listed."""
        return Composer(self.inventory, self.settings.override, self._listed)

    @cached_property
    def live_composer(self) -> Composer:
        """Resolves and renders from the folders themselves, without the graph."""
        return Composer(self.inventory, self.settings.override, live_listing(self.inventory))

    # ------------------------------------------------------------------- what the graph asks: edges

    def inputs(self, folders: tuple[str, ...], files: tuple[Path, ...]) -> list[Path]:
        """The files that something is resolved from: its YAML, its overlays' listings and exceptions."""
        modes = (self.inventory.modes_file(folder) for folder in folders)
        listings = (self.artifacts.overlay(folder) for folder in folders)
        return [*files, *listings, *dict.fromkeys(file for file in modes if file.is_file())]

    def class_inputs(self, name: str) -> list[Path]:
        """What a class is resolved from."""
        about = self.index.classes[name]
        return self.inputs(about.overlays, about.files)

    def node_inputs(self, name: str) -> list[Path]:
        """What a node is resolved from."""
        about = self.index.nodes[name]
        return self.inputs(about.overlays, about.files)

    def base_of(self, node: str) -> list[str]:
        """The task that makes a node's base; none where the class is not known, which its manifest says."""
        klass = self.index.nodes[node].klass
        return [f"base:{klass}"] if klass else []

    # ---------------------------------------------------------------- what the graph asks: freshness

    @cached_property
    def code_unchanged(self) -> Unchanged:
        """Whether what resolves and renders is what it was; an upgrade renders everything once more."""
        digest = code_digest()
        return Unchanged("code", lambda: digest)

    def image_choice_unchanged(self, name: str) -> Unchanged:
        """Whether the environment names the same golden for a class as it did."""
        override = self.settings.override(name)
        return Unchanged("override", lambda: [override.source, override.sha256] if override else [])

    def overlay_unchanged(self, folder: str) -> Unchanged:
        """Whether nothing in an overlay's folder looks different."""
        return Unchanged("folder", lambda: overlay.signature(self.inventory.root / folder))

    def written_by_us(self, *files: Path) -> Unchanged:
        """Whether files are what the task left; another inventory may have nodes of the same names."""
        return Unchanged("files", lambda: [list(stamp(file).values()) for file in files])

    def base_is_whole(self, klass: str) -> Callable[[], bool]:
        """Whether a base is there as its receipt says."""
        return lambda: self._is_whole(self.artifacts.base(klass))

    def image_is_current(self, node: str) -> Callable[[], bool]:
        """Whether an image is there as its receipt says, made from the manifest and base that there are."""

        def check() -> bool:
            base = self._base_receipt(self.index.nodes[node].klass or "")
            if base is None or not self.artifacts.manifest(node).is_file():
                return False
            manifest_id = str(_read_json(self.artifacts.manifest(node))["id"])
            return self._is_there(self.artifacts.image(node), image_made_from(manifest_id, base.id))

        return check

    def no_conflict(self, node: str) -> Callable[[], bool]:
        """Whether no other node claims the same name or address."""
        return lambda: not self.index.nodes[node].conflicts

    # -------------------------------------------------------------------------------------- actions

    @action
    def list_overlay(self, folder: str) -> None:
        """List an overlay's files with their hashes."""
        found = overlay.listing(overlay.folder_of(self.inventory.root, folder), folder)
        data = [overlay.found_data(item) for item in found]
        durable.write_if_changed(self.artifacts.overlay(folder), durable.as_json(data))

    @action
    def resolve_class(self, name: str) -> None:
        """Resolve a class into the source of its golden and the manifest of its base."""
        klass = self.composer.klass(name)
        image = check_image(klass, image_variable(name))
        source = {
            "source": image.source,
            "sha256": image.sha256,
            "arch": klass.arch,
            "recipe": fetch.recipe(image.source, inventory=self.inventory.root, arch=klass.arch),
        }
        wanted = self.composer.base_manifest(name)
        durable.write_if_changed(self.artifacts.golden_source(name), durable.as_json(source))
        durable.write_if_changed(self.artifacts.base_manifest(name), durable.as_json(wanted.to_data()))

    @action
    def fetch_golden(self, name: str) -> None:
        """Bring a class's golden into the cache and verify it."""
        found = self._golden(name)
        durable.write_if_changed(
            self.artifacts.golden_receipt(name), durable.as_json({"sha256": found.sha256})
        )

    @action
    def make_base(self, name: str) -> None:
        """Unpack a class's golden, make room in it, lay the class's files over it."""
        wanted = BaseManifest.from_data(_read_json(self.artifacts.base_manifest(name)))
        target = self.artifacts.base(name)
        self._checked.pop(target, None)
        for item in self.composer.klass(name).files:
            self._fetch(item.source, item.sha256, self.composer.klass(name).arch)
        golden = self._golden(name)
        if self._is_there(target, base_made_from(golden.sha256, wanted)):
            return
        try:
            build.make_base(golden, wanted, target, self.tools)
        except RottenError as error:
            self.reporter.note(f"{error}; fetching it again")
            self.store.remove(golden.sha256)
            build.make_base(self._golden(name), wanted, target, self.tools)

    @action
    def render_manifest(self, name: str) -> None:
        """Resolve and render a node into its manifest."""
        self._refuse_conflicts(name)
        data = to_data(self.composer.manifest(name))
        durable.write_if_changed(self.artifacts.manifest(name), durable.as_json(data))

    @action
    def make_image(self, name: str) -> None:
        """Copy the base and put the node's manifest into the copy."""
        manifest = self.manifest(name)
        base, target = self.artifacts.base(self.index.nodes[name].klass or ""), self.artifacts.image(name)
        receipt = receipts.read(base)
        if receipt is None or not self._is_there(target, image_made_from(manifest.id, receipt.id)):
            build.make_image(manifest, base, target, self.tools)

    @action
    def burn(self, node: str, device: str, yes: bool) -> None:
        """Write an image to a card, read it back and compare; leave a receipt among the artifacts."""
        if not node or not device:
            raise UsageError("nothing is burned", "say `doit burn --node NODE --device FILE --yes`")
        if node not in self.index.nodes:
            raise UsageError(f"no node {node}", "see `metis plan`")
        if not self.plan(node).keeps_image:
            raise MetisError(f"the image of {node} is not up to date", f"run `doit image:{node}` first")
        card = Path(device)
        if card.exists() and not yes:
            raise RefusedError(f"{card} exists and would be overwritten", "say --yes if that is meant")
        image = self.artifacts.image(node)
        started = datetime.now(UTC)
        burn_to_file(image, receipts.block_map(image), card, self.reporter)
        about = {"node": node, "card": str(card.absolute()), "at": started.isoformat(timespec="seconds")}
        receipt = durable.as_json({**about, **self.describe(image), "verdict": "read back and the same"})
        durable.write(self.artifacts.burn(node, f"{started:%Y%m%dT%H%M%SZ}"), receipt)

    # ------------------------------------------------------------------- for the command line alone

    def plan(self, name: str) -> Plan:
        """What a build of a node would do; nothing is changed by asking."""
        node = self.live_composer.node(name)
        self._refuse_conflicts(name)
        image = check_image(node.klass, image_variable(node.klass.name))
        wanted = self.live_composer.base_manifest(node.klass.name)
        manifest = self.live_composer.manifest(name)
        recipe = fetch.recipe(image.source, inventory=self.inventory.root, arch=node.klass.arch)
        sha256 = image.sha256 or (self.store.recall(recipe) if recipe else None)
        base, target = self.artifacts.base(node.klass.name), self.artifacts.image(name)
        made_from = base_made_from(sha256 or "", wanted)
        found = plan.Found(
            golden_sha256=sha256,
            golden_is_cached=sha256 is not None and self.store.path(sha256).is_file(),
            base_is_current=receipts.is_current(base, made_from),
            image_is_current=receipts.is_current(target, image_made_from(manifest.id, digest(made_from))),
        )
        override = self.settings.override(node.klass.name)
        source = f"{image.source} (by {override.variable})" if override else image.source
        return plan.make(node, source, wanted.manifest, manifest, found, str(target))

    def manifest(self, name: str) -> Manifest:
        """What was put into a node's image."""
        return from_data(_read_json(self.artifacts.manifest(name)))

    def export(self, name: str, output: Path) -> Path:
        """Put a copy of a node's image, its block map and its receipt elsewhere; gives the copy."""
        image = self.artifacts.image(name)
        target = (output / image.name if output.is_dir() else output).absolute()
        if target != image:
            receipts.export(image, target, self.reporter)
        return target

    def describe(self, image: Path) -> dict[str, Any]:
        """What the receipt beside an image says, for machines."""
        receipt = receipts.read(image)
        return {"image": str(image), **(asdict(receipt) if receipt else {})}

    # ------------------------------------------------------------------------------------ adapters

    @cached_property
    def tools(self) -> Tools:
        """What the heavy steps work with."""
        limit = self.inventory.cluster().data.get("card", {}).get("max_size", DEFAULT_SIZE_LIMIT)
        return Tools(self._injector(), self.open_blob, self.reporter, size_in_bytes(limit))

    def _injector(self) -> Injector:
        def guestfs() -> Injector:
            from .inject.appliance import Appliance
            from .inject.guestfs import GuestfsInjector

            return GuestfsInjector(Appliance(user_cache() / "appliance.json", self.reporter))

        def loop() -> Injector:
            from .inject.loop import LoopInjector

            return LoopInjector()

        return {"guestfs": guestfs, "loop": loop}[self.settings.injector]()

    def open_blob(self, blob: Blob) -> BinaryIO:
        """The bytes of a blob, if they are still those that its hash names."""
        if blob.source.startswith(CACHED):
            path = self.store.find(blob.sha256)
            if path is None:
                raise MetisError(f"{blob.sha256[:12]} is not in the cache any more", "run again")
            return path.open("rb")
        descriptor = os.open(self.inventory.root / blob.source, os.O_RDONLY | os.O_NOFOLLOW)
        content = os.fdopen(descriptor, "rb")
        if hashlib.file_digest(content, "sha256").hexdigest() != blob.sha256:
            content.close()
            raise MismatchError(f"{blob.source} changed while it was used", "run again")
        content.seek(0, io.SEEK_SET)
        return content

    def hold_artifacts(self) -> None:
        """Keep other processes from changing the artifacts until this one ends."""
        with self._holding:
            if not self._is_held:
                self._held.enter_context(durable.locked(self.artifacts.lock, self._refuse))
                self._is_held = True

    # --------------------------------------------------------------------------------------- inside

    def _refuse(self, holder: str) -> None:
        raise MetisError(
            f"{holder} is building in {self.artifacts.root}", "wait until it is done, then run again"
        )

    def _refuse_conflicts(self, name: str) -> None:
        about = self.index.nodes[name]
        if about.conflicts:
            file = self.inventory.shown(about.files[0])
            raise InventoryError([Problem(file, 0, "", conflict) for conflict in about.conflicts])

    def _listed(self, folder: str) -> tuple[Found, ...]:
        return tuple(Found(**item) for item in _read_json(self.artifacts.overlay(folder)))

    def _golden(self, name: str) -> fetch.Fetched:
        source = _read_json(self.artifacts.golden_source(name))
        return self._fetch(source["source"], source["sha256"], source["arch"])

    def _fetch(self, source: str, sha256: str | None, arch: str) -> fetch.Fetched:
        return fetch.golden(
            source,
            sha256,
            inventory=self.inventory.root,
            store=self.store,
            reporter=self.reporter,
            offline=self.settings.offline,
            arch=arch,
        )

    def _is_there(self, image: Path, made_from: Mapping[str, Any]) -> bool:
        """Whether an image is just what would be made: doit's state may be younger than the artifacts."""
        receipt = receipts.read(image)
        return (
            receipt is not None
            and receipt.id == digest(made_from)
            and receipts.is_whole(image, deep=self.settings.deep, reporter=self.reporter)
        )

    def _is_whole(self, image: Path) -> bool:
        """Checked once in a run: with many nodes of a class, its base is asked for many times."""
        if image not in self._checked:
            self._checked[image] = receipts.is_whole(image, deep=self.settings.deep, reporter=self.reporter)
        return self._checked[image]

    def _base_receipt(self, klass: str) -> receipts.Receipt | None:
        return receipts.read(self.artifacts.base(klass))


class Unchanged:
    """A check for doit: whether a value is what it was when the task last ended well."""

    def __init__(self, name: str, value: Callable[[], Any]) -> None:
        self._name = name
        self._value = value

    def configure_task(self, task: Any) -> None:  # noqa: ANN401 - doit has no types
        """Called by doit: have the value saved with the task's success."""
        task.value_savers.append(lambda: {self._name: self._value()})

    def __call__(self, task: object, values: Mapping[str, Any]) -> bool:  # the names are doit's
        """Called by doit: compare with what was saved."""
        try:
            return bool(values.get(self._name) == self._value())
        except OSError:
            return False


def code_digest() -> str:
    """The hash of the source of this package."""
    state = hashlib.sha256()
    folder = Path(__file__).parent
    for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.json")]):
        state.update(file.read_bytes())
    return state.hexdigest()


def user_cache() -> Path:
    """Where what is known of this machine is kept (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "metis"


def _read_json(file: Path) -> Any:  # noqa: ANN401 - the callers know the shape, they wrote it
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        raise MetisError(f"{file} cannot be read", "remove it and run again") from None
