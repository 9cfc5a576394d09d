"""Cards on Windows are found, opened with their volumes locked and written whole (stand-in of Win32)."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.card import kernel32, physical_drive, windows
from pipeline.card.cards import Card
from pipeline.card.medium import buffer
from pipeline.card.physical_drive import WindowsMedium, WindowsOpener
from pipeline.errors import MetisError, RefusedError, UsageError
from tests.support.win32 import INVALID_PARAMETER, NOT_CONNECTED, Disk, Volume, Win32

MIB = 1 << 20
SIZE = 8 * MIB
PATH = r"\\.\PhysicalDrive2"
VOLUME = r"\\?\Volume{11111111-2222-3333-4444-555555555555}"
OTHER = r"\\?\Volume{66666666-7777-8888-9999-aaaaaaaaaaaa}"


def card_of(disk: Disk, serial: str = "058F63666485") -> Card:
    return Card(PATH, "disk", disk.size, serial=serial, number=str(disk.number), removable=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "card"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def machine(file: Path) -> Win32:
    """A machine with a card that has one volume behind its first MiB, and a volume of another disk."""
    made = Win32(locks=file.parent)
    made.add(file, serial=b"058F63666485")
    made.volumes = [Volume(OTHER, ((0, 0, 1 << 40),), is_used=True), Volume(VOLUME, ((2, MIB, SIZE - MIB),))]
    return made


def opened(machine: Win32, card: Card | None = None) -> AbstractContextManager[WindowsMedium]:
    card = card or card_of(machine.disks[2])
    return opener_of(machine, card).open(card)


def opener_of(machine: Win32, now: Card, pauses: list[float] | None = None) -> WindowsOpener:
    """What opens cards, and finds `now` there when they are open."""
    pauses = [] if pauses is None else pauses
    return WindowsOpener(machine.kernel(), lambda _path: now, machine.locks, pauses.append)


def filled(data: bytes) -> memoryview:
    view = buffer(len(data))
    view[:] = data
    return view


# ---------------------------------------------------------------------------------------- opening


def test_a_card_is_written_with_its_volumes_locked_and_dismounted(machine: Win32, file: Path) -> None:
    data = os.urandom(SIZE)
    volume = machine.volumes[1]
    with opened(machine) as medium:
        assert (medium.size, medium.alignment) == (SIZE, 4096)
        assert volume.locked_by is not None
        assert not volume.is_mounted
        medium.write(0, filled(data))
        medium.sync()
        back = buffer(SIZE)
        medium.read(0, back)
        assert back == data
    assert file.read_bytes() == data
    assert machine.disks[2].updates == 1
    assert machine.handles == {}
    assert machine.volumes[0].dismounts == 0


def test_the_stand_in_refuses_a_write_below_a_mounted_volume(machine: Win32, file: Path) -> None:
    kernel = machine.kernel()
    before = file.read_bytes()
    with kernel.opened(PATH, 0xC0000000, 3, kernel32.OPEN_EXISTING, kernel32.NO_BUFFERING) as handle:
        medium = WindowsMedium(kernel, handle, SIZE)
        with pytest.raises(kernel32.Win32Error, match="access is denied"):
            medium.write(MIB, filled(bytes(4096)))
    assert file.read_bytes() == before


def break_used(machine: Win32) -> None:
    machine.volumes[1].is_used = True


def break_number(machine: Win32) -> None:
    machine.disks[2].number = 3


def break_size(machine: Win32) -> None:
    machine.disks[2].size -= MIB


def break_serial(machine: Win32) -> None:
    machine.disks[2].serial = b"ANOTHER"


def break_kind(machine: Win32) -> None:
    machine.disks[2].kind = 2  # a DVD


def break_presence(machine: Win32) -> None:
    del machine.disks[2]


def break_device(machine: Win32) -> None:
    machine.fails = lambda name, count: 1117 if name == "DeviceIoControl" and count == 1 else 0


def break_span(machine: Win32) -> None:
    machine.volumes[1].extents = ((2, MIB, MIB), (5, 0, MIB))


def break_extents(machine: Win32) -> None:
    machine.volumes[0].answer = 1117


def break_search(machine: Win32) -> None:
    machine.fails = lambda name, _count: 8 if name == "FindNextVolumeW" else 0


def break_first_search(machine: Win32) -> None:
    machine.fails = lambda name, _count: 8 if name == "FindFirstVolumeW" else 0


def break_volume(machine: Win32) -> None:
    machine.volumes[1].locked_by = 4


def break_second_volume(machine: Win32) -> None:
    machine.volumes.append(Volume(OTHER.replace("6", "b"), ((2, 0, 512),), is_used=True))


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (break_used, "cannot be locked"),
        (break_number, "is not the card any more"),
        (break_size, "is not the card any more"),
        (break_serial, "is not the card any more"),
        (break_kind, "is not the card any more"),
        (break_presence, "is gone"),
        (break_device, "does not say which card it is"),
        (break_span, "lies on several disks"),
        (break_extents, "cannot be told which volumes"),
        (break_search, "cannot be told which volumes"),
        (break_first_search, "cannot be told which volumes"),
        (break_volume, "cannot be opened"),
        (break_second_volume, "cannot be locked"),
    ],
)
def test_who_is_refused_finds_everything_as_it_was(
    machine: Win32, file: Path, break_it: object, words: str
) -> None:
    card, before = card_of(machine.disks[2]), file.read_bytes()
    assert callable(break_it)
    break_it(machine)
    with pytest.raises(RefusedError, match=words) as caught, opened(machine, card):
        pytest.fail("it was opened")
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == before
    assert machine.handles == {}
    assert not any(volume.dismounts for volume in machine.volumes)


@pytest.mark.parametrize(
    "now",
    [
        {"serial": "ANOTHER"},
        {"size": SIZE * 2},
        {"number": "3"},
        {"sequence": "2"},
    ],
)
def test_a_card_that_looks_different_once_it_is_open_is_refused(
    machine: Win32, now: dict[str, object]
) -> None:
    card = card_of(machine.disks[2])
    changed = replace(card, **now)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="any more"), opener_of(machine, changed).open(card):
        pytest.fail("it was opened")
    assert machine.handles == {}


@pytest.mark.parametrize("told", [b"", b"  058f-6366 6485", b"XX058F63666485", b"3666485"])
def test_a_serial_number_may_be_told_in_another_way(machine: Win32, told: bytes) -> None:
    machine.disks[2].serial = told
    with opened(machine) as medium:
        assert medium.size == SIZE


def test_two_burns_do_not_meet_on_a_card_without_volumes(machine: Win32) -> None:
    machine.volumes.clear()
    with opened(machine) as medium:
        with pytest.raises(RefusedError, match="in use"), opened(machine):
            pytest.fail("it was opened twice")
        medium.write(0, buffer(4096))
    with opened(machine):
        pass


def test_a_volume_that_is_only_looked_at_is_waited_for(machine: Win32) -> None:
    machine.volumes[1].uses_left = 3
    card, pauses = card_of(machine.disks[2]), list[float]()
    with opener_of(machine, card, pauses).open(card):
        assert len(pauses) == 3


@pytest.mark.parametrize("answer", [kernel32.INVALID_FUNCTION, kernel32.NOT_READY])
def test_a_volume_that_is_on_no_disk_is_left_alone(machine: Win32, answer: int) -> None:
    machine.volumes[0].answer = answer
    with opened(machine):
        assert machine.volumes[1].locked_by


def test_a_volume_of_many_disks_is_understood(machine: Win32) -> None:
    machine.volumes[0].extents = tuple((number, 0, MIB) for number in range(10, 60))
    with opened(machine):
        assert machine.volumes[1].locked_by


def test_without_rights_the_error_says_which_terminal_to_use(machine: Win32) -> None:
    machine.elevated = False
    with pytest.raises(MetisError, match="administrator") as caught, opened(machine):
        pytest.fail("it was opened")
    assert caught.value.exit_code == 1


def test_locks_are_given_back_after_a_failure(machine: Win32) -> None:
    with pytest.raises(KeyboardInterrupt), opened(machine):
        raise KeyboardInterrupt
    assert machine.volumes[1].locked_by is None
    assert machine.handles == {}


# -------------------------------------------------------------------------------------- transfers


def test_short_transfers_are_continued(machine: Win32, file: Path) -> None:
    machine.disks[2].most = 12 * 512
    data = os.urandom(MIB)
    with opened(machine) as medium:
        medium.write(MIB, filled(data))
        back = buffer(MIB)
        medium.read(MIB, back)
    assert back == data
    assert file.read_bytes()[MIB : 2 * MIB] == data


@settings(max_examples=25)
@given(st.integers(0, 5000), st.booleans(), st.integers(1, 4))
def test_memory_that_does_not_begin_on_a_page_is_copied(
    tmp_path_factory: pytest.TempPathFactory, skip: int, is_read_only: bool, blocks: int
) -> None:
    file = tmp_path_factory.mktemp("card") / "card"
    file.write_bytes(bytes(MIB))
    machine = Win32(locks=file.parent)
    machine.add(file)
    data = os.urandom(blocks * 4096)
    around = bytes(skip) + data
    with opened(machine) as medium:
        medium.write(4096, memoryview(around if is_read_only else bytearray(around))[skip:])
        back = bytearray(skip + len(data))
        medium.read(4096, memoryview(back)[skip:])
    assert back[skip:] == data
    assert not any(back[:skip])


@pytest.mark.parametrize(("offset", "length"), [(1, 512), (512, 100), (4095, 4096)])
def test_what_is_not_whole_sectors_fails(machine: Win32, offset: int, length: int) -> None:
    with opened(machine) as medium, pytest.raises(kernel32.Win32Error) as caught:
        medium.write(offset, filled(bytes(length)))
    assert caught.value.code == INVALID_PARAMETER


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (23, "EIO"),
        (1117, "EIO"),
        (112, "ENOSPC"),
        (19, "EROFS"),
        (NOT_CONNECTED, "ENODEV"),
        (123456, "EIO"),
    ],
)
@pytest.mark.parametrize("function", ["ReadFile", "WriteFile", "FlushFileBuffers"])
def test_an_error_of_a_transfer_has_its_number_and_words(
    machine: Win32, function: str, code: int, kind: str
) -> None:
    machine.fails = lambda name, _count: code if name == function else 0
    with opened(machine) as medium:
        act = {"ReadFile": medium.read, "WriteFile": medium.write, "FlushFileBuffers": medium.sync}[function]
        arguments = () if function == "FlushFileBuffers" else (0, buffer(4096))
        with pytest.raises(OSError, match=f"Windows error {code}") as caught:
            act(*arguments)  # type: ignore[operator]
    assert caught.value.errno == getattr(errno, kind)


def test_a_card_that_is_pulled_out_fails_everything(machine: Win32) -> None:
    with opened(machine) as medium:
        machine.disks[2].is_gone = True
        with pytest.raises(OSError, match="gone"):
            medium.read(0, buffer(4096))
        with pytest.raises(OSError, match="gone"):
            medium.write(0, buffer(4096))
        with pytest.raises(OSError, match="gone"):
            medium.sync()
    assert machine.handles == {}


def test_a_transfer_that_gets_nowhere_is_an_error(machine: Win32) -> None:
    with opened(machine) as medium:
        machine.disks[2].most = 0
        with pytest.raises(OSError, match="at byte 0"):
            medium.write(0, buffer(4096))


def test_the_end_of_a_card_of_odd_size_is_reached(tmp_path: Path) -> None:
    file = tmp_path / "card"
    file.write_bytes(bytes(MIB + 512))
    machine = Win32(locks=file.parent)
    machine.add(file)
    with opened(machine) as medium:
        assert medium.alignment == 512
        medium.write(MIB, filled(b"x" * 512))
    assert file.read_bytes()[MIB:] == b"x" * 512


def test_a_place_behind_four_gigabytes_is_reached(tmp_path: Path) -> None:
    file = tmp_path / "card"
    with file.open("wb") as sparse:
        sparse.truncate(5 << 30)
    machine = Win32(locks=file.parent)
    machine.add(file)
    with opened(machine) as medium:
        medium.write((4 << 30) + 4096, filled(b"y" * 4096))
        back = buffer(4096)
        medium.read((4 << 30) + 4096, back)
        assert back == b"y" * 4096
        medium.read(4096, back)
        assert back == bytes(4096)


# ------------------------------------------------------------------------------------ plain files


@pytest.mark.parametrize("size", [MIB, MIB + 512, MIB + 1])
def test_a_plain_file_is_made_and_written(tmp_path: Path, size: int) -> None:
    path, machine, data = tmp_path / "card.img", Win32(locks=tmp_path), os.urandom(size)
    with opened(machine, Card(str(path), "file", size)) as medium:
        medium.write(0, filled(data))
        medium.sync()
    assert path.read_bytes() == data
    with opened(machine, Card(str(path), "file", size)) as medium:
        back = buffer(size)
        medium.read(0, back)
        assert back == data


def test_a_file_that_was_made_goes_where_the_burn_fails_and_another_stays(tmp_path: Path) -> None:
    new, old, machine = tmp_path / "new.img", tmp_path / "old.img", Win32(locks=tmp_path)
    old.write_bytes(b"o" * 4096)
    for path in (new, old):
        with pytest.raises(KeyboardInterrupt), opened(machine, Card(str(path), "file", 4096)):
            raise KeyboardInterrupt
    assert not new.exists()
    assert old.read_bytes() == b"o" * 4096


def test_two_burns_do_not_meet_in_a_file(tmp_path: Path) -> None:
    card, machine = Card(str(tmp_path / "card.img"), "file", 4096), Win32(locks=tmp_path)
    with opened(machine, card):
        with pytest.raises(RefusedError, match="in use"), opened(machine, card):
            pytest.fail("it was opened twice")
        assert Path(card.path).exists()


def test_a_file_that_changed_its_size_or_has_none_is_refused(tmp_path: Path) -> None:
    path, machine = tmp_path / "card.img", Win32(locks=tmp_path)
    path.write_bytes(bytes(4096))
    for size, words in ((8192, "any more"), (0, "no size")):
        with pytest.raises(RefusedError, match=words), opened(machine, Card(str(path), "file", size)):
            pytest.fail("it was opened")


# -------------------------------------------------------------------------------------- what is named

ANSWER = Path(__file__).parents[1] / "cases/get_disk/laptop/answer.json"


def ask() -> bytes:
    return ANSWER.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        PATH,
        r"\\.\physicaldrive2",
        r"\\?\PHYSICALDRIVE2",
        r"\\?\USBSTOR#Disk&Ven_Generic&Prod_SD_MMC&Rev_1.00#058F63666485&0#{53f56307-b6bf-11d0-94f2-00a0c91efb8b}",
    ],
)
def test_a_disk_is_found_by_its_number_and_its_lasting_name(name: str) -> None:
    assert windows.card_at(name, ask).path == PATH


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        (r"\\.\PhysicalDrive9", RefusedError, "no disk of this machine"),
        (r"\\.\COM1", RefusedError, "no disk of this machine"),
        (r"\\.\PhysicalDrive2\Partition1", RefusedError, "no disk of this machine"),
        (r"\\?\Volume{11111111-2222-3333-4444-555555555555}", UsageError, "is a volume"),
        (r"\\.\E:", UsageError, "is a volume"),
        ("E:", UsageError, "is a volume"),
        ("e:\\", UsageError, "is a volume"),
        ("NUL", UsageError, "is a device"),
        ("C:\\cards\\nul.img", UsageError, "is a device"),
        ("com1", UsageError, "is a device"),
        ("tests", UsageError, "is a folder"),
    ],
)
def test_what_is_no_card_is_refused_in_words(name: str, error: type[MetisError], words: str) -> None:
    with pytest.raises(error, match=words):
        windows.card_at(name, ask)


def test_a_plain_file_is_a_card_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "card.img"
    assert windows.card_at(str(path), ask) == Card(str(path), "file", 0)
    path.write_bytes(b"12345")
    assert windows.card_at(str(path), ask) == Card(str(path), "file", 5)


def test_what_must_not_be_lost_has_mount_points(tmp_path: Path) -> None:
    found = windows.system_mounts(tmp_path)
    assert {"[Windows]", "[SWAP]", tmp_path.anchor} <= set(found)
    assert windows.openers(Card(PATH, "disk", 1)) == ()


@pytest.mark.skipif(sys.platform == "win32", reason="it is one")
def test_elsewhere_there_is_no_kernel32() -> None:
    with pytest.raises(MetisError, match="no Windows"):
        windows.platform()


def test_the_control_codes_are_made_as_windows_makes_them() -> None:
    def code(device: int, function: int, access: int = 0) -> int:  # CTL_CODE of winioctl.h, METHOD_BUFFERED
        return device << 16 | access << 14 | function << 2

    disk, file_system, mass_storage, volume = 7, 9, 0x2D, 0x56
    assert code(disk, 0x17, access=1) == physical_drive.LENGTH_INFO
    assert code(disk, 0x50) == physical_drive.UPDATE_PROPERTIES
    assert code(mass_storage, 0x500) == physical_drive.QUERY_PROPERTY
    assert code(mass_storage, 0x420) == physical_drive.DEVICE_NUMBER
    assert code(volume, 0) == physical_drive.VOLUME_EXTENTS
    assert code(file_system, 6) == physical_drive.LOCK_VOLUME
    assert code(file_system, 8) == physical_drive.DISMOUNT_VOLUME
