"""A burn from end to end, to one card or to several side by side.

Which bytes a card must hold says `card.burn_plan`, and how they get there `card.engine`. Here the image is
made sure of first, then each card is opened, written and compared, and what came of it is told.
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
from .artifacts import bmap_of, lies_below
from .card import burn_plan, engine, policy, record, source
from .card.cards import Card
from .card.here import Platform
from .card.source import Image
from .card.table import Patch
from .card.waiting import wait_for_card
from .errors import MetisError, MismatchError, RefusedError, SeveralErrors, UsageError, from_os, one_line
from .progress import Advance, Reporter
from .ranges import Ranges
from .store import stamp_of

DELTAS = ("auto", "always", "never")
"""Whether a card is compared first and written only where it differs; auto does so where one was burned."""

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
        parts = [f"{policy.in_words(self.written)} written"]
        if self.skipped:
            parts.append(f"{policy.in_words(self.skipped)} were there already")
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
class Rules:
    """What an operator's choice of a card is judged by: see `card.policy`.

    `ceiling` is in bytes; cards are neither among the `artifacts` nor on the disk that these are on.
    """

    ceiling: int
    artifacts: Path
    allow_fixed: bool = False


def judged(platform: Platform, named: Sequence[str], image_size: int, rules: Rules) -> list[Card]:
    """The cards of these names; raises RefusedError with every reason against any of them.

    `image_size` is 0 where it is not known yet.
    """
    system = platform.system_mounts(rules.artifacts)
    found, errors = [], []
    for name in named:
        try:
            found.append(_judged(platform, name, image_size, rules, system))
        except MetisError as error:
            errors.append(error)
    doubles = [card.path for card in found if sum(other.path == card.path for other in found) > 1]
    if doubles:
        raise UsageError(f"{doubles[0]} is named twice", "name each card once")
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralErrors(errors)
    return found


def _judged(platform: Platform, named: str, image_size: int, rules: Rules, system: Mapping[str, str]) -> Card:
    is_device = named.startswith("\\\\")  # as Windows writes them, which is no path
    if not is_device:
        _refuse_artifact(named, named, rules)
    card = platform.card_at(named)
    _refuse_artifact(named, card.behind, rules)
    card = replace(card, openers=platform.openers(card))
    policy.refuse(card, policy.Request(named, image_size, rules.ceiling, rules.allow_fixed, system))
    return card


def _refuse_artifact(named: str, place: str, rules: Rules) -> None:
    if place and lies_below(Path(place), rules.artifacts):
        raise RefusedError(f"{named} is among the artifacts", "name a place outside of them")


def waited_for(platform: Platform, image_size: int, rules: Rules, pause: Callable[[], None]) -> Card:
    """The next card that is inserted and could be meant; the others are passed over.

    Raises RefusedError where it is in use by now: some desktops mount whatever is inserted.
    """
    system = platform.system_mounts(rules.artifacts)

    def request(card: Card) -> policy.Request:
        return policy.Request(card.path, image_size, rules.ceiling, allow_fixed=False, system=system)

    def is_meant(card: Card) -> bool:
        card = replace(card, mounts=())
        return not policy.refusals(card, request(card))

    card = wait_for_card(platform.find, pause, is_meant)
    card = replace(card, openers=platform.openers(card))
    policy.refuse(card, request(card))
    return card


@dataclass(frozen=True, slots=True)
class Listed:
    """A card for people: what it is, what is on it now, and why it would be refused."""

    card: Card
    content: str
    refusals: tuple[str, ...] = ()

    @classmethod
    def of(cls, card: Card, platform: Platform, refusals: tuple[str, ...] = ()) -> Listed:
        """A card with what can be seen on it."""
        on_card = platform.inspect(Path(card.path)) if card.size and platform.inspect else None
        return cls(card, on_card.summary if on_card else "", refusals)

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self.card), "content": self.content, "refusals": list(self.refusals)}

    def to_text(self) -> str:
        """A line for the card, and one for each reason against it."""
        card = self.card
        name = " ".join(filter(None, (card.vendor, card.model))) or card.kind
        parts = [card.path, policy.in_words(card.size), card.bus, name, card.serial, self.content]
        lines = ["  ".join(one_line(part) for part in parts if part), *card.names[:1]]
        return "\n    ".join([*lines, *(f"refused: {reason}" for reason in self.refusals)])


def listed(platform: Platform, rules: Rules, *, everything: bool) -> list[Listed]:
    """The cards that are there and could be written; with `everything` also all others, with the reasons."""
    system = platform.system_mounts(rules.artifacts)
    result = []
    for card in platform.find():
        request = policy.Request(card.path, 0, rules.ceiling, allow_fixed=False, system=system)
        refusals = policy.refusals(card, request)
        if everything or not refusals:
            result.append(Listed.of(card, platform, refusals))
    return result


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
        report = _written(what, report, tools)
        return _checked(report, tools)
    except (MetisError, OSError) as raised:
        return replace(report, error=from_os(raised) if isinstance(raised, OSError) else raised)


def _written(what: Burnable, report: Report, tools: Tools) -> Report:
    card = report.card
    if any(what.image.is_at(place) for place in (card.path, card.behind) if place):
        raise RefusedError(f"{card.path} is the image itself", "name a card")
    compares = tools.delta == "always" or (tools.delta == "auto" and _was_burned(card, tools.platform))
    with tools.platform.open(replace(card, size=card.size or what.map.size)) as medium:
        plan = burn_plan.make(what.map, medium.size, what.image.read)
        done = engine.write_card(
            what.image,
            plan,
            medium,
            name=card.path,
            reporter=tools.reporter,
            delta=compares,
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
    on_card = platform.inspect(Path(card.path)) if card.size and platform.inspect else None
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
