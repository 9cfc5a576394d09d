"""One launch of the appliance for the images that wait for one at the same time (group commit).

A launch takes many times as long as what is done to an image afterwards. Whoever comes before a launch begins
goes with it; whoever comes later waits for the next. Images are filled while their appliance starts. What
goes wrong with one image is that image's matter; where the appliance itself is lost, all of its images are,
and each may be tried again by itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MetisError
from .appliance import Drive
from .tree import LostError

if TYPE_CHECKING:
    from guestfs import GuestFS

MOST = 8
"""Images in one appliance."""
LINGER = 1.0
"""Seconds that a launch waits for more images after the last that came; they are being copied meanwhile."""
MEMORY = 2 << 30
"""Bytes that one appliance may take of this machine."""

Launch = Callable[[Sequence[Drive]], "GuestFS"]


@dataclass(eq=False)
class _Batch:
    """Images that share an appliance, from the gathering of them to its end."""

    drives: list[Drive] = field(default_factory=list)
    inside: int = 0
    """How many of them are not done."""
    is_closed: bool = False
    """Nobody comes any more, and nobody's drive is taken out."""
    handle: GuestFS | None = None
    error: BaseException | None = None
    """Why there is no appliance, or why it did not end well."""
    is_launched: threading.Event = field(default_factory=threading.Event)
    is_empty: threading.Event = field(default_factory=threading.Event)
    has_ended: threading.Event = field(default_factory=threading.Event)
    in_turn: threading.Lock = field(default_factory=threading.Lock)

    def run(self, launch: Launch) -> None:
        """Launch, wait until everybody is done, shut down."""
        try:
            self.handle = launch(self.drives)
            self.is_launched.set()
            self.is_empty.wait()
            try:
                # Without it a write error of QEMU's would go unnoticed.
                self.handle.shutdown()
            finally:
                self.handle.close()
        except RuntimeError as error:
            self.error = MetisError(f"libguestfs: {str(error).strip().splitlines()[0]}", "run again")
        except BaseException as error:  # noqa: BLE001 - raised again where it matters
            self.error = error
        finally:
            self.is_launched.set()
            self.has_ended.set()


class Seat:
    """The place of one image in an appliance, which it has for sure once it has the `handle`."""

    def __init__(self, batch: _Batch, drive: Drive) -> None:
        self._batch = batch
        self._drive = drive

    @property
    def number(self) -> int:
        """Which of the appliance's drives it is, from 0."""
        return self._batch.drives.index(self._drive)

    @property
    def device(self) -> str:
        """The name of its drive there."""
        return f"/dev/sd{chr(ord('a') + self.number)}"

    @property
    def in_turn(self) -> AbstractContextManager[object]:
        """Held by one image at a time in its appliance, for what two cannot do at the same time."""
        return self._batch.in_turn

    def handle(self) -> GuestFS:
        """The appliance, once it is there. Raises what its launch raised."""
        self._batch.is_launched.wait()
        self.check()
        assert self._batch.handle is not None
        return self._batch.handle

    def check(self) -> None:
        """Raise where the appliance is lost, for whatever reason: LostError where others were in it too."""
        error, handle, is_shared = self._batch.error, self._batch.handle, len(self._batch.drives) > 1
        is_gone = handle is not None and not self._batch.has_ended.is_set() and not handle.is_ready()
        if is_shared and (error or is_gone):
            raise LostError(
                "the libguestfs appliance ended with several images in it", "run again"
            ) from error
        if error:
            raise error

    def wait_for_end(self) -> None:
        """Wait until everybody is done, and all that was written is in the images."""
        self._batch.has_ended.wait()
        self.check()


class Batches:
    """Gives images places in appliances, `at_once` of which may run at the same time.

    On the main thread images are opened one after the other, or one within the other: nobody is waited for.
    """

    def __init__(self, launch: Launch, *, at_once: int | None = None) -> None:
        self._launch = launch
        self._free = at_once or _most_at_once()
        self._gathering: _Batch | None = None
        self._changed = threading.Condition()
        self._apart: set[str] = set()
        """Names of image files; where they lie while they are made differs from try to try."""

    @contextmanager
    def seat(self, image: Path, *, read_only: bool) -> Iterator[Seat]:
        """A place for an image; after a block that ended well, what was written is in the image file.

        Raises LostError where the appliance was lost with others in it; the image is alone the next time.
        """
        try:
            with self._seated(Drive(image, read_only)) as seat:
                yield seat
            seat.wait_for_end()
        except LostError:
            with self._changed:
                self._apart.add(image.name)
            raise

    @contextmanager
    def _seated(self, drive: Drive) -> Iterator[Seat]:
        batch = self._join(drive)
        try:
            yield Seat(batch, drive)
        finally:
            with self._changed:
                batch.inside -= 1
                if not batch.is_closed:  # its file may be gone when the others are launched
                    batch.drives.remove(drive)
                is_last = batch.inside == 0 and batch.is_closed
            if is_last:
                batch.is_empty.set()
                batch.has_ended.wait()

    def _join(self, drive: Drive) -> _Batch:
        with self._changed:
            is_alone = (
                threading.current_thread() is threading.main_thread() or drive.image.name in self._apart
            )
            self._apart.discard(drive.image.name)
            batch = self._gathering
            if is_alone or batch is None or len(batch.drives) == MOST:
                batch = _Batch()
                begin = self._begin if is_alone else self._gather
                threading.Thread(target=begin, args=(batch,), name="appliance").start()
                if not is_alone:
                    self._gathering = batch
            batch.drives.append(drive)
            batch.inside += 1
            self._changed.notify_all()
            return batch

    def _gather(self, batch: _Batch) -> None:
        """Begin when nobody comes any more, and an appliance may run; who comes meanwhile goes along."""
        with self._changed:
            count = 0
            while count < len(batch.drives) < MOST:
                count = len(batch.drives)
                self._changed.wait(LINGER)
            self._changed.wait_for(lambda: self._free > 0)
            if self._gathering is batch:
                self._gathering = None
            self._free -= 1
        try:
            self._begin(batch)
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _begin(self, batch: _Batch) -> None:
        with self._changed:
            batch.is_closed = True
            is_deserted = not batch.drives
        if not is_deserted:
            batch.run(self._launch)


def _most_at_once() -> int:
    """As many as there are processors, and memory for."""
    return max(1, min(len(os.sched_getaffinity(0)), _available_memory() // MEMORY))


def _available_memory() -> int:
    """Bytes that programs may still take (proc_meminfo(5), MemAvailable)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) << 10
