"""Extents to a card and back from it: written, read again, and written anew where they differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

from ..machine.progress import Advance
from . import verdicts
from .burn_plan import Extent, other_image
from .image import Image
from .lots import Lot, ahead, buffers
from .medium import Medium, buffer

TRIES = 3
"""How often a range that differs is written again before the card is called bad."""


@dataclass(slots=True)
class Transfer:
    """What goes from an image to a card that people call `name`, and is compared there.

    It counts in bytes what was `written` and `read_back`, and how many ranges were `rewritten`. Errors of the
    card are OSError, but in what is compared: what cannot be read differs.
    """

    image: Image
    medium: Medium
    name: str
    written: int = 0
    read_back: int = 0
    rewritten: int = 0
    _buffers: list[memoryview] = field(default_factory=buffers)

    def write(self, extents: Iterable[Extent], advance: Advance = lambda _: None) -> None:
        """Write extents in their order, while two threads read and hash what comes next.

        Raises MismatchError where the image does not have what it should.
        """
        with closing(ahead(self._load, extents, self._buffers)) as loaded:
            for lot, data, _ in loaded:
                for offset, start, end in lot.runs:
                    self.put(offset, data[start:end])
                advance(lot.size)

    def differing(self, extents: Sequence[Extent], advance: Advance = lambda _: None) -> list[Extent]:
        """Which of the extents the medium does not hold, or cannot read."""
        result: list[Extent] = []
        with closing(ahead(self._compare, extents, self._buffers)) as compared:
            for lot, _, different in compared:
                result.extend(different)
                self.read_back += lot.size
                advance(lot.size)
        return result

    def write_and_settle(self, extents: Sequence[Extent], advance: Advance = lambda _: None) -> None:
        """Write extents until the card holds them; raises as `settle` does."""
        self.write(extents, advance)
        self.medium.sync()
        self.settle(extents, (), self.differing(extents))

    def settle(self, extents: Sequence[Extent], neighbours: Sequence[Extent], bad: Sequence[Extent]) -> None:
        """Write what is bad of the extents again until it is right.

        Raises MismatchError where it does not become so. What was written again may have gone over something
        that had been right, on a card that mixes up its addresses: then all is read once more; where they are
        given, the `neighbours` are all of it.
        """
        if not bad:
            return
        self.rewritten += len(bad)
        for _ in range(TRIES):
            self.write(bad)
            self.medium.sync()
            bad = self.differing(bad)
            if not bad:
                break
        everything = neighbours or extents
        bad = bad or self.differing(everything)
        if bad:
            raise verdicts.bad_card(self.name, bad, everything, self.medium.size)

    def read(self, start: int, end: int) -> bytes:
        """What the card has from one place up to another."""
        into = buffer(end - start)
        for _ in range(TRIES):
            with suppress(OSError):
                self.medium.read(start, into)
                return bytes(into)
        self.medium.read(start, into)
        return bytes(into)

    def zero(self, start: int, end: int) -> None:
        """Write zeros, if there is anything between the two places."""
        if start < end:
            self.put(start, buffer(end - start))

    def put(self, offset: int, data: memoryview) -> None:
        """Write what is in a buffer."""
        self.medium.write(offset, data)
        self.written += len(data)

    def _load(self, lot: Lot, into: memoryview) -> None:
        for each, place in lot.places:
            piece = into[place : place + each.size]
            if each.data is not None:
                piece[:] = each.data
                continue
            self.image.read_into(each.start, piece)
            if not _holds(each, piece):
                raise other_image(each.start)

    def _compare(self, lot: Lot, into: memoryview) -> list[Extent]:
        try:
            for offset, start, end in lot.runs:
                self.medium.read(offset, into[start:end])
        except OSError:
            return [each for each, place in lot.places if not self._is_there(each, into[place:])]
        return [each for each, place in lot.places if not _holds(each, into[place : place + each.size])]

    def _is_there(self, each: Extent, into: memoryview) -> bool:
        """As `_compare`, one by one, where some of a lot cannot be read."""
        try:
            self.medium.read(each.start, into[: each.size])
        except OSError:
            return False
        return _holds(each, into[: each.size])


def _holds(each: Extent, data: memoryview) -> bool:
    return hashlib.sha256(data).hexdigest() == each.sha256
