"""Writes a card so that it holds what its plan says, or no longer boots: the order of a burn's phases.

Nothing boots from a card whose first MiB is zero. It is cleared before anything else is written and comes
last, its first block after all the rest has been read back; where anything fails it is cleared again. So a
burn that was cut off at any place leaves neither the old card nor a mixture. How extents get onto the card
and are compared is the business of `transfer`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from ..errors import RefusedError
from ..machine.progress import Advance, Reporter
from ..raw.ranges import BLOCK
from . import real_size, verdicts
from .burn_plan import HEAD, BurnPlan, Extent, content, with_record
from .image import Image
from .medium import Medium, buffer
from .table import BACKUP, Patch
from .transfer import Transfer


@dataclass(frozen=True, slots=True)
class Written:
    """What a burn has done.

    `written` counts all bytes that went to the card, zeros and rewritten ranges too; `skipped` those that
    were there already, `read_back` those that were compared. `rewritten` is how many ranges needed more than
    one try. `seconds` is by phase.
    """

    written: int = 0
    skipped: int = 0
    read_back: int = 0
    rewritten: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


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
    burn = _Burn(Transfer(image, medium, name), reporter)
    with verdicts.errors_in_words(name, medium):
        return burn.run(plan, delta, record)


@dataclass(slots=True)
class _Burn:
    """One burn of one card, phase by phase."""

    transfer: Transfer
    reporter: Reporter
    skipped: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, plan: BurnPlan, delta: bool, record: Patch | None) -> Written:
        todo = self._missing(plan) if delta else plan.body
        with cleared_on_failure(self.transfer.medium):
            probe = self._clear(plan)
            self._body(plan, todo, probe)
            if record is not None:
                plan = self._record(plan, record)
            self._ends(plan)
        moved = self.transfer
        return Written(moved.written, self.skipped, moved.read_back, moved.rewritten, self.seconds)

    # ----------------------------------------------------------------------------------------- the phases

    def _missing(self, plan: BurnPlan) -> tuple[Extent, ...]:
        """The extents of the body that the card does not hold yet; what cannot be read is one of them."""
        tail = _tail(self.transfer.medium)
        lost = {each for each in plan.body if each.end > tail}  # cleared, though it is none of the tail
        with self._phase("comparing", plan.body) as advance:
            missing = set(self.transfer.differing(plan.body, advance)) | lost
        self.skipped = sum(each.size for each in plan.body if each not in missing)
        return tuple(each for each in plan.body if each in missing)

    def _clear(self, plan: BurnPlan) -> bytes:
        """Clear both ends, and see whether the card has the size that it reports; give what stands there."""
        with self._phase("clearing", ()):
            start, _ = real_size.last_block(self.transfer.medium)
            self.transfer.write_and_settle([Extent.of(0, bytes(min(HEAD, start)))])
            self.transfer.zero(_tail(self.transfer.medium), plan.size)
            return real_size.probed(self.transfer)

    def _body(self, plan: BurnPlan, todo: Sequence[Extent], probe: bytes) -> None:
        with self._phase("writing", todo) as advance:
            self.transfer.write(todo, advance)
            self.transfer.medium.sync()
        with self._phase("reading back", todo) as advance:
            self.transfer.settle(todo, plan.body, self.transfer.differing(todo, advance))
        real_size.check_ends(self.transfer, probe)

    def _record(self, plan: BurnPlan, patch: Patch) -> BurnPlan:
        """Write the record and read it again; what it changes in the ends comes with these."""
        plan, changed = with_record(plan, patch, self.transfer.image.read)
        body = set(plan.body)
        pieces = [self._around(each, patch) for each in changed if each in body]
        with self._phase("recording", pieces) as advance:
            self.transfer.write_and_settle(pieces, advance)
        return plan

    def _ends(self, plan: BurnPlan) -> None:
        """Write both ends; the first block when all else was read back."""
        with self._phase("finishing", (*plan.tail, *plan.head)) as advance:
            first, others = self._cut(plan.head)
            self.transfer.zero(*real_size.last_block(self.transfer.medium))
            self.transfer.write_and_settle((*plan.tail, *others), advance)
            self.transfer.write_and_settle(first, advance)

    @contextmanager
    def _phase(self, what: str, extents: Sequence[Extent]) -> Iterator[Advance]:
        begun = time.monotonic()
        total = sum(each.size for each in extents) or None
        with self.reporter.step(f"{self.transfer.name}: {what}", total) as advance:
            yield advance
        self.seconds[what] = time.monotonic() - begun

    # ------------------------------------------------------------------------------------------ the places

    def _cut(self, head: Sequence[Extent]) -> tuple[list[Extent], list[Extent]]:
        """What is in the first block, and what of the head is behind."""
        first, others = [], []
        for each in head:
            if each.end <= BLOCK:
                first.append(each)
            elif each.start >= BLOCK:
                others.append(each)
            else:
                data = content(each, self.transfer.image.read)
                at = BLOCK - each.start
                first.append(Extent.of(each.start, data[:at]))
                others.append(Extent.of(BLOCK, data[at:]))
        return first, others

    def _around(self, each: Extent, patch: Patch) -> Extent:
        """The part of an extent that a patch changes, widened to what can be transferred."""
        grain = max(BLOCK, self.transfer.medium.alignment)
        start = max(each.start, patch.start // grain * grain)
        end = min(each.end, -(-patch.end // grain) * grain)
        data = content(each, self.transfer.image.read)
        return Extent.of(start, data[start - each.start : end - each.start])


@contextmanager
def cleared_on_failure(medium: Medium) -> Iterator[None]:
    """Whatever is raised meanwhile, nothing boots from the card: both of its ends are cleared, as far as it
    still takes that; the first block matters most."""
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
