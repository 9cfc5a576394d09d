"""What the tasks of the graph (dodo.py) depend on, when they are up to date, and what they do.

An action fails with one line, never with a traceback; whatever failed is kept, so that the command line can
turn it into its exit code.
"""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from doit.exceptions import TaskFailed

from .. import hooks, secrets
from ..artifacts import bmap_of, receipt_of
from ..errors import MetisError, RefusedError, RottenError, SeveralErrors, UsageError, known
from ..inject.tree import VERSION
from ..inventory import overlay
from ..lab.lab import Lab, read_json
from ..machine import durable, scratch
from ..manifest import digest, from_data, secrets_of, to_data
from ..steps import receipts
from ..steps.ids import BaseManifest, base_made_from, image_made_from
from .freshness import Unchanged, code_digest, look, look_if_there

# What renders, fetches and builds is imported where it is used: most runs find nothing to do.
if TYPE_CHECKING:
    from ..card.cards import Card
    from ..inject.sources import Reveal
    from ..lab.cards import LabCards
    from ..model import Manifest

P = ParamSpec("P")
R = TypeVar("R")


def action(
    method: Callable[Concatenate[Tasks, P], R], *, alone: bool = True
) -> Callable[Concatenate[Tasks, P], TaskFailed | R]:
    """Make a method an action of the graph, its errors of one line; `alone` in the artifacts' folder."""

    def run(self: Tasks, /, *args: P.args, **kwargs: P.kwargs) -> TaskFailed | R:
        try:
            if alone:
                self.hold_artifacts()
            return method(self, *args, **kwargs)
        except (MetisError, OSError) as raised:
            error = known(raised)
            self.failures.append(error)
            if self.lab.settings.debug:
                self.lab.reporter.note(traceback.format_exc())
            return TaskFailed(str(error))

    return functools.update_wrapper(run, method)


class Request:
    """What somebody asked a task for on the command line, which other tasks cannot see."""

    _task: Any

    @property
    def options(self) -> Mapping[str, Any]:
        """The task's parameters, once doit has read the command line."""
        return self._task.options or {}

    def configure_task(self, task: Any) -> None:  # noqa: ANN401 - doit has no types
        """Called by doit when it makes the task."""
        self._task = task

    def __call__(self, task: object, values: object) -> bool:
        """Called by doit: what was asked for is always done."""
        return False


class Tasks:
    """The edges, the freshness and the actions of one lab's tasks."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.artifacts = lab.artifacts
        self.failures: list[MetisError] = []
        self.reads_back = False
        """Whether an image is compared with its manifests before it takes the place of the last one."""
        self.built: set[str] = set()
        """The nodes whose images were made in this run."""
        self.burn_request = Request()
        self._held = ExitStack()
        self._holding = threading.Lock()
        self._is_held = False
        self._bases: dict[str, receipts.Receipt | None] = {}
        self._overlay_inputs: dict[str, tuple[Path, ...]] = {}
        self._looks: dict[tuple[tuple[Path, ...], tuple[str, ...]], str] = {}

    # --------------------------------------------------------------------------------------- edges

    def _inputs(self, folders: tuple[str, ...], files: tuple[Path, ...]) -> list[Path]:
        """The files that something is resolved from: its YAML, its overlays' listings and exceptions."""
        return [*files, *(file for folder in folders for file in self._inputs_of_overlay(folder))]

    def _inputs_of_overlay(self, folder: str) -> tuple[Path, ...]:
        """Looked for once: the nodes of a class share its overlays."""
        if folder not in self._overlay_inputs:
            modes = self.lab.inventory.modes_file(folder)
            listing = self.artifacts.overlay(folder)
            self._overlay_inputs[folder] = (listing, modes) if modes.is_file() else (listing,)
        return self._overlay_inputs[folder]

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
        return self._as_made((), self._declared(about.files, about.overlays), made)

    def manifest_as_rendered(self, name: str) -> Unchanged:
        """Whether what a node is resolved from, and its manifest, looks as it did; see `_as_made`."""
        about = self.lab.index.nodes[name]
        own, *shared = about.files
        inputs = self._declared(tuple(shared), about.overlays)
        return self._as_made(self.lab.index.stamps.get(own, ()), inputs, (self.artifacts.manifest(name),))

    def _as_made(self, own: Sequence[int], inputs: str, made: Sequence[Path]) -> Unchanged:
        """Whether inputs look as they did when the graph was loaded, before any was read, and code too.

        doit itself would save how they look after the task, and would not see an edit meanwhile; nor one
        that keeps a file's time of change.
        """
        return Unchanged("made", lambda: [self._code, inputs, list(own), *map(look, made)])

    def _declared(self, files: tuple[Path, ...], overlays: tuple[str, ...]) -> str:
        """How declared files look, as one word; looked at once for all nodes of a class."""
        key = (files, overlays)
        if key not in self._looks:
            modes = [self.lab.inventory.modes_file(folder) for folder in overlays]
            seen = [self.lab.index.stamps.get(file) or look_if_there(file) for file in (*files, *modes)]
            self._looks[key] = digest(seen)
        return self._looks[key]

    @cached_property
    def _code(self) -> str:
        return digest([code_digest(), hooks.state(self.lab.inventory.root)])

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
            wanted = self.artifacts.base_manifest(klass)
            if base is None or not golden.is_file() or not wanted.is_file():
                return False
            manifest = BaseManifest.from_data(read_json(wanted))
            return base.id == digest(base_made_from(read_json(golden)["sha256"], manifest))

        return check

    def image_is_current(self, node: str) -> Unchanged:
        """Whether an image is there as its receipt says, made from the manifest and base that there are.

        It is when all that was written for it looks as it did then; else its receipt is read.
        """
        image = self.artifacts.image(node)
        written = (image, bmap_of(image), receipt_of(image))

        def looks() -> list[Any]:
            base = self._whole_base(self.lab.index.nodes[node].klass or "")
            code = [VERSION, secrets.FORMS_VERSION]
            return [*code, base and base.id, self.lab.keyring.seen(node), *map(look, written)]

        def is_as_its_receipt_says() -> bool:
            base = self._whole_base(self.lab.index.nodes[node].klass or "")
            manifest = self.artifacts.manifest(node)
            return (
                base is not None
                and manifest.is_file()
                and self.lab.is_there(image, self._image_made_from(node, manifest, base))
            )

        return Unchanged("image", looks, is_as_its_receipt_says, trusts=not self.lab.settings.deep)

    def _image_made_from(self, node: str, manifest: Path, base: receipts.Receipt) -> dict[str, Any]:
        rendered = from_data(read_json(manifest))
        used = self.lab.keyring.used(node, secrets_of(rendered))
        return image_made_from(rendered.id, base.id, used)

    def no_conflict(self, node: str) -> bool:
        """Whether no other node claims the same name or address."""
        return not self.lab.index.nodes[node].conflicts

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
        source = self.lab.goldens.source(name)
        wanted = self.lab.composer.base_manifest(name)
        durable.write_if_changed(self.artifacts.golden_source(name), durable.as_json(source))
        durable.write_if_changed(self.artifacts.base_manifest(name), durable.as_json(wanted.to_data()))

    @action
    def fetch_golden(self, name: str) -> None:
        """Bring a class's golden into the cache and verify it."""
        receipt = self.lab.goldens.receipt(name, self.lab.goldens.fetched(name))
        durable.write_if_changed(self.artifacts.golden_receipt(name), durable.as_json(receipt))

    @action
    def make_base(self, name: str) -> None:
        """Unpack a class's golden, make room in it, lay the class's files over it."""
        from ..steps import build

        wanted = BaseManifest.from_data(read_json(self.artifacts.base_manifest(name)))
        target = self.artifacts.base(name)
        self._bases.pop(name, None)
        self.lab.goldens.fetch_files(self.lab.composer.klass(name).files)
        golden = self.lab.goldens.fetched(name)
        if self.lab.is_there(target, base_made_from(golden.sha256, wanted)):
            return
        try:
            build.make_base(golden, wanted, target, self.lab.tools)
        except RottenError as error:
            self.lab.reporter.note(f"{error}; fetching it again")
            self.lab.store.remove(golden.sha256)
            build.make_base(self.lab.goldens.fetched(name), wanted, target, self.lab.tools)

    @action
    def render_manifest(self, name: str) -> None:
        """Resolve and render a node into its manifest."""
        self.lab.refuse_conflicts(name)
        data = to_data(self.lab.composer.manifest(name))
        durable.write_if_changed(self.artifacts.manifest(name), durable.as_json(data))

    @action
    def make_image(self, name: str) -> None:
        """Copy the base and put the node's manifest into the copy."""
        from ..steps import build

        manifest = self.lab.manifest(name)
        base, target = self.artifacts.base(self.lab.index.nodes[name].klass or ""), self.artifacts.image(name)
        receipt, revealed = receipts.read(base), self.lab.revealed(name, manifest)
        if receipt is None or not self.lab.is_there(
            target, image_made_from(manifest.id, receipt.id, revealed.used)
        ):
            self.lab.goldens.fetch_files(self.lab.composer.fetched(name))
            check = partial(self._read_back, manifest, revealed.reveal) if self.reads_back else None
            build.make_image(manifest, base, target, revealed, self.lab.tools, check)
            self.built.add(name)

    def _read_back(self, manifest: Manifest, reveal: Reveal, image: Path) -> None:
        """Raise where an image that was just made is not what its manifests say."""
        from ..steps import verify

        name = manifest.subject
        klass = self.lab.index.nodes[name].klass or ""
        wanted = BaseManifest.from_data(read_json(self.artifacts.base_manifest(klass)))
        verdict = verify.read_back(image, wanted, manifest, reveal, self.lab.tools)
        if verdict.error:
            first = (verdict.differences or verdict.not_compared)[0]
            raise type(verdict.error)(
                f"what was built for {name} is not what the inventory says: {first.path} ({first.what})",
                "run again, and see what changes it if that ends the same",
            )

    @partial(action, alone=False)
    def image_to_burn(self) -> dict[str, list[str]]:
        """The task that a burn waits for, as doit takes it from a calc_dep.

        Raises what can be said against the burn before its image is looked at or built.
        """
        asked = self.burn_request.options
        if not asked["node"] or not asked["device"]:
            raise UsageError("nothing is burned", "say `doit burn --node NODE --device DEVICE --yes`")
        self._cards_to_burn(0)
        return {"task_dep": [f"image:{asked['node']}"]}

    @partial(action, alone=False)
    def burn(self) -> None:
        """Write an image to cards, read it back and compare; leave receipts among the artifacts."""
        from ..steps.burn import to_cards
        from ..steps.burnable import opened

        asked, lab = self.burn_request.options, self.lab
        node = asked["node"]
        with opened(self.artifacts.image(node), lab.reporter, deep=lab.settings.deep) as image:
            chosen = self._cards_to_burn(image.map.size)
            reports = to_cards(image, chosen, self._cards.tools(node, asked["delta"]))
        for report in reports:
            lab.reporter.note(report.to_text(node))
        self._cards.keep(node, reports)
        errors = [report.error for report in reports if report.error]
        if errors:
            raise SeveralErrors(errors)

    # --------------------------------------------------------------------------------------- inside

    def hold_artifacts(self) -> None:
        """Keep other processes from changing the artifacts until this one ends."""
        with self._holding:
            if not self._is_held:
                self._held.enter_context(durable.locked(self.artifacts.lock, self._refuse))
                self._is_held = True
                self._sweep()

    @cached_property
    def _cards(self) -> LabCards:
        from ..lab.cards import LabCards

        return LabCards(self.lab)

    def _cards_to_burn(self, image_size: int) -> list[Card]:
        """The cards that were asked for, if none is refused; the image's size is 0 while nobody knows it."""
        from ..steps.choosing import judged

        asked = self.burn_request.options
        rules = self._cards.rules(asked["node"], allow_fixed=asked["allow_fixed"])
        found = judged(self._cards.platform, asked["device"], image_size, rules)
        if not asked["yes"] and any(card.size for card in found):
            named = ", ".join(asked["device"])
            raise RefusedError(f"{named} would be overwritten", "say --yes if that is meant")
        return found

    def let_go(self) -> None:
        """Let other processes change the artifacts again."""
        with self._holding:
            self._held.close()
            self._is_held = False

    def _sweep(self) -> None:
        """Remove what a build that was cut off has left; what others still work in says so."""
        scratch.sweep(self.artifacts.root, self.lab.settings.cache)

    def _refuse(self, holder: str) -> None:
        raise MetisError(
            f"{holder} is building in {self.artifacts.root}", "wait until it is done, then run again"
        )

    def _whole_base(self, klass: str) -> receipts.Receipt | None:
        """The receipt of a base that is whole; looked at once in a run, since many nodes ask for it."""
        if klass not in self._bases:
            base = self.artifacts.base(klass)
            receipt = receipts.read(base)
            self._bases[klass] = receipt if receipt and self.lab.is_whole(base, receipt) else None
        return self._bases[klass]
