"""What the tasks of the graph (dodo.py) depend on, when they are up to date, and what they do.

An action fails with one line, never with a traceback; whatever failed is kept, so that the command line can
turn it into its exit code.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from doit.exceptions import TaskFailed

from . import build, durable, receipts
from .build import BaseManifest, base_made_from, image_made_from
from .card.file import burn as burn_to_file
from .compose import check_image
from .errors import MetisError, RefusedError, RottenError, UsageError, from_os
from .golden import fetch
from .inventory import overlay
from .lab import Lab, read_json
from .manifest import to_data
from .settings import image_variable
from .store import stamp

P = ParamSpec("P")


def action(
    method: Callable[Concatenate[Tasks, P], None],
) -> Callable[Concatenate[Tasks, P], TaskFailed | None]:
    """Make a method an action of the graph: alone in the artifacts' folder, its errors of one line."""

    def run(self: Tasks, /, *args: P.args, **kwargs: P.kwargs) -> TaskFailed | None:
        try:
            self.hold_artifacts()
            method(self, *args, **kwargs)
        except (MetisError, OSError) as raised:
            error = from_os(raised) if isinstance(raised, OSError) else raised
            self.failures.append(error)
            if self.lab.settings.debug:
                self.lab.reporter.note(traceback.format_exc())
            return TaskFailed(str(error))
        return None

    return functools.update_wrapper(run, method)


class Tasks:
    """The edges, the freshness and the actions of one lab's tasks."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.artifacts = lab.artifacts
        self.failures: list[MetisError] = []
        self._held = ExitStack()
        self._holding = threading.Lock()
        self._is_held = False
        self._checked: dict[Path, bool] = {}

    # --------------------------------------------------------------------------------------- edges

    def _inputs(self, folders: tuple[str, ...], files: tuple[Path, ...]) -> list[Path]:
        """The files that something is resolved from: its YAML, its overlays' listings and exceptions."""
        modes = (self.lab.inventory.modes_file(folder) for folder in folders)
        listings = (self.artifacts.overlay(folder) for folder in folders)
        return [*files, *listings, *dict.fromkeys(file for file in modes if file.is_file())]

    def class_inputs(self, name: str) -> list[Path]:
        """What a class is resolved from."""
        about = self.lab.index.classes[name]
        return self._inputs(about.overlays, about.files)

    def node_inputs(self, name: str) -> list[Path]:
        """What a node is resolved from."""
        about = self.lab.index.nodes[name]
        return self._inputs(about.overlays, about.files)

    def base_of(self, node: str) -> list[str]:
        """The task that makes a node's base; none where the class is not known, which its manifest says."""
        klass = self.lab.index.nodes[node].klass
        return [f"base:{klass}"] if klass else []

    # ------------------------------------------------------------------------------------ freshness

    @cached_property
    def code_unchanged(self) -> Unchanged:
        """Whether what resolves and renders is what it was; an upgrade renders everything once more."""
        digest = code_digest()
        return Unchanged("code", lambda: digest)

    def image_choice_unchanged(self, name: str) -> Unchanged:
        """Whether the environment names the same golden for a class as it did."""
        override = self.lab.settings.override(name)
        return Unchanged("override", lambda: [override.source, override.sha256] if override else [])

    def overlay_unchanged(self, folder: str) -> Unchanged:
        """Whether nothing in an overlay's folder looks different."""
        return Unchanged("folder", lambda: overlay.signature(self.lab.inventory.root / folder))

    def written_by_us(self, *files: Path) -> Unchanged:
        """Whether files are what the task left; another inventory may have nodes of the same names."""
        return Unchanged("files", lambda: [list(stamp(file).values()) for file in files])

    def base_is_whole(self, klass: str) -> Callable[[], bool]:
        """Whether a base is there as its receipt says."""
        return lambda: self._is_whole(self.artifacts.base(klass))

    def image_is_current(self, node: str) -> Callable[[], bool]:
        """Whether an image is there as its receipt says, made from the manifest and base that there are."""

        def check() -> bool:
            base = receipts.read(self.artifacts.base(self.lab.index.nodes[node].klass or ""))
            if base is None or not self.artifacts.manifest(node).is_file():
                return False
            manifest_id = str(read_json(self.artifacts.manifest(node))["id"])
            return self.lab.is_there(self.artifacts.image(node), image_made_from(manifest_id, base.id))

        return check

    def no_conflict(self, node: str) -> Callable[[], bool]:
        """Whether no other node claims the same name or address."""
        return lambda: not self.lab.index.nodes[node].conflicts

    # -------------------------------------------------------------------------------------- actions

    @action
    def list_overlay(self, folder: str) -> None:
        """List an overlay's files with their hashes."""
        found = overlay.listing(overlay.folder_of(self.lab.inventory.root, folder), folder)
        data = [overlay.found_data(item) for item in found]
        durable.write_if_changed(self.artifacts.overlay(folder), durable.as_json(data))

    @action
    def resolve_class(self, name: str) -> None:
        """Resolve a class into the source of its golden and the manifest of its base."""
        klass = self.lab.composer.klass(name)
        image = check_image(klass, image_variable(name))
        source = {
            "source": image.source,
            "sha256": image.sha256,
            "arch": klass.arch,
            "recipe": fetch.recipe(image.source, inventory=self.lab.inventory.root, arch=klass.arch),
        }
        wanted = self.lab.composer.base_manifest(name)
        durable.write_if_changed(self.artifacts.golden_source(name), durable.as_json(source))
        durable.write_if_changed(self.artifacts.base_manifest(name), durable.as_json(wanted.to_data()))

    @action
    def fetch_golden(self, name: str) -> None:
        """Bring a class's golden into the cache and verify it."""
        found = self.lab.golden(name)
        durable.write_if_changed(
            self.artifacts.golden_receipt(name), durable.as_json({"sha256": found.sha256})
        )

    @action
    def make_base(self, name: str) -> None:
        """Unpack a class's golden, make room in it, lay the class's files over it."""
        wanted = BaseManifest.from_data(read_json(self.artifacts.base_manifest(name)))
        target = self.artifacts.base(name)
        self._checked.pop(target, None)
        for item in self.lab.composer.klass(name).files:
            self.lab.fetch(item.source, item.sha256, self.lab.composer.klass(name).arch)
        golden = self.lab.golden(name)
        if self.lab.is_there(target, base_made_from(golden.sha256, wanted)):
            return
        try:
            build.make_base(golden, wanted, target, self.lab.tools)
        except RottenError as error:
            self.lab.reporter.note(f"{error}; fetching it again")
            self.lab.store.remove(golden.sha256)
            build.make_base(self.lab.golden(name), wanted, target, self.lab.tools)

    @action
    def render_manifest(self, name: str) -> None:
        """Resolve and render a node into its manifest."""
        self.lab.refuse_conflicts(name)
        data = to_data(self.lab.composer.manifest(name))
        durable.write_if_changed(self.artifacts.manifest(name), durable.as_json(data))

    @action
    def make_image(self, name: str) -> None:
        """Copy the base and put the node's manifest into the copy."""
        manifest = self.lab.manifest(name)
        base, target = self.artifacts.base(self.lab.index.nodes[name].klass or ""), self.artifacts.image(name)
        receipt = receipts.read(base)
        if receipt is None or not self.lab.is_there(target, image_made_from(manifest.id, receipt.id)):
            build.make_image(manifest, base, target, self.lab.tools)

    @action
    def burn(self, node: str, device: str, yes: bool) -> None:
        """Write an image to a card, read it back and compare; leave a receipt among the artifacts."""
        if not node or not device:
            raise UsageError("nothing is burned", "say `doit burn --node NODE --device FILE --yes`")
        if node not in self.lab.index.nodes:
            raise UsageError(f"no node {node}", "see `metis plan`")
        if not self.lab.plan(node).keeps_image:
            raise MetisError(f"the image of {node} is not up to date", f"run `doit image:{node}` first")
        card = Path(device)
        if card.exists() and not yes:
            raise RefusedError(f"{card} exists and would be overwritten", "say --yes if that is meant")
        image = self.artifacts.image(node)
        started = datetime.now(UTC)
        burn_to_file(image, receipts.block_map(image), card, self.lab.reporter)
        about = {"node": node, "card": str(card.absolute()), "at": started.isoformat(timespec="seconds")}
        receipt = durable.as_json({**about, **self.lab.describe(image), "verdict": "read back and the same"})
        durable.write(self.artifacts.burn(node, f"{started:%Y%m%dT%H%M%SZ}"), receipt)

    # --------------------------------------------------------------------------------------- inside

    def hold_artifacts(self) -> None:
        """Keep other processes from changing the artifacts until this one ends."""
        with self._holding:
            if not self._is_held:
                self._held.enter_context(durable.locked(self.artifacts.lock, self._refuse))
                self._is_held = True

    def _refuse(self, holder: str) -> None:
        raise MetisError(
            f"{holder} is building in {self.artifacts.root}", "wait until it is done, then run again"
        )

    def _is_whole(self, image: Path) -> bool:
        """Checked once in a run: with many nodes of a class, its base is asked for many times."""
        if image not in self._checked:
            self._checked[image] = receipts.is_whole(
                image, deep=self.lab.settings.deep, reporter=self.lab.reporter
            )
        return self._checked[image]


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
