"""On this machine's own kernel: what refuses a card, before a byte of it is written, and what is on it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.card import linux, procfs
from pipeline.card.here import here
from pipeline.card.inspect import inspect
from pipeline.card.waiting import wait_for_card
from pipeline.errors import MetisError, RefusedError
from pipeline.machine import process
from pipeline.raw import record
from pipeline.steps import choosing
from tests.support import blocks
from tests.support.blocks import MIB, attached, mounted
from tests.support.waiting import wait_for_words

GB = 10**9
TABLE = "label: gpt\nsize=4M, type=linux\nsize=1M, type=swap\n"
SIZE = 8 * MIB


def card(path: Path) -> Path:
    """A used card: a Linux file system, swap space, and random bytes around them."""
    path.write_bytes(os.urandom(SIZE))
    process.run(["sfdisk", "--quiet", "--wipe", "always", path], stdin=TABLE.encode())
    process.run(["mkfs.ext4", "-q", "-F", "-L", "rootfs", "-E", f"offset={MIB}", path, "4M"])
    return path


@dataclass(frozen=True)
class Place:
    """A card, the device that it is attached as, and room beside it."""

    file: Path
    device: str
    room: Path

    def hash(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return card(tmp_path_factory.mktemp("cards") / "used.img")


@pytest.fixture
def place(tmp_path: Path, used: Path) -> Iterator[Place]:
    blocks.need_disks()
    file = tmp_path / "card.img"
    file.write_bytes(used.read_bytes())
    with attached(file) as device:
        yield Place(file, device, tmp_path)


def judge(named: Sequence[str | Path], artifacts: Path, **changes: Any) -> None:
    """What a burn asks before it opens a card; loop devices are allowed unless a test says otherwise."""
    image_size = changes.pop("image_size", SIZE)
    rules = {"ceiling": GB, "allow_fixed": True, **changes}
    choosing.judged(here(), list(map(str, named)), image_size, choosing.Rules(artifacts=artifacts, **rules))


def test_a_loop_device_that_nobody_uses_may_be_written(place: Place) -> None:
    judge([place.device], place.room / "artifacts")


# ------------------------------------------------------------------------------------ what refuses a card

Situation = Callable[[Place], AbstractContextManager[object]]


@contextmanager
def running(place: Place, script: str, *words: str) -> Iterator[None]:
    """A shell script beside us; the block runs when it has said "ready"."""
    log = place.room / "said"
    with process.background(["sh", "-c", f"{script}; echo ready; exec sleep 60", "sh", *words], log) as child:
        wait_for_words(log, b"ready", child)
        yield


def is_mounted(place: Place) -> AbstractContextManager[object]:
    return mounted(f"{place.device}p1", place.room / "mnt", "-o", "ro,noload")


@contextmanager
def is_mounted_as_a_bind_only(place: Place) -> Iterator[None]:
    folder = place.room / "elsewhere"
    with ExitStack() as stack:
        with mounted(f"{place.device}p1", place.room / "mnt", "-o", "ro,noload") as point:
            stack.enter_context(mounted(str(point / "lost+found"), folder, "--bind"))
        yield


def is_mounted_in_a_container(place: Place) -> AbstractContextManager[object]:
    inner = place.room / "container"
    inner.mkdir()
    script = 'exec unshare --mount sh -c "mount -o ro,noload $1 $2 && echo ready && exec sleep 60"'
    return running(place, script, f"{place.device}p1", str(inner))


@contextmanager
def is_swap(place: Place) -> Iterator[None]:
    process.run(["mkswap", f"{place.device}p2"])
    process.run(["swapon", f"{place.device}p2"])
    try:
        yield
    finally:
        process.run(["swapoff", f"{place.device}p2"])


def has_a_loop_on_it(place: Place) -> AbstractContextManager[object]:
    return attached(Path(place.device))


def has_a_loop_on_a_partition(place: Place) -> AbstractContextManager[object]:
    return attached(Path(f"{place.device}p2"))


def has_its_file_on_another_loop(place: Place) -> AbstractContextManager[object]:
    return attached(place.file)


def has_its_file_open(place: Place) -> AbstractContextManager[object]:
    return running(place, 'exec 3<"$1"', str(place.file))


def is_open(place: Place) -> AbstractContextManager[object]:
    return running(place, 'exec 3<"$1"', place.device)


def has_a_partition_open(place: Place) -> AbstractContextManager[object]:
    return running(place, 'exec 3<"$1"', f"{place.device}p1")


@contextmanager
def is_locked(place: Place) -> Iterator[None]:
    process.run(["blockdev", "--setro", place.device])
    try:
        yield
    finally:
        # The device would stay so for whoever gets it next.
        process.run(["blockdev", "--setrw", place.device])


@contextmanager
def holds_a_volume(place: Place) -> Iterator[None]:
    with place.file.open("rb+") as file:
        file.seek(5 * MIB)
        file.write(b"LUKS\xba\xbe\x00\x01")
    process.run(["blockdev", "--flushbufs", place.device])
    yield


@contextmanager
def is_free(place: Place) -> Iterator[None]:
    assert place.device
    yield


REFUSED: dict[str, tuple[Situation, dict[str, Any], str]] = {
    "mounted": (is_mounted, {}, "p1 is mounted on "),
    "mounted as a bind only": (is_mounted_as_a_bind_only, {}, "elsewhere, unmount it first"),
    "mounted in a container": (is_mounted_in_a_container, {}, "container, unmount it first"),
    "swap": (is_swap, {}, "holds this machine's swap space in use, on "),
    "a loop device on it": (has_a_loop_on_it, {}, "is in use by loop"),
    "a loop device on a partition": (has_a_loop_on_a_partition, {}, "is in use by loop"),
    "another loop device on its file": (has_its_file_on_another_loop, {}, "is in use by loop"),
    "its file open": (has_its_file_open, {}, "is open in sleep ("),
    "open": (is_open, {}, "is open in sleep ("),
    "a partition open": (has_a_partition_open, {}, "is open in sleep ("),
    "locked": (is_locked, {}, "cannot be written"),
    "a part of a volume": (holds_a_volume, {}, "p2 (crypto_LUKS), a part of a volume"),
    "too small": (is_free, {"image_size": SIZE + 512}, "is too small: it has 8388608 bytes"),
    "too large": (is_free, {"ceiling": SIZE - 1}, "is larger than cards are here"),
    "not a card": (is_free, {"allow_fixed": False}, "if it is meant, say --allow-fixed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_card_is_what_it_was(place: Place, case: str) -> None:
    situation, changes, words = REFUSED[case]
    with situation(place):
        before = place.hash()
        with pytest.raises(RefusedError) as caught:
            judge([place.device], place.room / "artifacts", **changes)
        assert place.hash() == before
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    # Nothing else speaks against it: what happened is seen for what it is.
    assert str(caught.value).count("; it ") == 0


def test_all_reasons_are_told_at_once(place: Place) -> None:
    with is_mounted(place), is_open(place), pytest.raises(RefusedError) as caught:
        judge([place.device], place.room / "artifacts", image_size=GB, allow_fixed=False)
    assert [word for word in ("mounted", "open in", "small", "fixed") if word not in str(caught.value)] == []


def test_where_mounts_cannot_be_seen_nothing_is_a_card(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "PROC", place.room)
    with pytest.raises(MetisError, match="cannot see what is mounted"):
        judge([place.device], place.room / "artifacts")
    with pytest.raises(MetisError, match="cannot see what is mounted"):
        linux.find()


def test_the_disk_of_the_artifacts_is_no_card(place: Place) -> None:
    with mounted(f"{place.device}p1", place.room / "mnt") as point:
        artifacts = point / "lab/artifacts"
        artifacts.mkdir(parents=True)
        link = place.room / "link"
        link.symlink_to(artifacts)
        for folder in (artifacts, link):
            with pytest.raises(RefusedError, match="holds the artifacts"):
                judge([place.device], folder)


def test_sectors_of_another_size_are_refused(tmp_path: Path, used: Path) -> None:
    blocks.need_disks()
    with attached(used, sector=4096) as device, pytest.raises(RefusedError, match="sectors of 4096 bytes"):
        judge([device], tmp_path)


def test_the_disk_of_the_running_system_is_no_card(tmp_path: Path) -> None:
    """Where the running system is on no disk (a container), there is nothing to refuse."""
    system = [found for found in linux.find() if any(mount.point == "/" for mount in found.mounts)]
    for found in system:
        with pytest.raises(RefusedError, match="holds the running system"):
            judge([found.path], tmp_path, image_size=1)


OLD = Path(__file__).parents[1] / "cases/cards/old-util-linux"


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (
            f'case "$*" in *MOUNTPOINTS*) echo "lsblk: unknown column: MOUNTPOINTS" >&2; exit 1;; esac\n'
            f"cat {OLD}/lsblk.json",
            "/dev/sda /dev/sdb /dev/sdc",
        ),
        (f"cat {OLD}/lsblk.json; exit 32", "/dev/sda /dev/sdb /dev/sdc"),
        ("echo 'lsblk: no' >&2; exit 1", "lsblk cannot list the disks: lsblk: no"),
        ("echo '{'", "cannot understand what lsblk says"),
        ("yes", "lsblk said more than"),
    ],
    ids=["old", "a disk went away", "failing", "cut off", "endless"],
)
def test_whatever_lsblk_is_there_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: str
) -> None:
    program = tmp_path / "lsblk"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    try:
        said = " ".join(card.path for card in linux.find())
    except MetisError as error:
        said = str(error)
    assert found in said


@pytest.mark.parametrize("was_there", [False, True])
def test_a_card_counts_when_it_is_inserted_and_again_when_it_was_pulled(
    place: Place, used: Path, was_there: bool
) -> None:
    """The other card, which is there all the time, is never meant."""
    file = place.room / "new.img"
    file.write_bytes(used.read_bytes())
    pauses = 0
    with ExitStack() as reader:
        if was_there:
            reader.enter_context(attached(file))

        def pause() -> None:
            nonlocal pauses
            pauses += 1
            if pauses == 2:
                reader.close()
            if pauses == 3:
                reader.enter_context(attached(file))

        mine = {str(file), str(place.file)}
        found = wait_for_card(linux.find, pause, lambda card: _behind(card.path) in mine)
        assert (_behind(found.path), pauses) == (str(file), 4)


def _behind(device: str) -> str:
    file = Path("/sys/block", Path(device).name, "loop/backing_file")
    return file.read_text().strip() if file.exists() else ""


# --------------------------------------------------------------------------- what an operator may call a card


def test_a_partition_is_no_card(place: Place) -> None:
    with pytest.raises(RefusedError, match=f"is a partition: .*name {place.device}$"):
        linux.card_at(f"{place.device}p1")


def test_a_loop_device_is_no_way_around_a_disk(place: Place) -> None:
    with (
        attached(Path(place.device)) as over,
        pytest.raises(RefusedError, match=f"stands for {place.device}"),
    ):
        linux.card_at(over)


def test_a_link_leads_to_its_device(place: Place) -> None:
    link = place.room / "my card"
    link.symlink_to(place.device)
    found = linux.card_at(str(link))
    assert (found.path, found.kind, found.size) == (place.device, "loop", SIZE)
    assert found == next(card for card in linux.find() if card.path == place.device)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("/dev/sdzzz", "is not there"),
        ("/dev/disk/by-id/usb-Nothing-0:0", "is not there"),
        ("/dev/null", "neither a disk nor a file"),
        ("/dev", "is a folder"),
        ("folder", "is a folder"),
        ("pipe", "neither a disk nor a file"),
        ("circle", "cannot be looked at"),
        ("missing/card.img", "is no folder"),
        ("plain/card.img", "cannot be looked at"),
        ("to-dev", "is not there"),
        ("a\0b", "cannot be looked at"),
        ("x" * 300, "cannot be looked at"),
    ],
)
def test_what_is_no_card_is_refused_in_words(tmp_path: Path, named: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("a file")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "to-dev").symlink_to("/dev/sdzzz")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedError, match=words) as caught:
        linux.card_at(named if named.startswith("/") else f"{tmp_path}/{named}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_plain_file_is_a_card_and_so_is_one_that_is_not_there(tmp_path: Path, used: Path) -> None:
    judge([used, tmp_path / "new.img"], tmp_path / "artifacts", allow_fixed=False)
    assert not (tmp_path / "new.img").exists()


def is_attached(place: Place) -> AbstractContextManager[object]:
    blocks.need_disks()
    return attached(place.file)


def is_mounted_through_a_loop_device(place: Place) -> AbstractContextManager[object]:
    blocks.need_disks()
    return mounted(str(place.file), place.room / "mnt", "-o", f"ro,noload,loop,offset={MIB}")


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        (is_attached, "is in use by loop"),
        (is_mounted_through_a_loop_device, "is in use by loop"),
        (is_open, "is open in sleep"),
    ],
)
def test_a_plain_file_in_use_is_refused(tmp_path: Path, used: Path, situation: Situation, words: str) -> None:
    file = tmp_path / "card.img"
    file.write_bytes(used.read_bytes())
    place = Place(file, str(file), tmp_path)
    before = place.hash()
    with situation(place), pytest.raises(RefusedError, match=words):
        judge([file], tmp_path / "artifacts")
    assert place.hash() == before


# --------------------------------------------------------------------------------------- what is on a card

FULL = {"node": "titan-13", "image": "1a2b3c4d5e6f7a8b9c", "at": "2026-11-20T10:00:00+00:00", "serial": "7"}


def with_files(file: Path, files: dict[str, bytes]) -> Path:
    """Put files into /etc/metis of a card's Linux file system."""
    beside = file.with_name("content")
    commands = ["mkdir /etc", "mkdir /etc/metis"]
    for number, (name, content) in enumerate(files.items()):
        (beside.parent / f"content-{number}").write_bytes(content)
        commands.append(f"write {beside}-{number} /etc/metis/{name}")
    process.run(["debugfs", "-w", "-f", "-", f"{file}?offset={MIB}"], stdin="\n".join(commands).encode())
    return file


@pytest.fixture
def copy(tmp_path: Path, used: Path) -> Path:
    file = tmp_path / "card.img"
    file.write_bytes(used.read_bytes())
    return file


@pytest.mark.parametrize(
    ("files", "summary"),
    [
        ({}, "Linux, label rootfs"),
        (
            {"burn.json": record.fill(FULL), "node.json": b'{"node": "titan-13"}'},
            "titan-13, burned 2026-11-20 from image 1a2b3c4d5e6f",
        ),
        (
            {"burn.json": record.blank(), "node.json": b'{"node": "titan-13"}'},
            "titan-13, without a record of its burn",
        ),
        ({"burn.json": record.fill(FULL)}, "titan-13, burned 2026-11-20 from image 1a2b3c4d5e6f"),
        ({"node.json": b"{"}, "Linux, label rootfs"),
        ({"node.json": b"[1]"}, "Linux, label rootfs"),
        ({"node.json": b'{"node": 7}'}, "?, without a record of its burn"),
        ({"node.json": b'{"node": NaN}'}, "Linux, label rootfs"),
        ({"node.json": b'{"node": 1e999}'}, "Linux, label rootfs"),
        ({"node.json": b'{"node": ' + b"9" * 5000 + b"}"}, "Linux, label rootfs"),
        ({"node.json": b'{"a":' * 5000}, "Linux, label rootfs"),
        ({"node.json": b'{"a":' * 40 + b"1" + b"}" * 40}, "Linux, label rootfs"),
        ({"node.json": b'{"node": "' + b"x" * MIB + b'"}'}, "Linux, label rootfs"),
        ({"node.json": b"\xff\xfe"}, "Linux, label rootfs"),
        (
            {"node.json": b'{"node": "a\\u001b[2J\\nb\\u202e"}'},
            r"a\x1b[2J b\u202e, without a record of its burn",
        ),
        ({"node.json": b'{"node": "' + b"x" * 999 + b'"}'}, f"{'x' * 79}…, without a record of its burn"),
    ],
)
def test_a_card_says_whose_it_is(copy: Path, files: dict[str, bytes], summary: str) -> None:
    before = with_files(copy, files).read_bytes()
    found = inspect(copy)
    assert found.summary == summary
    assert copy.read_bytes() == before
    told = json.loads(json.dumps(found.to_data(), allow_nan=False))
    assert told["scheme"] == "gpt"
    assert [each["number"] for each in told["partitions"]] == [1, 2]
    assert told["summary"].isprintable()


def test_a_device_says_whose_it_is(place: Place) -> None:
    with_files(place.file, {"burn.json": record.fill(FULL)})
    process.run(["blockdev", "--flushbufs", place.device])
    found = inspect(Path(place.device))
    assert found.record is not None
    assert found.record["serial"] == "7"


def zeros(path: Path) -> None:
    path.write_bytes(bytes(2 * MIB))


def nothing(path: Path) -> None:
    path.touch()


def noise(path: Path) -> None:
    path.write_bytes(b"\x01\x02\x03\x04" * (MIB // 2))


def a_stick(path: Path) -> None:
    zeros(path)
    process.run(["mkfs.vfat", "-n", "CAMERA", path])


def a_folder(path: Path) -> None:
    path.mkdir()


def without_end(path: Path) -> None:
    card(path)
    os.truncate(path, 3 * MIB)


@pytest.mark.parametrize(
    ("make", "summary"),
    [
        (zeros, "empty"),
        (nothing, "empty"),
        (noise, "no partition table"),
        (a_stick, "vfat, label CAMERA"),
        (a_folder, "cannot be read: is a directory"),
        (lambda path: None, "cannot be read: no such file or directory"),
        (without_end, "cut off"),
    ],
    ids=["zeros", "nothing", "noise", "a stick", "a folder", "missing", "without end"],
)
def test_a_card_of_nobody_is_told_of_too(tmp_path: Path, make: Callable[[Path], None], summary: str) -> None:
    make(tmp_path / "card.img")
    found = inspect(tmp_path / "card.img")
    assert summary in found.summary
    assert found.node is None
    assert found.record is None
    assert json.loads(json.dumps(found.to_data()))["summary"] == found.summary
