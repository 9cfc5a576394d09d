"""A burn from end to end, to one card or to several side by side.

What is burned says `burnable`, which cards these are `choosing`, which bytes each must hold `card.burn_plan`,
and how they get there `card.engine`. Here each card is opened, written and compared, and what came of it is
told.
"""

from __future__ import annotations

import platform as system
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..card import burn_plan
from ..card.cards import Card, size_in_words
from ..card.engine import Written, cleared_on_failure, write_card
from ..card.medium import Medium
from ..card.platform import Platform
from ..card.table import Patch
from ..errors import MetisError, RefusedError, known
from ..machine.progress import Advance, Reporter
from ..raw import record
from .burnable import Burnable

SAME = "read back and the same"
"""The verdict of a burn that ended well, also in its receipt (see `burned`)."""

CheckFiles = Callable[[Path], int]
"""Reads the node's files back from a card and says how many; raises MetisError where one differs."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one card: what was done, how many files were compared; `error` is why it is not one."""

    card: Card
    at: str
    done: Written = field(default_factory=Written)
    files: int | None = None
    error: MetisError | None = None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON; numbers are bytes and seconds."""
        verdict = str(self.error) if self.error else SAME
        about = {"card": asdict(self.card), "at": self.at, "files": self.files, "verdict": verdict}
        return {**about, **asdict(self.done)}

    def to_text(self, subject: str) -> str:
        """One line of result."""
        if self.error:
            return f"{subject}: {self.card.path} is no card of it: {self.error}"
        done = self.done
        parts = [f"{size_in_words(done.written)} written"]
        if done.skipped:
            parts.append(f"{size_in_words(done.skipped)} were there already")
        parts.append(SAME)
        if done.rewritten:
            parts.append(f"{done.rewritten} places only at a second try: take another card next time")
        if self.files is not None:
            parts.append(f"{self.files} files compared")
        took = sum(done.seconds.values())
        return f"{subject}: {self.card.path}: {', '.join(parts)} ({took:.0f} s); insert and power on"


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
            report = replace(report, done=_written(what, report, medium, tools.reporter, delta=compares))
            # While nobody else may have the card: some desktops mount whatever they see.
            with cleared_on_failure(medium):
                return _checked(report, tools)
    except (MetisError, OSError) as raised:
        return replace(report, error=known(raised))


def _written(what: Burnable, report: Report, medium: Medium, reporter: Reporter, *, delta: bool) -> Written:
    return write_card(
        what.image,
        burn_plan.make(what.map, medium.size, what.image.read),
        medium,
        name=report.card.path,
        reporter=reporter,
        delta=delta,
        record=_record(what, report),
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
    seconds = {**report.done.seconds, "comparing files": time.monotonic() - started}
    return replace(report, files=files, done=replace(report.done, seconds=seconds))


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
