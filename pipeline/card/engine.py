"""Writes a card so that it holds what its plan says, or no longer boots.

Nothing boots from a card whose first MiB is zero. It is cleared before anything else is written and comes
last, its first 4 KiB after all the rest has been read back; where anything fails it is cleared again. So a
burn that was cut off at any place leaves neither the old card nor a mixture.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from ..errors import RefusedError
from ..machine.progress import Advance, Reporter
from ..raw.ranges import BLOCK
from . import verdicts
from .burn_plan import HEAD, BurnPlan, Extent, content, other_image, with_record
from .image import Image
from .medium import Medium, buffer
from .table import BACKUP, Patch

BATCH = 4 << 20
"""Bytes that are transferred at once, at most: more is no faster on any card."""
TRIES = 3
"""How often a range that differs is written again before the card is called bad."""
_THREADS = 2
_BUFFERS = 4  # one that is written, two that are read and hashed, one that waits: memory is bounded by them
_SMALLEST_FAKE = 20  # as a power of two

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Written:
    """A burn that succeeded.

    `written` counts all bytes that went to the card, zeros and rewritten ranges too; `skipped` those that
    were there already, `read_back` those that were compared. `rewritten` is how many ranges needed more than
    one try. `seconds` is by phase.
    """

    written: int
    skipped: int
    read_back: int
    rewritten: int
    seconds: Mapping[str, float]


def write_card(
    image: Image,
    plan: BurnPlan,
    medium: Medium,
    *,
    name: str,
    reporter: Reporter,
    delta: bool = False,
    record: Patch | None = None,
) -> Written:
    """Make `medium` hold what the plan says, and prove it.

    `name` is what people call the card. With `delta`, what is on it already is not written. `record` is what
    the card says of its burn; it is written once all else of the body is on the card. Raises
    MismatchError where the image is not what the plan says, where the card does not keep what is written or
    does not have the size that it reports; MetisError where it cannot be written. In all of these, and
    whatever else is raised meanwhile (progress may raise, to stop a burn), the card has no first MiB any
    more, if only it still takes zeros; unless nothing was written yet, while it was compared.
    """
    if plan.size != medium.size:
        raise RefusedError(f"{name} is of another size than the burn was planned for", "look again")
    burn = _Burn(image, medium, name, reporter)
    with verdicts.errors_in_words(name, medium):
        return burn.run(plan, delta, record)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Extents in the order of the card, each with its place in a buffer; neighbours are neighbours there."""

    places: tuple[tuple[Extent, int], ...]

    @property
    def size(self) -> int:
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


@dataclass(slots=True)
class _Burn:
    """One burn of one card: what it did so far, and its steps."""

    image: Image
    medium: Medium
    name: str
    reporter: Reporter
    written: int = 0
    skipped: int = 0
    read_back: int = 0
    rewritten: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    buffers: list[memoryview] = field(default_factory=lambda: [buffer(BATCH) for _ in range(_BUFFERS)])

    def run(self, plan: BurnPlan, delta: bool, record: Patch | None) -> Written:
        todo = self._missing(plan) if delta else plan.body
        with cleared_on_failure(self.medium):
            probe = self._clear(plan)
            self._body(plan, todo, probe)
            if record is not None:
                plan = self._record(plan, record)
            self._ends(plan)
        return Written(
            self.written, self.skipped, self.read_back, self.rewritten, MappingProxyType(self.seconds)
        )

    # ------------------------------------------------------------------------------------------ the steps

    def _missing(self, plan: BurnPlan) -> tuple[Extent, ...]:
        """The extents of the body that the card does not hold yet; what cannot be read is one of them."""
        tail = _tail(self.medium)
        lost = {each for each in plan.body if each.end > tail}  # cleared, though it is none of the tail
        with self._phase("comparing", plan.body) as advance:
            missing = set(self._differing(plan.body, advance)) | lost
        self.skipped = sum(each.size for each in plan.body if each not in missing)
        return tuple(each for each in plan.body if each in missing)

    def _clear(self, plan: BurnPlan) -> bytes:
        """Clear both ends, and see whether the card has the size that it reports; give what stands there."""
        with self._phase("clearing", ()):
            self._write_and_settle([Extent.of(0, bytes(min(HEAD, self._last[0])))])
            self._zero(_tail(self.medium), plan.size)
            return self._probe_end()

    def _body(self, plan: BurnPlan, todo: Sequence[Extent], probe: bytes) -> None:
        with self._phase("writing", todo) as advance:
            self._write(todo, advance)
            self.medium.sync()
        with self._phase("reading back", todo) as advance:
            self._settle(todo, plan.body, self._differing(todo, advance))
        # A card that wraps round has written the body over its ends, at whatever size it really has.
        start, end = self._last
        head = self._read(0, min(HEAD, start))
        if self._read(start, end) != probe or head.count(0) != len(head):
            raise verdicts.not_so_large(self.name, plan.size)

    def _record(self, plan: BurnPlan, patch: Patch) -> BurnPlan:
        """Write the record and read it again; what it changes in the ends comes with these."""
        plan, changed = with_record(plan, patch, self.image.read)
        body = set(plan.body)
        pieces = [self._around(each, patch) for each in changed if each in body]
        with self._phase("recording", pieces) as advance:
            self._write_and_settle(pieces, advance)
        return plan

    def _ends(self, plan: BurnPlan) -> None:
        """Write both ends; the first 4 KiB when all else was read back."""
        with self._phase("finishing", (*plan.tail, *plan.head)) as advance:
            first, others = self._cut(plan.head)
            self._zero(*self._last)
            self._write_and_settle((*plan.tail, *others), advance)
            self._write_and_settle(first, advance)

    # ------------------------------------------------------------------------------------------ the places

    @property
    def _last(self) -> tuple[int, int]:
        """The block that is written and read to see whether the card ends where it says."""
        start = max(0, self.medium.size - BLOCK) // self.medium.alignment * self.medium.alignment
        return start, self.medium.size

    def _cut(self, head: Sequence[Extent]) -> tuple[list[Extent], list[Extent]]:
        """What is in the first 4 KiB, and what of the head is behind."""
        first, others = [], []
        for each in head:
            if each.end <= BLOCK:
                first.append(each)
            elif each.start >= BLOCK:
                others.append(each)
            else:
                data = content(each, self.image.read)
                at = BLOCK - each.start
                first.append(Extent.of(each.start, data[:at]))
                others.append(Extent.of(BLOCK, data[at:]))
        return first, others

    def _around(self, each: Extent, patch: Patch) -> Extent:
        """The part of an extent that a patch changes, widened to what can be transferred."""
        grain = max(BLOCK, self.medium.alignment)
        start = max(each.start, patch.start // grain * grain)
        end = min(each.end, -(-patch.end // grain) * grain)
        return Extent.of(start, content(each, self.image.read)[start - each.start : end - each.start])

    # --------------------------------------------------------------------------------- writing and reading

    def _write_and_settle(self, extents: Sequence[Extent], advance: Advance = lambda _: None) -> None:
        self._write(extents, advance)
        self.medium.sync()
        self._settle(extents, (), self._differing(extents))

    def _settle(self, extents: Sequence[Extent], neighbours: Sequence[Extent], bad: Sequence[Extent]) -> None:
        """Write what is bad of the extents again until it is right.

        Raises MismatchError where it does not become so. What was written again may have gone over something
        that had been right, on a card that mixes up its addresses: then all is read once more; where they are
        given, the `neighbours` are all of it.
        """
        if not bad:
            return
        self.rewritten += len(bad)
        for _ in range(TRIES):
            self._write(bad)
            self.medium.sync()
            bad = self._differing(bad)
            if not bad:
                break
        everything = neighbours or extents
        bad = bad or self._differing(everything)
        if bad:
            raise verdicts.bad_card(self.name, bad, everything, self.medium.size)

    def _write(self, extents: Iterable[Extent], advance: Advance = lambda _: None) -> None:
        """Write extents in their order, while two threads read and hash what comes next."""
        with closing(_ahead(self._load, extents, self.buffers)) as loaded:
            for batch, data, _ in loaded:
                for offset, start, end in batch.runs:
                    self._put(offset, data[start:end])
                advance(batch.size)

    def _differing(self, extents: Sequence[Extent], advance: Advance = lambda _: None) -> list[Extent]:
        """Which of the extents the medium does not hold, or cannot read."""
        result: list[Extent] = []
        with closing(_ahead(self._compare, extents, self.buffers)) as compared:
            for batch, _, different in compared:
                result.extend(different)
                self.read_back += batch.size
                advance(batch.size)
        return result

    def _load(self, batch: _Batch, into: memoryview) -> None:
        for each, place in batch.places:
            piece = into[place : place + each.size]
            if each.data is not None:
                piece[:] = each.data
                continue
            self.image.read_into(each.start, piece)
            if hashlib.sha256(piece).hexdigest() != each.sha256:
                raise other_image(each.start)

    def _compare(self, batch: _Batch, into: memoryview) -> list[Extent]:
        try:
            for offset, start, end in batch.runs:
                self.medium.read(offset, into[start:end])
        except OSError:
            return [each for each, place in batch.places if not self._is_there(each, into[place:])]
        return [each for each, place in batch.places if not _holds(each, into[place : place + each.size])]

    def _is_there(self, each: Extent, into: memoryview) -> bool:
        """As `_compare`, one by one, where some of a batch cannot be read."""
        try:
            self.medium.read(each.start, into[: each.size])
        except OSError:
            return False
        return _holds(each, into[: each.size])

    def _probe_end(self) -> bytes:
        """Write a block that nobody can guess where the card must end, and look where it went."""
        start, end = self._last
        for _ in range(1 + TRIES):
            block = os.urandom(end - start)
            data = buffer(len(block))
            data[:] = block
            self._put(start, data)
            self.medium.sync()
            if self._read(start, end) == block:
                break
        else:
            raise verdicts.not_so_large(self.name, self.medium.size)
        for power in range(_SMALLEST_FAKE, start.bit_length()):
            place = start % (1 << power)
            # A place that cannot be read says nothing here; if it is needed, the read-back finds it.
            with suppress(OSError):
                if place != start and self._read(place, place + len(block)) == block:
                    raise verdicts.not_so_large(self.name, self.medium.size, 1 << power)
        return block

    def _read(self, start: int, end: int) -> bytes:
        into = buffer(end - start)
        for _ in range(TRIES):
            with suppress(OSError):
                self.medium.read(start, into)
                return bytes(into)
        self.medium.read(start, into)
        return bytes(into)

    def _zero(self, start: int, end: int) -> None:
        if start < end:
            self._put(start, buffer(end - start))

    def _put(self, offset: int, data: memoryview) -> None:
        self.medium.write(offset, data)
        self.written += len(data)

    @contextmanager
    def _phase(self, what: str, extents: Sequence[Extent]) -> Iterator[Advance]:
        begun = time.monotonic()
        total = sum(each.size for each in extents) or None
        with self.reporter.step(f"{self.name}: {what}", total) as advance:
            yield advance
        self.seconds[what] = time.monotonic() - begun


@contextmanager
def cleared_on_failure(medium: Medium) -> Iterator[None]:
    """Whatever is raised meanwhile, nothing boots from the card: both of its ends are cleared, as far as it
    still takes that; the first 4 KiB matter most."""
    try:
        yield
    except BaseException:
        first, head = min(BLOCK, medium.size), min(HEAD, medium.size)
        for start, end in ((0, first), (first, head), (_tail(medium), medium.size)):
            with suppress(OSError):
                if start < end:
                    medium.write(start, buffer(end - start))
        with suppress(OSError):
            medium.sync()
        raise


def _tail(medium: Medium) -> int:
    """Where what is cleared at the end begins."""
    return max(0, (medium.size - BACKUP) // medium.alignment * medium.alignment)


def _holds(each: Extent, data: memoryview) -> bool:
    return hashlib.sha256(data).hexdigest() == each.sha256


def _batches(extents: Iterable[Extent]) -> Iterator[_Batch]:
    """Extents together as far as a buffer goes; only neighbours share a page of it (O_DIRECT)."""
    places: list[tuple[Extent, int]] = []
    filled, end = 0, -1
    for each in extents:
        at = filled if each.start == end else -(-filled // BLOCK) * BLOCK
        if at + each.size > BATCH and places:
            yield _Batch(tuple(places))
            places, at = [], 0
        places.append((each, at))
        filled, end = at + each.size, each.end
    if places:
        yield _Batch(tuple(places))


def _ahead(
    work: Callable[[_Batch, memoryview], _T], extents: Iterable[Extent], buffers: Sequence[memoryview]
) -> Generator[tuple[_Batch, memoryview, _T], None, None]:
    """Do some work on all batches, each with one of the buffers, in two threads; give the results in order.

    A buffer is used again when the next result is asked for. Whoever leaves early closes the generator: what
    was begun is waited for, so that no thread is left behind.
    """
    free = list(buffers)
    waiting: deque[tuple[_Batch, memoryview, Future[_T]]] = deque()
    batches = _batches(extents)
    pool = ThreadPoolExecutor(_THREADS)
    try:
        while True:
            while free and (batch := next(batches, None)) is not None:
                into = free.pop()
                waiting.append((batch, into, pool.submit(work, batch, into)))
            if not waiting:
                return
            batch, into, future = waiting.popleft()
            yield batch, into, future.result()
            free.append(into)
    finally:
        pool.shutdown(cancel_futures=True)
