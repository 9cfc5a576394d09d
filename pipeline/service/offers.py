"""Cards as they are offered to people: what one is, what is on it, and for which node it could be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import PurePath
from typing import Any

from ..card.cards import Card, size_in_words
from ..history.jobs import Job
from .board import Row
from .cards import Plugged

MOST_FITTING = 5
_DIGITS = 16
EMPTY = "empty"
"""What is said of a card with nothing at its start (`card.inspect`)."""
_KINDS = {"disk": "Card", "loop": "Loop device"}


@dataclass(frozen=True, slots=True)
class Offer:
    """A card in words. `id` names it as long as it is there. `node` is the one that it is of now, if we know
    that node; `burn` is the job that writes it, or is to.
    """

    id: str
    title: str
    size: str
    path: str
    name: str
    serial: str
    content: str
    node: str
    burn: Job | None


def offers(
    cards: Iterable[Plugged], unfinished: Sequence[Job], known: Mapping[str, Row], latest: Sequence[Job] = ()
) -> list[Offer]:
    """The cards, each with the first of the unfinished jobs that is to burn it.

    Of one that is empty it is said where the last of the latest jobs, the newest first, has left it half
    burned.
    """
    burns = {str(job.options.get("card")): job for job in reversed(unfinished) if job.kind == "burn"}
    return [
        Offer(
            id=each.id,
            title=_title(each.card),
            size=size_in_words(each.card.size) if each.card.size else "no size yet",
            path=each.card.path,
            name=each.card.names[0] if each.card.names else "",
            serial=each.card.serial,
            content=_half_burned(each, latest) if each.content == EMPTY else each.content,
            node=each.node if each.node in known else "",
            burn=burns.get(each.card.path),
        )
        for each in cards
    ]


def _half_burned(card: Plugged, latest: Sequence[Job]) -> str:
    """A burn clears the start of a card first and writes it last (`card.engine`), so half of one is empty."""
    burns = (job for job in latest if job.kind == "burn" and _is_same(job.options.get("seen"), card.identity))
    job = next(burns, None)
    if job is None or job.state not in {"failed", "cancelled"}:
        return EMPTY
    return f"half of {job.node}: its burn, job {job.id}, {job.state}; burn it again"


def _is_same(seen: object, identity: Mapping[str, Any]) -> bool:
    """Whether a card is the one that was seen; a file that stands for one grows as it is burned."""
    return isinstance(seen, Mapping) and {**seen, "size": identity["size"]} == identity


def _title(card: Card) -> str:
    if card.kind == "file":
        return PurePath(card.path).name
    return " ".join(filter(None, (card.vendor, card.model))) or _KINDS[card.kind]


def digest(shown: Sequence[Offer], complaint: str) -> str:
    """What is shown, in a word: a page that has just this need not be given it again."""
    return sha256(repr((shown, complaint)).encode()).hexdigest()[:_DIGITS]


def waiting(rows: Iterable[Row]) -> list[str]:
    """Nodes whose image is on no card yet, the last built first."""
    built = sorted(_not_burned(rows), reverse=True)
    return [node for _at, node in built[:MOST_FITTING]]


def _not_burned(rows: Iterable[Row]) -> Iterator[tuple[datetime, str]]:
    for row in rows:
        if row.built:
            at = datetime.fromisoformat(row.built)
            if not row.burned or datetime.fromisoformat(row.burned) < at:
                yield at, row.node
