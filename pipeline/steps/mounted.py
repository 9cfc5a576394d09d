"""Puts a class's and a node's files onto a card that is not written as an image, and reads them back.

The card is mounted already (`inject.directory`), or its partitions are mounted where nobody sees them
(`inject.loop`). No partition changes its place, size or id.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import MetisError, MismatchError
from ..inject.apply import apply
from ..inject.compare import compare
from ..inject.partitions import by_label_or_content
from ..inject.rehearsal import rehearsed
from ..inject.sources import Sources, no_secrets
from ..inject.tree import Trees
from ..manifest import without_image_facts
from ..model import Manifest, Reveal
from ..raw import disk
from ..raw.disk import Disk
from ..render.owned import STRAYS
from .build import Tools
from .ids import BaseManifest
from .verify import Verdict


@dataclass(frozen=True)
class Filled(Verdict):
    """What came of reading a card back that was not written as an image."""

    @property
    def error(self) -> MetisError | None:
        """What keeps the card from passing."""
        if self.differences:
            hint = "run again; where it stays so, take another card"
            return MismatchError(f"{self.image} does not hold what {self.subject} was to get", hint)
        return super().error


def apply_to(
    card: Path,
    layout: Disk,
    wanted: BaseManifest,
    manifest: Manifest,
    reveal: Reveal,
    tools: Tools,
    scratch: Path,
) -> Verdict:
    """Put the files of a node's class, and then the node's, onto a card, and compare it with both.

    `card` is the device or image that `tools.injector` opens, or the folder of a root, for messages; `layout`
    is its partition table. Where that has no partitions, files go on naming them as they did. `scratch` is a
    private folder for what never has a name there. What is there already is written again, and no different.
    Everything is first tried without being done: raises MetisError before anything is written where the card
    cannot take it or a secret is missing, and afterwards only for a medium that fails or is full.
    """
    subject = manifest.subject
    base = wanted.manifest
    if not layout.partitions:
        base, manifest = without_image_facts(base), without_image_facts(manifest)
    choose = by_label_or_content(wanted.labels)
    with (
        tools.reporter.step(f"{subject}: putting the files onto {card}"),
        tools.injector.open(card, layout, choose) as trees,
    ):
        facts = _facts(layout, trees)
        parts = [
            (base, Sources(tools.open_blob, no_secrets, facts)),
            (manifest, Sources(tools.open_blob, reveal, facts)),
        ]
        with rehearsed(trees) as tried:
            for part, sources in parts:
                apply(part, tried, sources, scratch)
        for part, sources in parts:
            for warning in apply(part, trees, sources, scratch):
                tools.reporter.note(warning)
    with (
        tools.reporter.step(f"{subject}: reading {card} back"),
        tools.injector.open(card, layout, choose, read_only=True) as trees,
    ):
        findings = compare(base, manifest, trees, Sources(tools.open_blob, reveal, facts), STRAYS)
    return Filled(subject, card, len(base.entries) + len(manifest.entries), findings)


def _facts(layout: Disk, trees: Trees) -> dict[str, str]:
    return disk.facts(layout, trees.places.root, trees.places.boot) if layout.partitions else {}
