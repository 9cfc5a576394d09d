"""Which cards a burn is for: those that an operator named, the next one that is inserted, or which there are.

All are judged by the same rules (`card.policy`), and nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..card import policy
from ..card.cards import Card, changed, size_in_words
from ..card.platform import Platform
from ..card.waiting import wait_for_card
from ..errors import MetisError, RefusedError, UsageError, as_one, one_line
from ..machine.paths import lies_below

NOT_KNOWN = "not known"
"""What is on a card where nothing can read it: it may well be full."""


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
        raise as_one(errors)
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

    seen = wait_for_card(platform.find, pause, is_meant)
    card = seen_again(platform, seen)  # closer than a list does: at what is on it, for one
    card = replace(card, openers=platform.openers(card))
    policy.refuse(card, request(card))
    return card


def seen_again(platform: Platform, seen: Card) -> Card:
    """What is at a card's place now; raises RefusedError where that is another card.

    udev may find a serial number a moment after the kernel has found the disk.
    """
    card = platform.card_at(seen.path)
    same = (card.number, card.sequence, card.size) == (seen.number, seen.sequence, seen.size)
    if not same or (seen.serial and card.serial != seen.serial):
        raise changed(seen.path)
    return card


@dataclass(frozen=True, slots=True)
class Listed:
    """A card for people: what it is, what is on it now, and why it would be refused.

    `node` is the one that it is of by its own words, empty where it is of none.
    """

    card: Card
    content: str
    refusals: tuple[str, ...] = ()
    node: str = ""

    @classmethod
    def of(cls, card: Card, platform: Platform, refusals: tuple[str, ...] = ()) -> Listed:
        """A card with what can be seen on it."""
        on_card = platform.content(card)
        if on_card is None:
            return cls(card, "" if platform.knows_file_systems else NOT_KNOWN, refusals)
        return cls(card, on_card.summary, refusals, on_card.subject)

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        more = {"content": self.content, "node": self.node, "refusals": list(self.refusals)}
        return {**asdict(self.card), **more}

    def to_text(self) -> str:
        """A line for the card, and one for each reason against it."""
        card = self.card
        name = " ".join(filter(None, (card.vendor, card.model))) or card.kind
        parts = [card.path, size_in_words(card.size), card.bus, name, card.serial, self.content]
        lines = ["  ".join(one_line(part) for part in parts if part), *card.names[:1]]
        return "\n    ".join([*lines, *(f"refused: {reason}" for reason in self.refusals)])


def listed(platform: Platform, rules: Rules, *, everything: bool, files: Path | None = None) -> list[Listed]:
    """The cards that are there and could be written; with `everything` also all others, with the reasons.

    `files` is a folder whose plain files stand for cards too.
    """
    return [
        Listed.of(card, platform, refusals)
        for card, refusals in _all_judged(platform, rules, _files(platform, rules, files))
        if everything or not refusals
    ]


def _files(platform: Platform, rules: Rules, folder: Path | None) -> Iterator[Card]:
    """The plain files of a folder as cards. Raises UsageError where no card may be."""
    if folder is None:
        return
    if lies_below(folder, rules.artifacts):
        raise UsageError(f"{folder} is among the artifacts", "keep files that stand for cards elsewhere")
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.is_symlink() and not file.name.startswith("."):
            yield platform.card_at(str(file))


def candidates(platform: Platform, rules: Rules) -> list[Card]:
    """The cards that are there and could be written; nothing on them is looked at."""
    return [card for card, refusals in _all_judged(platform, rules) if not refusals]


def _all_judged(
    platform: Platform, rules: Rules, others: Iterable[Card] = ()
) -> Iterator[tuple[Card, tuple[str, ...]]]:
    """What a platform finds, and others, with what speaks against each."""
    system = platform.system_mounts(rules.artifacts)
    for card in (*platform.find(), *others):
        request = policy.Request(card.path, 0, rules.ceiling, allow_fixed=False, system=system)
        yield card, policy.refusals(card, request)
