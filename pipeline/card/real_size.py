"""Whether a card has the size that it reports: a fake has less, and loses or mixes up what is beyond."""

from __future__ import annotations

import os
from contextlib import suppress

from ..errors import MismatchError
from ..raw.ranges import BLOCK
from . import verdicts
from .burn_plan import HEAD
from .medium import Medium, buffer
from .transfer import TRIES, Transfer

_SMALLEST_FAKE = 20  # as a power of two


def last_block(medium: Medium) -> tuple[int, int]:
    """Where the block begins and ends that is written and read to see whether the card ends where it says."""
    return max(0, medium.size - BLOCK) // medium.alignment * medium.alignment, medium.size


def probed(transfer: Transfer) -> bytes:
    """Write a block that nobody can guess where the card must end, look where it went, and give it.

    Raises MismatchError where it is not there, or elsewhere too.
    """
    medium = transfer.medium
    start, end = last_block(medium)
    for _ in range(1 + TRIES):
        block = os.urandom(end - start)
        data = buffer(len(block))
        data[:] = block
        transfer.put(start, data)
        medium.sync()
        if transfer.read(start, end) == block:
            break
    else:
        raise _too_small(transfer)
    for power in range(_SMALLEST_FAKE, start.bit_length()):
        place = start % (1 << power)
        # A place that cannot be read says nothing here; if it is needed, the read-back finds it.
        with suppress(OSError):
            if place != start and transfer.read(place, place + len(block)) == block:
                raise verdicts.not_so_large(transfer.name, medium.size, 1 << power)
    return block


def check_ends(transfer: Transfer, probe: bytes) -> None:
    """Raise MismatchError where the probe at the end, or the zeros at the start, were written over.

    A card that wraps round does that to them with what lies between, at whatever size it really has.
    """
    start, end = last_block(transfer.medium)
    head = transfer.read(0, min(HEAD, start))
    if transfer.read(start, end) != probe or head.count(0) != len(head):
        raise _too_small(transfer)


def _too_small(transfer: Transfer) -> MismatchError:
    return verdicts.not_so_large(transfer.name, transfer.medium.size)
