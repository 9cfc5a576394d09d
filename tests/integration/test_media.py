"""What every open card is to a burn, whoever opens it: files and devices, Windows' by a stand-in."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.card import linux
from pipeline.card.cards import Card
from pipeline.card.engine import write_card
from pipeline.card.image import open_image
from pipeline.card.medium import Opener, buffer
from pipeline.card.physical_drive import WindowsOpener
from pipeline.errors import RefusedError
from pipeline.machine.progress import QuietReporter
from pipeline.raw.ranges import BLOCK
from tests.support import blocks
from tests.support.cards import plan_of, wrong
from tests.support.win32 import Win32

MIB = 1 << 20
SIZE = 2 * MIB + 5 * 512
BODY = random.Random(7).randbytes(SIZE)
OLD = random.Random(8).randbytes(SIZE)


@dataclass(frozen=True)
class Subject:
    """A card, what opens it, and the file with the bytes that it really has."""

    opener: Opener
    card: Card
    medium: Path


@contextmanager
def plain_file(file: Path) -> Iterator[Subject]:
    yield Subject(linux.LinuxOpener(linux.card_at), Card(str(file), "file", SIZE), file)


@contextmanager
def loop_device(file: Path) -> Iterator[Subject]:
    blocks.need_disks()
    with blocks.attached(file) as device:
        yield Subject(linux.LinuxOpener(linux.card_at), linux.card_at(device), file)


@contextmanager
def file_on_windows(file: Path) -> Iterator[Subject]:
    card = Card(str(file), "file", SIZE)
    yield Subject(WindowsOpener(Win32(file.parent).kernel(), lambda _: card, file.parent), card, file)


@contextmanager
def drive_on_windows(file: Path) -> Iterator[Subject]:
    machine = Win32(file.parent)
    machine.add(file, 2)
    card = Card(r"\\.\PhysicalDrive2", "disk", SIZE, number="2", removable=True)
    yield Subject(WindowsOpener(machine.kernel(), lambda _: card, file.parent), card, file)


@pytest.fixture(
    params=[plain_file, loop_device, file_on_windows, drive_on_windows], ids=lambda each: each.__name__
)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    file = tmp_path / "medium"
    file.write_bytes(OLD)
    with request.param(file) as made:
        yield made


def filled(data: bytes) -> memoryview:
    view = buffer(len(data))
    view[:] = data
    return view


def test_it_has_the_cards_size_in_whole_pieces(subject: Subject) -> None:
    with subject.opener.open(subject.card) as medium:
        assert medium.size == SIZE
        assert SIZE % medium.alignment == BLOCK % medium.alignment == 0


@pytest.mark.parametrize("memory", [filled, memoryview], ids=["buffer", "any memory"])
@pytest.mark.parametrize(
    ("start", "end"), [(0, SIZE), (0, 512), (512, MIB + 1024), (MIB, MIB + BLOCK), (SIZE - 512, SIZE)]
)
def test_what_was_written_is_on_the_medium_and_nothing_else_is_touched(
    subject: Subject, start: int, end: int, memory: Callable[[bytes], memoryview]
) -> None:
    with subject.opener.open(subject.card) as medium:
        medium.write(start, memory(BODY[start:end]))
        medium.sync()
        into = buffer(SIZE)
        medium.read(0, into)
        assert into == OLD[:start] + BODY[start:end] + OLD[end:]
    assert subject.medium.read_bytes() == into


def test_threads_may_read_and_write_at_once(subject: Subject) -> None:
    places = range(0, SIZE - 64 * 512, 64 * 512)

    def renewed(place: int) -> bool:
        into = buffer(64 * 512)
        medium.write(place, filled(BODY[place : place + len(into)]))
        medium.read(place, into)
        return into == BODY[place : place + len(into)]

    with subject.opener.open(subject.card) as medium, ThreadPoolExecutor(4) as pool:
        assert all(pool.map(renewed, places))


def test_nothing_is_read_behind_its_end(subject: Subject) -> None:
    with subject.opener.open(subject.card) as medium, pytest.raises(OSError, match=r"\w"):
        medium.read(SIZE - 512, buffer(BLOCK))


def test_nobody_else_opens_it_meanwhile(subject: Subject) -> None:
    with (
        subject.opener.open(subject.card),
        pytest.raises(RefusedError),
        subject.opener.open(subject.card),
    ):
        pytest.fail("it was opened twice")
    with subject.opener.open(subject.card):
        pass


@pytest.mark.parametrize("size", [SIZE - 512, SIZE + 512])
def test_a_card_of_another_size_than_was_found_is_refused(subject: Subject, size: int) -> None:
    found = replace(subject.card, size=size)
    with pytest.raises(RefusedError, match="is not the card any more"), subject.opener.open(found):
        pytest.fail("it was opened")
    assert subject.medium.read_bytes() == OLD


def test_after_a_failure_it_is_as_it_was_and_free(subject: Subject) -> None:
    with pytest.raises(KeyboardInterrupt), subject.opener.open(subject.card):
        raise KeyboardInterrupt
    with subject.opener.open(subject.card):
        assert subject.medium.read_bytes() == OLD


def test_a_burn_makes_it_what_the_plan_says(subject: Subject, tmp_path: Path) -> None:
    image = tmp_path / "titan-13.img"
    image.write_bytes(BODY)
    plan = plan_of(BODY, [(0, MIB), (MIB, MIB + BLOCK), (2 * MIB - BLOCK, 2 * MIB), (2 * MIB, SIZE)], SIZE)
    with open_image(image) as opened, subject.opener.open(subject.card) as medium:
        write_card(opened, plan, medium, name="card", reporter=QuietReporter(io.StringIO()))
    assert not wrong(plan, subject.medium.read_bytes())
