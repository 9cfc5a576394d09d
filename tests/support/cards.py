"""Cards for tests of burns: media in memory that fail as real ones do, and what a plan says of a card."""

from __future__ import annotations

import errno
import hashlib
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.card import burn_plan
from pipeline.card.burn_plan import HEAD, BurnPlan, Extent
from pipeline.card.image import open_image
from pipeline.card.table import BACKUP, Patch
from pipeline.machine import process
from pipeline.raw.bmap import Bmap, describe

FIRST = 4096
Kind = Literal[
    "none", "write", "half", "read", "sync", "flip", "drop", "vanish", "interrupt", "stuck", "dead", "weak"
]


@dataclass(frozen=True)
class Fault:
    """What goes wrong: at the `at`-th transfer of its kind, or with `stuck`, `dead` and `weak` at that byte.

    `lasts` makes it go wrong from then on each time. `stuck` is a bit that never is what was written, `dead`
    a sector that keeps what it had, and `weak` one that cannot be read until it was written twice (`lasts`:
    not even then).
    """

    kind: Kind = "none"
    at: int = 0
    lasts: bool = False


class Memory:
    """A card in memory. `watch` is called before each write with its place and data.

    `real` is how many bytes it has of the `size` that it reports; what is beyond is lost, or with `wraps`
    goes over the beginning.
    """

    alignment = 512

    def __init__(self, data: bytes, fault: Fault | None = None, real: int = 0, wraps: bool = False) -> None:
        self.size = len(data)
        self.data = bytearray(data)
        self.fault = fault or Fault()
        self.writes: list[tuple[int, int]] = []
        self.watch: Callable[[int, memoryview], None] = lambda offset, data: None
        self._real = real or self.size
        self._wraps = wraps
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def has_failed(self) -> bool:
        """Whether the fault's transfer came."""
        return self._counts.get(self.fault.kind, -1) >= self.fault.at

    def heal(self) -> None:
        self.fault = Fault()

    def read(self, offset: int, into: memoryview) -> None:
        with self._lock:
            self._check(offset, into)
            if self._fires("vanish"):
                raise OSError(errno.ENODEV, "No such device")
            if self._fires("read") or (
                self.fault.kind == "weak"
                and offset <= self.fault.at < offset + len(into)
                and (self._counts.get("covered") == 1 or self.fault.lasts)
            ):
                raise OSError(errno.EIO, "Input/output error")
            if self._fires("interrupt"):
                raise KeyboardInterrupt
            for start, end, place in self._pieces(offset, len(into)):
                into[start:end] = self.data[place : place + end - start] if place >= 0 else bytes(end - start)

    def write(self, offset: int, data: memoryview) -> None:
        with self._lock:
            self._check(offset, data)
            self.watch(offset, data)
            if self._fires("vanish"):
                raise OSError(errno.ENODEV, "No such device")
            if self._fires("interrupt"):
                raise KeyboardInterrupt
            if self._fires("write"):
                raise OSError(errno.EIO, "Input/output error")
            half = self._fires("half")
            if half:
                data = data[: len(data) // 2]
            if not self._fires("drop"):
                self._store(offset, data)
            self.writes.append((offset, offset + len(data)))
            if half:
                raise OSError(errno.EIO, "Input/output error")

    def sync(self) -> None:
        with self._lock:
            if self._fires("vanish"):
                raise OSError(errno.ENODEV, "No such device")
            if self._fires("interrupt"):
                raise KeyboardInterrupt
            if self._fires("sync"):
                raise OSError(errno.EIO, "Input/output error")

    def _check(self, offset: int, data: memoryview) -> None:
        assert offset % self.alignment == 0
        assert len(data) % self.alignment == 0
        assert 0 <= offset <= offset + len(data) <= self.size

    def _fires(self, kind: Kind) -> bool:
        count = self._counts[kind] = self._counts.get(kind, -1) + 1
        fault = self.fault
        return fault.kind == kind and (count == fault.at or (fault.lasts and count > fault.at))

    def _store(self, offset: int, data: memoryview) -> None:
        at, sector = self.fault.at, self.fault.at // 512 * 512
        kept = bytes(self.data[sector : sector + 512])
        for start, end, place in self._pieces(offset, len(data)):
            if place >= 0:
                self.data[place : place + end - start] = data[start:end]
        written = offset <= at < offset + len(data)
        if written:
            self._counts["covered"] = self._counts.get("covered", 0) + 1
        if self.fault.kind == "dead" and written:
            self.data[sector : sector + 512] = kept
        if self.fault.kind == "stuck" and written:
            self.data[at] = data[at - offset] ^ 4
        if self._fires("flip"):
            self.data[offset + len(data) // 3] ^= 4

    def _pieces(self, offset: int, length: int) -> Iterable[tuple[int, int, int]]:
        """Where the bytes of a transfer really are; a place of -1 is nowhere."""
        done = 0
        while done < length:
            at = offset + done
            place = at % self._real if self._wraps or at < self._real else -1
            count = min(length - done, self._real - place if place >= 0 else length)
            yield done, done + count, place
            done += count


def plan_of(image: bytes, places: Iterable[tuple[int, int]], size: int) -> BurnPlan:
    """A plan of an image's places as they are, none of which crosses a multiple of 1 MiB."""
    extents = [
        Extent(start, end, hashlib.sha256(image[start:end]).hexdigest()) for start, end in sorted(places)
    ]
    return ordered(extents, size)


def ordered(extents: Iterable[Extent], size: int) -> BurnPlan:
    head: list[Extent] = []
    body: list[Extent] = []
    tail: list[Extent] = []
    for each in extents:
        part = head if each.start < HEAD else tail if each.end > size - BACKUP else body
        part.append(each)
    return BurnPlan(size, tuple(head), tuple(body), tuple(tail))


def wrong(plan: BurnPlan, card: bytes | bytearray, behind: int = 0) -> list[tuple[int, int]]:
    """The extents that a card does not hold, as far as they are behind a place."""
    held = memoryview(card)
    return [
        (each.start, each.end)
        for each in plan.extents
        if each.start >= behind
        if hashlib.sha256(held[each.start : each.end]).hexdigest() != each.sha256
    ]


RECORD = b'{"node": "titan-13"}'.ljust(4096)


@dataclass(frozen=True)
class Small:
    """A small image with a partition table, holes between what is mapped, and a place for a record."""

    path: Path
    bmap: Bmap
    slot: int

    def plan(self, size: int) -> BurnPlan:
        """What a card of that size must hold, without its record."""
        with open_image(self.path) as image:
            return burn_plan.make(self.bmap, size, image.read)

    def final(self, size: int) -> BurnPlan:
        """What it must hold in the end."""
        with open_image(self.path) as image:
            return burn_plan.with_record(self.plan(size), Patch(self.slot, RECORD), image.read)[0]


def small_image(path: Path, label: Literal["gpt", "dos"], size: int) -> Small:
    """An image of random bytes; a third of it is holes, and some is zero though it is mapped."""
    chance = random.Random(label)
    with path.open("wb") as file:
        file.truncate(size)
    script = f"label: {label}\nstart=2048, type=linux\n".encode()
    process.run(["sfdisk", "--quiet", path], stdin=script)
    places = [(0, 4096), (4096, 20480), (size - 20480, size)]
    at = 1 << 20
    with path.open("r+b") as file:
        while at < size - (1 << 20):
            length = chance.choice([1, 1, 3, 16, 200, 512]) * 4096
            end = min(at + length, size - (1 << 20))
            if chance.random() < 0.9:
                file.seek(at)
                file.write(chance.randbytes(end - at))
            places.append((at, end))
            at = end + chance.choice([1, 2, 64, 128]) * 4096
    slot = next(start for start, end in places if start > size // 2 and end - start > 65536) + 9 * 512
    return Small(path, describe(path, sorted(places)), slot)
