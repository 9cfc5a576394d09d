"""Reads an image or a card back, and says whether it is what the inventory says now. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import MetisError, MismatchError, SourceError, one_line
from ..inject.compare import LACKING, NOT_COMPARED, Finding, compare
from ..inject.partitions import by_label_or_content
from ..inject.sources import Sources
from ..model import Manifest, Reveal
from ..raw import disk
from ..render.owned import STRAYS
from ..tables import columns
from .build import Check, Tools, tried
from .ids import BaseManifest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of reading one image back: how many entries were looked at, and what there is to say."""

    subject: str
    image: Path
    entries: int
    findings: Sequence[Finding]

    @property
    def differences(self) -> Sequence[Finding]:
        """What is not as the inventory says."""
        return [finding for finding in self.findings if finding.what not in {LACKING, NOT_COMPARED}]

    @property
    def not_compared(self) -> Sequence[Finding]:
        """What nobody could tell, and why."""
        return [finding for finding in self.findings if finding.what == NOT_COMPARED]

    @property
    def lacking(self) -> Sequence[Finding]:
        """What is not there, and need not be."""
        return [finding for finding in self.findings if finding.what == LACKING]

    @property
    def error(self) -> MetisError | None:
        """What keeps the image from passing: that it differs, or that not all of it could be compared."""
        if self.differences:
            return MismatchError(
                f"{self.image} is not what the inventory says of {self.subject}",
                f"build it anew with `metis image --node {self.subject}`, or see who changed it",
            )
        if self.not_compared:
            return SourceError(
                f"{self.image} was compared with {self.subject} in part only", self.not_compared[0].found
            )
        return None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "node": self.subject,
            "image": str(self.image),
            "entries": self.entries,
            "differences": [asdict(finding) for finding in self.differences],
            "not_compared": [asdict(finding) for finding in self.not_compared],
            "lacking": [asdict(finding) for finding in self.lacking],
        }

    def to_text(self) -> str:
        """A line that sums up, and a table with a line for each finding."""
        counts = f"{self.entries} entries, differences: {len(self.differences)}"
        if self.not_compared:
            counts += f", not compared: {len(self.not_compared)}"
        if self.lacking:
            counts += f", lacking: {len(self.lacking)}"
        return "\n".join([f"{self.subject}: {self.image} ({counts})", *_table(self.findings)])


def read_back(image: Path, wanted: BaseManifest, manifest: Manifest, reveal: Reveal, tools: Tools) -> Verdict:
    """Compare an image, or the card in a block device, with its base's manifest and its own.

    Raises MetisError where it is no disk of a node: without partitions, or without a root.
    """
    compared = partial(_compared, image, wanted, manifest, reveal)
    entries = len(wanted.manifest.entries) + len(manifest.entries)
    return Verdict(manifest.subject, image, entries, tried(manifest.subject, tools, compared))


def _compared(
    image: Path, wanted: BaseManifest, manifest: Manifest, reveal: Reveal, tools: Tools
) -> Sequence[Finding]:
    layout = disk.read(image)
    with (
        tools.reporter.step(f"{manifest.subject}: reading {image} back"),
        tools.injector.open(image, layout, by_label_or_content(wanted.labels), read_only=True) as trees,
    ):
        facts = disk.facts(layout, trees.places.root, trees.places.boot)
        return compare(wanted.manifest, manifest, trees, Sources(tools.open_blob, reveal, facts), STRAYS)


def check(wanted: BaseManifest, manifest: Manifest, reveal: Reveal, tools: Tools) -> Check:
    """A check that raises where an image that was just made is not what its manifests say."""

    def read(image: Path) -> None:
        verdict = read_back(image, wanted, manifest, reveal, tools)
        if verdict.error:
            first = (verdict.differences or verdict.not_compared)[0]
            subject = manifest.subject
            raise type(verdict.error)(
                f"what was built for {subject} is not what the inventory says: {first.path} ({first.what})",
                "run again, and see what changes it if that ends the same",
            )

    return read


def _table(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    cells = [(_path(item), item.what, item.expected, item.found) for item in findings]
    # The names of files and links are the image's, which may be hostile to terminals.
    rows = [tuple(map(one_line, row)) for row in (("path", "what", "expected", "found"), *cells)]
    return [f"  {line}" for line in columns(rows)]


def _path(finding: Finding) -> str:
    return finding.path if finding.side == "root" else f"{finding.side}:{finding.path}"
