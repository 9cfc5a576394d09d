"""The cards that are plugged in now, as `metis cards` lists them, each with a name that dies with it.

Whoever chooses a card names its `id`. Once it is pulled out, or another one is in its place, nothing has that
id any more: so no path is ever taken from a request, and no card is burned that nobody has looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ..card.cards import Card, Mount
from ..errors import MetisError
from .asking import Asking

_IDENTITY = ("path", "kind", "size", "number", "sequence", "serial")
_ID = 16


@dataclass(frozen=True, slots=True)
class Plugged:
    """A card that could be burned: what it is, and `content`, what is on it, in words for people.

    `node` is the one that it is of by its own words, empty where it is of none.
    """

    card: Card
    content: str
    node: str = ""

    @property
    def id(self) -> str:
        """What names just this card in just this place."""
        return sha256(json.dumps(list(self.identity.values())).encode()).hexdigest()[:_ID]

    @property
    def identity(self) -> dict[str, Any]:
        """What must still be so when it is burned; a job keeps it (`as_seen` reads it)."""
        return {name: getattr(self.card, name) for name in _IDENTITY}


def as_seen(identity: Mapping[str, Any]) -> Card:
    """A card as it was when somebody chose it, for `steps.choosing.seen_again`."""
    return Card(**{name: identity[name] for name in _IDENTITY})


async def plugged(asking: Asking, files: str = "") -> tuple[Plugged, ...]:
    """Ask which cards are there; `files` is a folder of plain files that stand for cards, empty for none.

    Raises MetisError where nobody can tell.
    """
    answer = await asking.answer("cards", *(["--files", files] if files else []))
    if answer.data is None:
        raise MetisError("; ".join(answer.complaints))
    return tuple(map(_plugged, answer.data))


def _plugged(item: Mapping[str, Any]) -> Plugged:
    about = {name: item[name] for name in (*_IDENTITY, "vendor", "model", "bus", "removable")}
    mounts = tuple(Mount(**each) for each in item["mounts"])
    card = Card(names=tuple(item["names"]), mounts=mounts, **about)
    return Plugged(card, str(item["content"]), str(item["node"]))
