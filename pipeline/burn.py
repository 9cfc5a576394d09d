"""A burn from end to end, to one card or to several side by side.

Which cards these are says `choosing`, which bytes each must hold `card.burn_plan`, and how they get there
`card.engine`. Here the image is made sure of first, then each card is opened, written and compared, and what
came of it is told.
"""

from __future__ import annotations

import hashlib
import platform as system
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import bmap, receipts
from .artifacts import bmap_of, receipt_of
from .card import burn_plan, engine, record, source
from .card.cards import Card, size_in_words
from .card.here import Platform
from .card.medium import Medium
from .card.source import Image
from .card.table import Patch
from .errors import MetisError, MismatchError, RefusedError, from_os
from .progress import Advance, Reporter
from .ranges import Ranges
from .store import stamp_of

CheckFiles = Callable[[Path], int]
"""Reads the node's files back from a card and says how many; raises MetisError where one differs."""


@dataclass(frozen=True, slots=True)
class Burnable:
    """An open image, its block map with a hash for each MiB, and what is known of how it came to be.

    `subject` is the node's name, or the file's where no receipt says it; `slot` is where the record goes.
    """

    image: Image
    map: bmap.Bmap
    subject: str
    id: str = ""
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one card; `error` is why it is not one. Numbers are bytes and seconds."""

    card: Card
    at: str
    written: int = 0
    skipped: int = 0
    read_back: int = 0
    rewritten: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    files: int | None = None
    error: MetisError | None = None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(replace(self, error=None))
        del data["error"]
        return {**data, "verdict": str(self.error) if self.error else "read back and the same"}

    def to_text(self, subject: str) -> str:
        """One line of result."""
        if self.error:
            return f"{subject}: {self.card.path} is no card of it: {self.error}"
        parts = [f"{size_in_words(self.written)} written"]
        if self.skipped:
            parts.append(f"{size_in_words(self.skipped)} were there already")
        parts.append("read back and the same")
        if self.rewritten:
            parts.append(f"{self.rewritten} places only at a second try: take another card next time")
        if self.files is not None:
            parts.append(f"{self.files} files compared")
        took = sum(self.seconds.values())
        return f"{subject}: {self.card.path}: {', '.join(parts)} ({took:.0f} s); insert and power on"


@contextmanager
def opened(path: Path, reporter: Reporter, *, deep: bool = False) -> Iterator[Burnable]:
    """An image while it is burned; who builds it anew meanwhile does not disturb that.

    It is what its receipt, or a block map beside it, says: by its looks, or by its hashes where it looks
    otherwise and with `deep`; and the burn itself hashes all that it reads. Raises MismatchError where it is
    not.
    """
    with source.opened(path) as image:
        receipt = receipts.read(path)
        if receipt is None and receipt_of(path).exists():
            hint = f"build it again, or remove {receipt_of(path).name} if it is of something else"
            raise MismatchError(f"{path} has a receipt that cannot be read", hint)
        described = _map(path, image, receipt, reporter, deep=deep)
        if described.size != image.size:
            raise MismatchError(f"{path} is not as long as its block map says", "build it again")
        if receipt is None:
            yield Burnable(image, described, path.name.removesuffix(".img"))
        else:
            yield Burnable(image, described, receipt.subject, receipt.id, receipt.slot)


def _map(
    path: Path, image: Image, receipt: receipts.Receipt | None, reporter: Reporter, *, deep: bool
) -> bmap.Bmap:
    try:
        xml = bmap_of(path).read_bytes()
    except FileNotFoundError:
        if receipt is not None:
            raise MetisError(f"{path} has lost its block map", "build it again") from None
        reporter.note(f"nothing says what {path} must be: it is written as it is")
        return _unknown(path, image.size, reporter)
    if receipt is not None and hashlib.sha256(xml).hexdigest() != receipt.bmap_sha256:
        raise MismatchError(f"the block map of {path} is not what its receipt names", "build it again")
    found = bmap.parse(xml)
    if receipt is not None and not deep and stamp_of(image.status) == receipt.stamp:
        return found
    with reporter.step(f"{path.name}: checking its hashes", found.mapped) as advance:
        return bmap.refined(image.read_into, found, advance)


def _unknown(path: Path, size: int, reporter: Reporter) -> bmap.Bmap:
    """A map of an image that came without one."""
    places: Ranges = ((0, size),)
    if sys.platform != "win32":  # where the programs are missing that know file systems
        from . import mapped

        places = mapped.ranges(path)
    with reporter.step(f"{path.name}: hashing", sum(end - start for start, end in places)) as advance:
        return bmap.describe(path, places, advance)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a burn works with; `check_files` where the node's files can be compared with the inventory."""

    platform: Platform
    reporter: Reporter
    delta: str = "auto"
    check_files: CheckFiles | None = None


def to_cards(what: Burnable, cards: Sequence[Card], tools: Tools) -> list[Report]:
    """Burn an image to each of the cards, side by side; one that fails stops no other.

    Ctrl-C stops them all, and leaves none from which a half-written system boots.
    """
    stop = threading.Event()
    tools = replace(tools, reporter=_Stopping(tools.reporter, stop))
    if len(cards) == 1:
        return [_burned(what, cards[0], tools)]
    with ThreadPoolExecutor(len(cards), "burn") as pool:
        try:
            return list(pool.map(lambda card: _burned(what, card, tools), cards))
        finally:
            stop.set()


def _burned(what: Burnable, card: Card, tools: Tools) -> Report:
    report = Report(card, datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        if any(what.image.is_at(place) for place in (card.path, card.behind) if place):
            raise RefusedError(f"{card.path} is the image itself", "name a card")
        compares = tools.delta == "always" or (tools.delta == "auto" and _was_burned(card, tools.platform))
        with tools.platform.opener.open(replace(card, size=card.size or what.map.size)) as medium:
            report = _written(what, report, medium, tools.reporter, delta=compares)
            # While nobody else may have the card: some desktops mount whatever they see.
            with engine.cleared_on_failure(medium):
                return _checked(report, tools)
    except (MetisError, OSError) as raised:
        return replace(report, error=from_os(raised) if isinstance(raised, OSError) else raised)


def _written(what: Burnable, report: Report, medium: Medium, reporter: Reporter, *, delta: bool) -> Report:
    done = engine.write_card(
        what.image,
        burn_plan.make(what.map, medium.size, what.image.read),
        medium,
        name=report.card.path,
        reporter=reporter,
        delta=delta,
        record=_record(what, report),
    )
    return replace(
        report,
        written=done.written,
        skipped=done.skipped,
        read_back=done.read_back,
        rewritten=done.rewritten,
        seconds=dict(done.seconds),
    )


def _was_burned(card: Card, platform: Platform) -> bool:
    on_card = platform.content(card)
    return on_card is not None and on_card.record is not None


def _record(what: Burnable, report: Report) -> Patch | None:
    if what.slot is None:
        return None
    about = {
        "node": what.subject,
        "image": what.id,
        "at": report.at,
        "serial": report.card.serial,
        "host": system.node(),
        "by": version("metis"),
    }
    return Patch(what.slot, record.fill(about))


def _checked(report: Report, tools: Tools) -> Report:
    """Read the node's files back from the card's own file systems."""
    if tools.check_files is None:
        return report
    started = time.monotonic()
    files = tools.check_files(Path(report.card.path))
    return replace(
        report, files=files, seconds={**report.seconds, "comparing files": time.monotonic() - started}
    )


class _Stopping:
    """A reporter whose steps end, by an exception, when a burn beside them was interrupted."""

    def __init__(self, inner: Reporter, stop: threading.Event) -> None:
        self._inner = inner
        self._stop = stop

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        with self._inner.step(label, total) as advance:

            def counted(count: int) -> None:
                if self._stop.is_set():
                    raise MetisError("interrupted")
                advance(count)

            yield counted

    def note(self, line: str) -> None:
        self._inner.note(line)
