"""Waits for a card to be inserted. Pure, but for the looks and the pauses that it is given.

A card that is there from the start is not the one that somebody is about to insert, whatever it looks like:
it counts only after it was pulled. Readers stay while their cards change, so what is in them tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..errors import RefusedError
from .cards import Card


def wait_for_card(
    look: Callable[[], Sequence[Card]], pause: Callable[[], None], is_meant: Callable[[Card], bool]
) -> Card:
    """The first card that is inserted from now on, of those that `is_meant`.

    It is given once it looks the same in two looks in a row: its partitions, and who takes them, settle after
    it is seen. Raises RefusedError where several wait to be taken then.
    """
    old = _media(look())
    before: tuple[Card, ...] = ()
    while True:
        pause()
        found = _media(look())
        # What was pulled is new when it comes again.
        old = tuple(card for card in found if any(_is_same(card, other) for other in old))
        new = tuple(card for card in found if card not in old and is_meant(card))
        if any(card in before for card in new):
            if len(new) > 1:
                paths = ", ".join(card.path for card in new)
                raise RefusedError(f"several new cards are there: {paths}", "insert one, or name its device")
            return new[0]
        before = new


def _media(cards: Iterable[Card]) -> tuple[Card, ...]:
    return tuple(card for card in cards if card.size > 0)


def _is_same(card: Card, other: Card) -> bool:
    """Whether it is the same medium in the same place, as far as the system can tell."""
    # udev may find the serial number a moment after the kernel has found the disk.
    serials = {card.serial, other.serial} - {""}
    return (card.number, card.sequence, card.size) == (other.number, other.sequence, other.size) and (
        bool(card.sequence) or len(serials) <= 1
    )
