"""Two hundred burns to real devices and files that fail at random places: none that succeeds leaves a card
that differs from its plan, none that fails leaves one that boots, and running again repairs each."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.card.burn_plan import HEAD, BurnPlan
from pipeline.card.cards import Card
from pipeline.card.engine import write_card
from pipeline.card.image import open_image
from pipeline.card.linux import LinuxOpener
from pipeline.card.table import BACKUP, Patch
from pipeline.errors import MetisError
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from tests.support.blocks import need_disks
from tests.support.cards import FIRST, RECORD, Small, small_image, wrong
from tests.support.faulty import Faulty
from tests.support.lab import REPOSITORY

pytestmark = pytest.mark.slow

MIB = 1 << 20
IMAGE, CARD = 12 * MIB, 16 * MIB
OLD = random.Random(1).randbytes(CARD)
QUIET = QuietReporter(io.StringIO())
BURNS = {
    "write": 20,  # EIO, once; half of what was to be written is there
    "write-on": 15,  # and from then on
    "read": 15,
    "read-on": 10,
    "flip": 25,  # a bit of what is written is another, once
    "stuck": 20,  # or always
    "drop": 25,  # what is written is not there, once
    "dead": 20,  # or never
    "vanish": 12,  # the device goes away
    "kill": 25,  # the process is killed
    "short": 10,  # the system takes less than it is given
    "limit": 5,  # up to a place, and no more from there
    "full": 15,  # the file system of a file is full
}
PLACES = random.Random(2)
CASES = [(kind, number, PLACES.random()) for kind, count in BURNS.items() for number in range(count)]
assert len(CASES) >= 200
MUST_FAIL = {"write-on", "vanish", "kill", "limit", "full"}
MUST_SUCCEED = {"flip", "drop", "read", "short"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Small]:
    """One with each kind of table."""
    folder = tmp_path_factory.mktemp("images")
    made = [small_image(folder / "gpt.img", "gpt", IMAGE), small_image(folder / "dos.img", "dos", IMAGE)]
    for each in made:
        each.path.with_suffix(".bmap").write_bytes(each.bmap.to_xml())
    return made


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """Starts anew by itself for each test where it is down."""
    need_disks()
    card = Faulty(tmp_path_factory.mktemp("faulty"), CARD)
    yield card
    card.stop()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system whose size can be changed."""
    need_disks()
    folder = tmp_path_factory.mktemp("small")
    process.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder])
    yield folder
    process.run(["umount", folder])


def burn(image: Small, card: Card, delta: bool = False) -> None:
    with open_image(image.path) as opened, LinuxOpener(lambda _: card).open(card) as medium:
        write_card(
            opened,
            image.plan(card.size),
            medium,
            name=card.path,
            reporter=QUIET,
            delta=delta,
            record=Patch(image.slot, RECORD),
        )


def check(wanted: BurnPlan, held: bytes, succeeded: bool, healthy: bool) -> None:
    """What must be so of a card after a burn; `healthy` is one that could still be cleared."""
    if succeeded:
        assert not wrong(wanted, held)
    elif healthy:
        assert not any(held[:HEAD])
    else:
        cleared = not any(held[:FIRST])
        untouched = held[:FIRST] == OLD[:FIRST] and held[HEAD : CARD - BACKUP] == OLD[HEAD : CARD - BACKUP]
        # The last thing that a burn writes: it may be cut off when all is there.
        complete = not wrong(wanted, held)
        assert cleared or untouched or complete


@pytest.mark.parametrize(
    ("kind", "number", "place"), CASES, ids=[f"{kind}-{number}" for kind, number, _ in CASES]
)
def test_a_burn_with_a_fault(
    images: list[Small],
    faulty: Faulty,
    small: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    kind: str,
    number: int,
    place: float,
) -> None:
    image = images[number % 2]
    wanted = image.final(CARD)
    if kind == "full":
        card, read, run = full(small, image, place)
    elif kind == "limit":
        card, read, run = limited(tmp_path / "card.img", image, place)
    else:
        card, read, run = device(faulty, image, kind, place)
    succeeded = run()
    request.node.user_properties.append(("succeeded", succeeded))
    assert not (succeeded and kind in MUST_FAIL)
    assert succeeded or kind not in MUST_SUCCEED
    healthy = kind in {"write", "read-on", "limit"} or (kind in {"stuck", "dead"} and place > 1 / 16)
    check(wanted, read(), succeeded, healthy)
    repair(faulty, small, image, card, delta=number % 3 == 0)
    assert not wrong(wanted, read())


def repair(faulty: Faulty, small: Path, image: Small, card: Card, delta: bool) -> None:
    """Run again without the fault; a device that went away has come back."""
    if card.kind == "loop":
        faulty.tell({"kind": "none"})
        burn(image, up(faulty).card, delta)
    else:
        process.run(["mount", "-o", "remount,size=64m", small])
        burn(image, card, delta)


def up(faulty: Faulty) -> Faulty:
    if not faulty.is_up:
        faulty.stop()
        faulty.start()
    return faulty


Case = tuple[Card, Callable[[], bytes], Callable[[], bool]]


def succeeds(image: Small, card: Card) -> bool:
    try:
        burn(image, card)
    except MetisError:
        return False
    return True


def device(faulty: Faulty, image: Small, kind: str, place: float) -> Case:
    """A burn to the block device, which fails at a place of all bytes that it is given or asked for."""
    faulty.medium.write_bytes(OLD)
    card = up(faulty).card
    name, _, lasts = kind.partition("-")
    mapped = image.plan(CARD).mapped
    at = int(place * (CARD if kind in {"stuck", "dead"} else mapped + HEAD))
    fault: dict[str, str | int | bool] = {"kind": name, "at": at, "lasts": bool(lasts)}

    def run() -> bool:
        if kind == "kill":
            return child(faulty, image, card, fault)
        if kind == "short":
            with short_writes(place):
                return succeeds(image, card)
        faulty.tell(fault)
        done = succeeds(image, card)
        assert faulty.has_failed or kind in {"stuck", "dead", "none"}, "it came too late"
        return done

    return card, faulty.medium.read_bytes, run


def child(faulty: Faulty, image: Small, card: Card, fault: dict[str, str | int | bool]) -> bool:
    words: list[str | Path] = [image.path, image.path.with_suffix(".bmap"), card.path, str(image.slot)]
    program = [sys.executable, "-m", "tests.support.burn_once"]
    ended = process.run([*program, *words, faulty.control, json.dumps(fault)], cwd=REPOSITORY, check=False)
    assert ended.code == -signal.SIGKILL
    return False


@contextmanager
def short_writes(place: float) -> Iterator[None]:
    """Each write takes only a part, in sectors."""
    chance, whole = random.Random(place), os.pwrite

    def some(descriptor: int, data: memoryview, offset: int) -> int:
        count = chance.randint(1, max(1, len(data) // 512)) * 512
        return whole(descriptor, data[:count], offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", some)
        yield


def full(small: Path, image: Small, place: float) -> Case:
    """A burn to a file with holes, for which there is no room; the last write before is a short one."""
    file = small / "card.img"
    file.unlink(missing_ok=True)
    file.write_bytes(OLD[: 2 * MIB])
    os.truncate(file, CARD)
    room = 2 * MIB + 65536 + int(place * (image.plan(CARD).mapped - 3 * MIB))
    process.run(["mount", "-o", f"remount,size={room}", small])
    card = Card(str(file), "file", CARD)
    return card, file.read_bytes, lambda: succeeds(image, card)


def limited(file: Path, image: Small, place: float) -> Case:
    """A burn to a file of which the system takes nothing behind a place (setrlimit(2), RLIMIT_FSIZE)."""
    file.write_bytes(OLD)
    card = Card(str(file), "file", CARD)

    def run() -> bool:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEAD + int(place * (CARD - BACKUP - HEAD)), before[1]))
        try:
            return succeeds(image, card)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return card, file.read_bytes, run


def test_a_card_that_went_away_is_said_to_have(images: list[Small], faulty: Faulty) -> None:
    card = up(faulty).card
    faulty.tell({"kind": "vanish", "at": 4 * MIB})
    with pytest.raises(MetisError, match="does not answer any more"):
        burn(images[0], card)


@contextmanager
def no_direct_transfers(how: str) -> Iterator[None]:
    """As on file systems and devices that know none: refused when opened, or only when used (open(2))."""
    whole_open, whole_read, whole_write = os.open, os.preadv, os.pwrite

    def is_direct(descriptor: int) -> bool:
        return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)

    def opened(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return whole_open(path, flags, mode)

    def read(descriptor: int, into: list[memoryview], offset: int) -> int:
        if is_direct(descriptor):
            raise OSError(errno.EINVAL, "Invalid argument")
        return whole_read(descriptor, into, offset)

    def write(descriptor: int, data: memoryview, offset: int) -> int:
        if is_direct(descriptor):
            raise OSError(errno.EINVAL, "Invalid argument")
        return whole_write(descriptor, data, offset)

    with pytest.MonkeyPatch.context() as patch:
        if how == "opened":
            patch.setattr(os, "open", opened)
        else:
            patch.setattr(os, "preadv", read)
            patch.setattr(os, "pwrite", write)
        yield


@pytest.mark.parametrize("how", ["opened", "used"])
@pytest.mark.parametrize("kind", ["none", "flip", "drop", "stuck", "dead", "write-on"])
def test_what_goes_through_the_page_cache_is_read_from_the_medium_too(
    images: list[Small], faulty: Faulty, kind: str, how: str
) -> None:
    with no_direct_transfers(how):
        _, read, run = device(faulty, images[0], kind, 0.4)
        succeeded = run()
    assert succeeded == (kind in {"none", "flip", "drop"})
    check(images[0].final(CARD), read(), succeeded, kind in {"stuck", "dead"})


def test_a_device_that_is_in_use_or_another_is_refused(faulty: Faulty, images: list[Small]) -> None:
    faulty.medium.write_bytes(OLD)
    card = up(faulty).card
    faulty.tell({"kind": "none"})
    others = [
        replace(card, size=CARD + 512),
        replace(card, number="7:200"),
        replace(card, serial="another"),
        replace(card, sequence="2"),
    ]
    for found in others:
        for named, now in ((card, found), (found, card)):
            with pytest.raises(MetisError, match="not the card any more"), _opened(named, now):
                pass
    with _opened(card, card), pytest.raises(MetisError, match="is in use"), _opened(card, card):
        pass
    assert faulty.medium.read_bytes() == OLD


@contextmanager
def _opened(named: Card, now: Card) -> Iterator[None]:
    with LinuxOpener(lambda _: now).open(named):
        yield
