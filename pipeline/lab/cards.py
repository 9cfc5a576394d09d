"""A lab's cards: what they are judged by, what is compared on them, and what is kept of each burn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..card.here import here
from ..errors import SourceError
from ..machine import durable
from ..settings import LARGEST_CARD
from ..steps import receipts
from ..steps.burn import Report, Tools
from ..steps.choosing import Rules, seen_again
from .history import keep_burns

if TYPE_CHECKING:
    from ..card.cards import Card
    from ..card.platform import Platform
    from ..inject.tree import Injector
    from ..raw.disk import Disk
    from ..steps.verify import Verdict
    from .lab import Lab


class LabCards:
    """What burns of a lab's nodes need, and what is left of them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @cached_property
    def platform(self) -> Platform:
        """What finds and opens cards here."""
        return here()

    def rules(self, name: str | None, *, allow_fixed: bool = False) -> Rules:
        """What the cards of a node are judged by; without a node, what holds for all.

        Raises UsageError for a node that nobody declared.
        """
        from ..inventory.formats import size_in_bytes

        if name is not None:
            self._lab.refuse_unknown(name)
        declared = [self._lab.inventory.cluster().data.get("card", {})]
        if name is not None:
            declared.append(self._lab.live_composer.node(name).settings.get("card", {}))
        limits = [each["max_size"] for each in declared if "max_size" in each]
        ceiling = size_in_bytes(limits[-1]) if limits else LARGEST_CARD
        return Rules(ceiling, self._lab.artifacts.root, allow_fixed)

    def tools(self, name: str, delta: str) -> Tools:
        """What a node's burn works with; its files are compared with the inventory afterwards."""

        from .verify import verify

        def check_files(card: Path) -> int:
            verdict = verify(self._lab, name, card)
            if isinstance(verdict.error, SourceError):
                self._lab.reporter.note(f"{name}: {verdict.error}")
            elif verdict.error:
                self._lab.reporter.note(verdict.to_text())
                raise verdict.error
            return verdict.entries - len(verdict.not_compared)

        return Tools(self.platform, self._lab.reporter, delta, check_files)

    def keep(self, name: str, reports: Sequence[Report]) -> None:
        """Leave a receipt of each burn among the artifacts, also of a failed one; the history has it too."""
        image = receipts.to_data(self._lab.artifacts.image(name))
        try:
            for report in reports:
                when = report.at.translate(str.maketrans("", "", "-:")).partition("+")[0]
                about = {"node": name, **report.to_data(), "image": image}
                self._keep_receipt(name, f"{when}Z", durable.as_json(about))
        finally:
            keep_burns(self._lab, name, reports)

    def _keep_receipt(self, name: str, when: str, about: bytes) -> None:
        """Where no receipt of a burn of the same second is: also others may burn cards side by side."""
        names = (f"{when}-{number}" if number else when for number in itertools.count())
        places = (self._lab.artifacts.burn(name, each) for each in names)
        next(place for place in places if durable.write_once(place, about))

    # ------------------------------------------------------------------------ files, and no image

    def fill_folders(self, name: str, boot: Path, root: Path) -> Verdict:
        """Put the files of a node and its class where a card is mounted, and compare them."""
        from ..inject.directory import DirectoryInjector

        injector = DirectoryInjector(root, boot)
        return self._fill(name, root, injector.disk(), injector)

    def fill_card(self, name: str, card: Card) -> Verdict:
        """The same in the file systems that are on a card; they are mounted for it where nobody sees them."""
        from ..inject.loop import LoopInjector
        from ..raw import disk

        path = Path(seen_again(self.platform, card).path)
        return self._fill(name, path, disk.read(path), LoopInjector())

    def _fill(self, name: str, card: Path, layout: Disk, injector: Injector) -> Verdict:
        from ..steps import mounted

        lab = self._lab
        lab.refuse_conflicts(name)
        node = lab.live_composer.node(name)
        wanted = lab.live_composer.base_manifest(node.klass.name)
        manifest = lab.live_composer.manifest(name)
        lab.goldens.fetch_files((*node.klass.files, *lab.live_composer.fetched(name)))
        reveal = lab.revealed(name, manifest).reveal
        tools = replace(lab.tools, injector=injector)
        scratch = durable.make_private(lab.artifacts.state)
        return mounted.apply_to(card, layout, wanted, manifest, reveal, tools, scratch)
