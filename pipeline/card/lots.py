"""Extents in lots that one buffer holds, and work on several lots at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ..raw.ranges import BLOCK
from .burn_plan import Extent
from .medium import buffer

LOT = 4 << 20
"""Bytes that are transferred at once, at most: more is no faster on any card."""
_THREADS = 2
_BUFFERS = 4  # one that is written, two that are read and hashed, one that waits: memory is bounded by them

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Lot:
    """Extents in the order of the card, each with its place in a buffer; neighbours are neighbours there."""

    places: tuple[tuple[Extent, int], ...]

    @property
    def size(self) -> int:
        """How many bytes its extents have."""
        return sum(each.size for each, _ in self.places)

    @property
    def runs(self) -> Iterator[tuple[int, int, int]]:
        """What can be transferred at once: offset on the card, and start and end in the buffer."""
        start = 0
        for index, (each, place) in enumerate(self.places):
            following = self.places[index + 1 : index + 2]
            if not following or following[0][0].start != each.end:
                first, at = self.places[start]
                yield first.start, at, place + each.size
                start = index + 1


def buffers() -> list[memoryview]:
    """As many buffers as `ahead` makes use of, each for one lot."""
    return [buffer(LOT) for _ in range(_BUFFERS)]


def ahead(
    work: Callable[[Lot, memoryview], _T], extents: Iterable[Extent], into: Sequence[memoryview]
) -> Generator[tuple[Lot, memoryview, _T], None, None]:
    """Do some work on all lots, each with one of the buffers, in two threads; give the results in order.

    A buffer is used again when the next result is asked for. Whoever leaves early closes the generator: what
    was begun is waited for, so that no thread is left behind.
    """
    free = list(into)
    waiting: deque[tuple[Lot, memoryview, Future[_T]]] = deque()
    lots = _lots(extents)
    pool = ThreadPoolExecutor(_THREADS)
    try:
        while True:
            while free and (lot := next(lots, None)) is not None:
                data = free.pop()
                waiting.append((lot, data, pool.submit(work, lot, data)))
            if not waiting:
                return
            lot, data, future = waiting.popleft()
            yield lot, data, future.result()
            free.append(data)
    finally:
        pool.shutdown(cancel_futures=True)


def _lots(extents: Iterable[Extent]) -> Iterator[Lot]:
    """Extents together as far as a buffer goes; only neighbours share a block of it (O_DIRECT)."""
    places: list[tuple[Extent, int]] = []
    filled, end = 0, -1
    for each in extents:
        at = filled if each.start == end else -(-filled // BLOCK) * BLOCK
        if at + each.size > LOT and places:
            yield Lot(tuple(places))
            places, at = [], 0
        places.append((each, at))
        filled, end = at + each.size, each.end
    if places:
        yield Lot(tuple(places))
