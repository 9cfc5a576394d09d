"""What the tasks of the graph (dodo.py) do; what they depend on and when they need not, is in `checks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..cache.contents import drop_as_seen
from ..cache.store import stamp
from ..errors import RefusedError, RottenError, SeveralErrors, UsageError
from ..inventory import overlay
from ..lab.history import keeping_build, keeping_failure
from ..lab.lab import Lab
from ..lab.makers import Maker, maker
from ..machine import durable
from ..machine.once import shared_property
from ..manifest import has_cached
from ..manifest_json import to_data
from ..steps import receipts
from ..steps.ids import base_made_from, image_made_from
from .actions import Actions, action, building
from .checks import Checks

# What renders, fetches and builds is imported where it is used: most runs find nothing to do.
if TYPE_CHECKING:
    from ..card.cards import Card
    from ..lab.cards import LabCards


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


class Tasks(Actions):
    """The actions of one lab's tasks."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.checks = Checks(lab)
        self.reads_back = False
        """Whether an image is compared with its manifests before it takes the place of the last one."""
        self.built: set[str] = set()
        """The nodes whose images were made in this run."""
        self.burn_request = Request()

    # -------------------------------------------------------------------------------------- actions

    @building
    def list_overlay(self, folder: str) -> None:
        """List an overlay's files with their hashes."""
        found = overlay.listing(overlay.folder_of(self.lab.inventory.root, folder), folder)
        data = list(map(asdict, found))
        durable.write_if_changed(self.artifacts.overlay(folder), durable.as_json(data))

    @building
    def resolve_class(self, name: str) -> None:
        """Resolve a class into the source of its golden and the manifest of its base."""
        source = self.lab.goldens.source(name)
        wanted = self.lab.composer.base_manifest(name)
        durable.write_if_changed(self.artifacts.golden_source(name), durable.as_json(source))
        durable.write_if_changed(self.artifacts.base_manifest(name), durable.as_json(wanted.to_data()))

    @building
    def fetch_golden(self, name: str) -> None:
        """Bring a class's golden into the cache and verify it."""
        with keeping_failure(self.lab, "golden", name):
            receipt = self.lab.goldens.receipt(name, self.lab.goldens.fetched(name))
            durable.write_if_changed(self.artifacts.golden_receipt(name), durable.as_json(receipt))

    @building
    def make_base(self, name: str) -> None:
        """Unpack a class's golden, make room in it, lay the class's files over it."""
        with keeping_failure(self.lab, "base", name):
            self._make_base(name)

    def _make_base(self, name: str) -> None:
        wanted = self.lab.base_manifest(name)
        target = self.artifacts.base(name)
        self.checks.forget_base(name)
        self.lab.goldens.fetch_files(self.lab.composer.klass(name).files)
        golden = self.lab.goldens.fetched(name)
        if self.lab.is_there(target, base_made_from(golden.sha256, wanted)):
            return
        seen = stamp(golden.path)
        try:
            self._maker.make_base(golden, wanted, target)
        except RottenError as error:
            self.lab.reporter.note(f"{error}; fetching it again")
            drop_as_seen(self.lab.store, golden.sha256, seen)
            self._maker.make_base(self.lab.goldens.fetched(name), wanted, target)

    @building
    def render_manifest(self, name: str) -> None:
        """Resolve and render a node into its manifest."""
        self.lab.refuse_conflicts(name)
        data = to_data(self.lab.composer.manifest(name))
        durable.write_if_changed(self.artifacts.manifest(name), durable.as_json(data))

    @building
    def make_image(self, name: str) -> None:
        """Copy the base and put the node's manifest into the copy."""
        with keeping_build(self.lab, name) as attempt:
            attempt.made = self._make_image(name)

    def _make_image(self, name: str) -> bool:
        """Say whether there was anything to make."""
        from ..steps.build import ImageToMake

        manifest = self.lab.manifest(name)
        base, target = self.artifacts.base(self.lab.class_of(name)), self.artifacts.image(name)
        receipt, revealed = receipts.read(base), self.lab.revealed(name, manifest)
        if receipt and self.lab.is_there(target, image_made_from(manifest.id, receipt.id, revealed.used)):
            return False
        if has_cached(manifest):
            self.lab.goldens.fetch_files(self.lab.composer.fetched(name))
        wanted = self.lab.base_manifest(self.lab.class_of(name)) if self.reads_back else None
        self._maker.make_image(ImageToMake(manifest, base, target, revealed, wanted))
        self.built.add(name)
        return True

    @action
    def image_to_burn(self) -> dict[str, list[str]]:
        """The task that a burn waits for, as doit takes it from a calc_dep.

        Raises what can be said against the burn before its image is looked at or built.
        """
        asked = self.burn_request.options
        if not asked["node"] or not asked["device"]:
            raise UsageError("nothing is burned", "say `doit burn --node NODE --device DEVICE --yes`")
        if not asked["no_preflight"]:
            from ..lab.preflight import before_burn

            before_burn(self.lab, asked["node"])
        self._cards_to_burn(0)
        return {"task_dep": [f"image:{asked['node']}"]}

    @action
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

    @shared_property
    def _maker(self) -> Maker:
        return maker(self.lab)

    @shared_property
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
