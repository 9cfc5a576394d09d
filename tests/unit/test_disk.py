"""Layouts of images as sfdisk makes them, whole, damaged and made to mislead."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.machine import process
from pipeline.raw import disk

MIB = 1 << 20
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BOOT_CODE = b"\xfa\x33\xc0boot code"
GPT = (
    "label: gpt\nstart=2048, size=8192, type=uefi, name=boot, attrs=LegacyBIOSBootable\n"
    "size=16384, type=linux"
)
MBR = "label: dos\nstart=2048, size=8192, type=c, bootable\nsize=16384, type=83"
LOGICAL = (
    "label: dos\nstart=2048, size=8192, type=c\nstart=10240, size=32768, type=f\n"
    "start=12288, size=4096, type=83\nstart=18432, size=4096, type=83"
)
MBR_ENTRY = 446  # where the first of the four entries of 16 bytes lies


def image(folder: Path, script: str, size: int = 32 * MIB, name: str = "node.img") -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    process.run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", path], stdin=script.encode())
    return path


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(data)


def words(path: Path) -> list[str]:
    """What sfdisk says of ids, types, names, flags and starts."""
    text = process.run(["sfdisk", "--dump", path]).out.decode()
    kept = [line for line in text.splitlines() if "last-lba" not in line]
    return [word for line in kept for word in line.split(",") if "size=" not in word]


@pytest.mark.parametrize(
    ("script", "scheme", "types"), [(GPT, "gpt", (ESP, LINUX)), (MBR, "dos", ("0c", "83"))]
)
def test_a_table_is_read(tmp_path: Path, script: str, scheme: str, types: tuple[str, ...]) -> None:
    found = disk.read(image(tmp_path, script))
    assert (found.scheme, found.size, found.sector) == (scheme, 32 * MIB, 512)
    assert tuple(each.type for each in found.partitions) == types
    places = [(each.number, each.start, each.size, each.end) for each in found.partitions]
    assert places == [(1, MIB, 4 * MIB, 5 * MIB), (2, 5 * MIB, 8 * MIB, 13 * MIB)]
    assert {each.filesystem for each in found.partitions} == {None}


@pytest.mark.parametrize("name", ["titan-22.img", "disk8", "p7", "-q", 'a "b"\\c p1', "mydisc"])
def test_numbers_are_of_the_table_whatever_the_file_is_called(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "label: gpt\nfirst-lba: 34\n15: start=2048, size=2048\n1: start=4096, size=2048\n14: start=34, size=8"
    )
    monkeypatch.chdir(image(tmp_path, script).parent)
    Path("node.img").rename(name)
    found = {each.number: each.start // 512 for each in disk.read(Path(name)).partitions}
    assert found == {15: 2048, 1: 4096, 14: 34}


def test_what_a_partition_holds_is_probed(tmp_path: Path) -> None:
    path = image(tmp_path, GPT)
    process.run(["mkfs.vfat", "-n", "MY BOOT", "-i", "1234abcd", "--offset=2048", path, "4096"])
    uuid = "0a1b2c3d-0000-4000-8000-123456789abc"
    options = ["-t", "ext4", "-U", uuid, "-L", 'é "x\\20', "-E", f"offset={5 * MIB}"]
    process.run(["mke2fs", "-q", *options, path, "8M"])
    boot, root = disk.read(path).partitions
    assert (boot.filesystem, boot.label, boot.uuid) == ("vfat", "MY BOOT", "1234-ABCD")
    assert (root.filesystem, root.label, root.uuid) == ("ext4", 'é "x\\20', uuid)


def test_logical_partitions_are_there_and_their_container_is_not(tmp_path: Path) -> None:
    found = disk.read(image(tmp_path, LOGICAL))
    assert [(each.number, each.type) for each in found.partitions] == [(1, "0c"), (5, "83"), (6, "83")]


def bare(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def entry(number: int, start: int, size: int) -> tuple[int, bytes]:
    return MBR_ENTRY + 16 * number + 8, struct.pack("<II", start, size)


@pytest.mark.parametrize(
    ("start", "size", "said"),
    [
        (2048, 0, "partition 1 of {} has no size"),
        (0, 8192, "partition 1 of {} has no size or no place"),
        (4096, 8192, "partitions 1 and 2 of {} overlap"),
        (2048, 2**32 - 1, "{} is cut off: partition 1 needs"),
    ],
)
def test_entries_that_make_no_sense_are_refused(tmp_path: Path, start: int, size: int, said: str) -> None:
    path = image(tmp_path, MBR)
    put(path, *entry(0, start, size))
    with pytest.raises(MetisError) as caught:
        disk.read(path)
    assert said.format(path) in str(caught.value)


@pytest.mark.parametrize(
    ("script", "size", "said"),
    [
        (GPT, 8 * MIB, "the GPT of {} is damaged or cut off"),
        (MBR, 8 * MIB, "{} is cut off: partition 2 needs"),
    ],
)
def test_an_image_that_was_cut_off_is_refused(tmp_path: Path, script: str, size: int, said: str) -> None:
    path = image(tmp_path, script)
    with path.open("rb+") as file:
        file.truncate(size)
    with pytest.raises(MetisError) as caught:
        disk.read(path)
    assert said.format(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.img"
    with pytest.raises(MetisError, match=f"cannot read {path}: no such file"):
        disk.read(path)
    for size, said in (
        (0, "{} is empty"),
        (MIB, "{} has no partition table"),
        (100, "cannot read the partition table of {}"),
    ):
        bare(path, size)
        with pytest.raises(MetisError) as caught:
            disk.read(path)
        assert said.format(path) in str(caught.value)
    process.run(["mkfs.vfat", "-C", tmp_path / "fat", "1024"])
    with pytest.raises(MetisError, match="fat has no partitions"):
        disk.read(tmp_path / "fat")
    with pytest.raises(MetisError, match="partition table of kind 'sun'"):
        disk.read(image(tmp_path, "label: sun\nstart=0, size=16065, type=83"))


def test_overlaps_in_a_gpt_are_refused(tmp_path: Path) -> None:
    path = image(tmp_path, GPT)
    data = path.read_bytes()
    first, last = struct.unpack_from("<QQ", data, 1024 + 32)
    moved = data.replace(struct.pack("<QQ", first, last), struct.pack("<QQ", first, last + 4096))
    path.write_bytes(moved)
    with pytest.raises(MetisError, match=r"GPT of .* is damaged|overlap|cannot read the partition table"):
        disk.read(path)


# -------------------------------------------------------------------------------------------- growing


@pytest.mark.parametrize("script", [GPT, MBR])
@pytest.mark.parametrize("extra", [MIB, 7 * MIB + 512])
def test_the_last_partition_grows_and_nothing_else_changes(tmp_path: Path, script: str, extra: int) -> None:
    path = image(tmp_path, f"{script}, name=root" if script is GPT else script)
    put(path, 0, BOOT_CODE)
    put(path, 5 * MIB, b"root's first bytes")
    before, old = words(path), disk.read(path)
    head = path.read_bytes()[:446]
    grown = disk.grow_last(path, 2, extra)
    assert words(path) == before
    assert path.read_bytes()[:446] == head
    assert path.read_bytes()[5 * MIB :].startswith(b"root's first bytes")
    assert grown.size == path.stat().st_size == old.size + extra
    assert grown.partitions[0] == old.partitions[0]
    root = grown.partitions[1]
    room = grown.size - (disk.GPT_BACKUP_SECTORS * 512 if script is GPT else 0)
    assert root.end % MIB == 0
    assert room - MIB < root.end <= room
    assert path.stat().st_blocks * 512 < MIB
    assert b"No errors detected" in process.run(["sfdisk", "--verify", path]).out
    if script is GPT:
        assert b"No problems found" in process.run(["sgdisk", "-v", path]).out


def test_the_boot_flag_of_a_protective_mbr_stays(tmp_path: Path) -> None:
    path = image(tmp_path, GPT)
    put(path, MBR_ENTRY, b"\x80")
    disk.grow_last(path, 2, MIB)
    assert path.read_bytes()[MBR_ENTRY] == 0x80


@pytest.mark.parametrize(
    ("script", "number", "extra", "said"),
    [
        (GPT, 1, MIB, "partition 1 of .* cannot grow: partition 2 lies last"),
        (MBR, 9, MIB, "partition 9 of .* cannot grow: partition 2 lies last"),
        (LOGICAL, 6, MIB, "the disk has an extended partition"),
        (GPT, 2, 0, "no room"),
        (GPT, 2, -MIB, "no room"),
        ("label: dos\nstart=2048", 1, 4096, "no room"),
    ],
)
def test_growth_that_cannot_be_is_refused(
    tmp_path: Path, script: str, number: int, extra: int, said: str
) -> None:
    path = image(tmp_path, script)
    before = path.read_bytes()
    with pytest.raises(MetisError, match=said):
        disk.grow_last(path, number, extra)
    assert path.read_bytes() == before


def test_a_failed_growth_leaves_the_old_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image(tmp_path, MBR)
    run = process.run

    def fail(argv: list[str], **options: object) -> process.Finished:
        if "-N" in argv:
            raise process.ToolError("sfdisk failed")
        return run(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(process, "run", fail)
    with pytest.raises(MetisError, match="sfdisk failed"):
        disk.grow_last(path, 2, MIB)
    assert path.stat().st_size == 32 * MIB


# ---------------------------------------------------------------------------------------------- own ids


@pytest.mark.parametrize("script", [GPT, MBR, LOGICAL])
def test_each_owners_disk_has_ids_of_its_own_and_always_the_same(tmp_path: Path, script: str) -> None:
    path = image(tmp_path, script)
    golden = disk.read(path)
    ids: dict[str, list[str]] = {}
    for owner in ("titan-13", "titan-15", "titan-13"):
        found = disk.with_own_ids(path, owner)
        assert found == disk.read(path)
        of_owner = [each.partuuid for each in found.partitions]
        assert ids.setdefault(owner, of_owner) == of_owner
    known = [*ids["titan-13"], *ids["titan-15"], *(each.partuuid for each in golden.partitions)]
    assert len(set(known)) == len(known)


@pytest.mark.parametrize("script", [GPT, MBR])
def test_ids_are_all_that_changes(tmp_path: Path, script: str) -> None:
    path = image(tmp_path, script)
    put(path, 0, BOOT_CODE)
    put(path, MBR_ENTRY, b"\x80")
    put(path, 5 * MIB, b"root's first bytes")
    before, old = words(path), disk.read(path)
    disk.with_own_ids(path, "titan-13")
    changed = {one.split("=")[0].split(":")[0].strip() for one in set(words(path)) ^ set(before)}
    assert changed == ({"uuid"} if script is GPT else {"label-id"})
    new = disk.read(path)
    assert [replace(each, partuuid="") for each in new.partitions] == [
        replace(each, partuuid="") for each in old.partitions
    ]
    # The four bytes from 440 on are an MBR's id.
    assert path.read_bytes()[:440].startswith(BOOT_CODE)
    assert path.read_bytes()[MBR_ENTRY] == 0x80
    assert path.read_bytes()[5 * MIB :].startswith(b"root's first bytes")
    assert b"No errors detected" in process.run(["sfdisk", "--verify", path]).out


def test_an_owners_ids_outlast_a_growth(tmp_path: Path) -> None:
    path = image(tmp_path, GPT)
    ids = [each.partuuid for each in disk.with_own_ids(path, "titan-13").partitions]
    assert [each.partuuid for each in disk.grow_last(path, 2, MIB).partitions] == ids


def test_an_edit_is_told_the_ids_of_root_and_boot(tmp_path: Path) -> None:
    found = disk.with_own_ids(image(tmp_path, MBR), "titan-13")
    id_of_disk = found.partitions[0].partuuid.removesuffix("-01")
    assert re.fullmatch("[0-9a-f]{8}", id_of_disk)
    assert disk.facts(found, root=2, boot=1) == {
        "root_partuuid": f"{id_of_disk}-02",
        "boot_partuuid": f"{id_of_disk}-01",
    }
    assert disk.facts(found, root=2, boot=None) == {"root_partuuid": f"{id_of_disk}-02"}
