"""Who shares a launch with whom, and what becomes of the others when something goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.errors import MetisError
from pipeline.inject.appliance import Drive
from pipeline.inject.batches import MOST, Batches, Seat
from pipeline.inject.tree import LostError
from tests.support.waiting import PATIENCE

FIRST = "first"
"""The image that has the only appliance while the others come."""
SAID = {"launch": "did not start", "end": "libguestfs: a write did not get through"}


@dataclass(eq=False)
class Appliance:
    """As much of one as batches see."""

    images: Sequence[str]
    fails_at_its_end: bool = False
    is_alive: bool = True
    calls: list[str] = field(default_factory=list)

    def is_ready(self) -> bool:
        return self.is_alive

    def shutdown(self) -> None:
        self.calls.append("shutdown")
        if self.fails_at_its_end:
            raise RuntimeError("a write did not get through")

    def close(self) -> None:
        self.calls.append("close")


@dataclass
class Machine:
    """One that has one appliance at a time; `trouble` says what images do to themselves or to it."""

    threads: ThreadPoolExecutor
    trouble: dict[str, str] = field(default_factory=dict)
    launched: list[Appliance] = field(default_factory=list)
    seats: list[tuple[str, Seat]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.batches = Batches(self._launch, at_once=1)

    def _launch(self, drives: Sequence[Drive]) -> Any:
        appliance = Appliance([drive.image.name for drive in drives])
        self.launched.append(appliance)
        trouble = {self.trouble.get(name) for name in appliance.images}
        if "launch" in trouble:
            raise MetisError("the appliance did not start")
        appliance.fails_at_its_end = "end" in trouble
        return appliance

    def come(self, *names: str) -> list[Future[Appliance]]:
        """Open images from threads of their own, all of them before the next launch can begin."""
        all_came, came = threading.Event(), threading.Semaphore(0)

        def wait(_seat: Seat) -> None:
            came.release()
            assert all_came.wait(PATIENCE)

        first = self.threads.submit(self.open, FIRST, after=wait)
        assert came.acquire(timeout=PATIENCE)
        others = [self.threads.submit(self.open, name, before=lambda _: came.release()) for name in names]
        for _ in names:
            assert came.acquire(timeout=PATIENCE)
        all_came.set()
        first.result(PATIENCE)
        return others

    def open(
        self,
        name: str,
        before: Callable[[Seat], object] = lambda _seat: None,
        after: Callable[[Seat], object] = lambda _seat: None,
    ) -> Appliance:
        """Do with an image what an injector does, and give the appliance that it was in."""
        with self.batches.seat(Path(name), read_only=False) as seat:
            before(seat)
            appliance = cast("Appliance", seat.handle())
            self.seats.append((name, seat))
            after(seat)
            if self.trouble.get(name) == "image":
                raise MetisError(f"{name} is damaged")
            if self.trouble.get(name) == "death":
                appliance.is_alive = False
            seat.check()
        return appliance

    @property
    def groups(self) -> list[list[str]]:
        """What was launched together, in turn."""
        return [sorted(appliance.images) for appliance in self.launched]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with ThreadPoolExecutor(2 * MOST) as threads:
        yield Machine(threads)


def test_who_waits_at_the_same_time_goes_together(machine: Machine) -> None:
    (appliance,) = {each.result(PATIENCE) for each in machine.come("a", "b", "c")}
    assert machine.groups == [[FIRST], ["a", "b", "c"]]
    assert appliance.calls == ["shutdown", "close"]


def test_each_image_is_a_drive_of_its_own(machine: Machine) -> None:
    for each in machine.come("a", "b", "c"):
        each.result(PATIENCE)
    (_, images) = (appliance.images for appliance in machine.launched)
    assert {images[seat.number]: seat.device for name, seat in machine.seats if name != FIRST} == dict(
        zip(images, ("/dev/sda", "/dev/sdb", "/dev/sdc"), strict=True)
    )
    assert all(name == images[seat.number] for name, seat in machine.seats if name != FIRST)


def test_more_than_an_appliance_can_bear_go_into_the_next(machine: Machine) -> None:
    names = [f"image-{number:02}" for number in range(MOST + 2)]
    for each in machine.come(*names):
        each.result(PATIENCE)
    assert sorted(map(len, machine.groups)) == [1, 2, MOST]
    assert sorted(chain.from_iterable(machine.groups)) == [FIRST, *names]


def test_nobody_is_waited_for_on_the_main_thread(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second would wait there for the end of the first, which comes after it."""
    monkeypatch.setattr(threading, "main_thread", threading.current_thread)  # workers of pytest have another
    with (
        machine.batches.seat(Path("a"), read_only=False) as one,
        machine.batches.seat(Path("b"), read_only=True) as two,
    ):
        assert one.handle() is not two.handle()
    assert sorted(machine.groups) == [["a"], ["b"]]


def test_what_is_wrong_with_one_image_is_its_own_matter(machine: Machine) -> None:
    machine.trouble["b"] = "image"
    one, two, three = machine.come("a", "b", "c")
    with pytest.raises(MetisError, match="b is damaged"):
        two.result(PATIENCE)
    assert one.result(PATIENCE) is three.result(PATIENCE)


def test_who_gives_up_before_the_launch_is_left_out_of_it(machine: Machine) -> None:
    def give_up(_seat: Seat) -> None:
        raise MetisError("the disk is full")

    def fail_first(_seat: Seat) -> None:
        with pytest.raises(MetisError, match="full"):
            machine.threads.submit(machine.open, "gone", before=give_up).result(PATIENCE)

    assert machine.threads.submit(machine.open, "a", before=fail_first).result(PATIENCE).images == ["a"]
    assert machine.groups == [["a"]]


@pytest.mark.parametrize("trouble", ["launch", "end"])
def test_with_an_appliance_all_its_images_are_lost_and_each_is_alone_the_next_time(
    machine: Machine, trouble: str
) -> None:
    machine.trouble["b"] = trouble
    for each in machine.come("a", "b", "c"):
        with pytest.raises(LostError, match="ended with several images in it"):
            each.result(PATIENCE)
    again = dict(zip("abc", machine.come("a", "b", "c"), strict=True))
    for name in "ac":
        assert again[name].result(PATIENCE).images == [name]
    with pytest.raises(MetisError, match=SAID[trouble]):
        again["b"].result(PATIENCE)


def test_an_appliance_that_dies_is_told_to_whoever_asks(machine: Machine) -> None:
    machine.trouble["b"] = "death"
    _, two, _ = machine.come("a", "b", "c")
    with pytest.raises(LostError):
        two.result(PATIENCE)


def test_an_image_that_had_to_be_alone_once_goes_with_others_later(machine: Machine) -> None:
    machine.trouble["b"] = "end"
    for each in machine.come("a", "b"):
        with pytest.raises(LostError):
            each.result(PATIENCE)
    machine.open("a")
    for each in machine.come("a", "c"):
        each.result(PATIENCE)
    assert machine.groups[-1] == ["a", "c"]


@pytest.mark.parametrize("trouble", ["launch", "end"])
def test_where_an_image_is_alone_the_error_is_what_happened(machine: Machine, trouble: str) -> None:
    machine.trouble["a"] = trouble
    with pytest.raises(MetisError, match=SAID[trouble]):
        machine.open("a")


def test_an_appliance_ends_also_where_its_only_image_failed(machine: Machine) -> None:
    machine.trouble["a"] = "image"
    with pytest.raises(MetisError, match="damaged"):
        machine.open("a")
    assert machine.launched[0].calls == ["shutdown", "close"]
