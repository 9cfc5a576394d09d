"""What PowerShell says about disks becomes cards; what it does not clearly say keeps a disk from a burn."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.card import get_disk
from pipeline.card.cards import Card
from pipeline.card.policy import Request, refusals
from pipeline.errors import MetisError

CASES = Path(__file__).parents[1] / "cases/get_disk"
SYSTEM = {"[Windows]": "the running Windows", "[SWAP]": "a page file", "C:\\": "the home folders"}
GOOD: dict[str, Any] = {
    "Number": 2,
    "Path": r"\\?\usbstor#disk#1",
    "Manufacturer": "Generic-",
    "Model": "SD/MMC",
    "FriendlyName": "Generic- SD/MMC",
    "SerialNumber": "058F63666485",
    "Size": 31914983424,
    "LogicalSectorSize": 512,
    "NumberOfPartitions": 1,
    "IsBoot": False,
    "IsSystem": False,
    "IsReadOnly": False,
    "IsOffline": False,
    "IsClustered": False,
    "BusType": 7,
}
PARTITION: dict[str, Any] = {
    "DiskNumber": 2,
    "PartitionNumber": 1,
    "AccessPaths": ["E:\\", "\\\\?\\Volume{11111111-2222-3333-4444-555555555555}\\"],
    "MbrType": 12,
    "GptType": None,
    "IsBoot": False,
    "IsSystem": False,
    "DriveLetter": "E",
}


def answer(
    disk: dict[str, Any] | None = None, partition: dict[str, Any] | None = None, **more: object
) -> bytes:
    data = {
        "Disks": [{**GOOD, **(disk or {})}],
        "Partitions": [{**PARTITION, **(partition or {})}],
        "Drives": [{"Index": 2, "Capabilities": [3, 4, 7]}],
        "PageFiles": [{"Name": "C:\\pagefile.sys"}],
        **more,
    }
    return json.dumps(data).encode()


def only(data: bytes) -> Card:
    (card,) = get_disk.cards(data)
    return card


def judged(card: Card, *, allow_fixed: bool = False) -> tuple[str, ...]:
    named = card.names[0] if card.names else card.path
    return refusals(card, Request(named, 8 << 30, 10**15, allow_fixed=allow_fixed, system=SYSTEM))


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_an_answer_gives_these_cards(case: Path) -> None:
    found = get_disk.cards((case / "answer.json").read_bytes())
    plain = json.loads(json.dumps([dataclasses.asdict(card) for card in found]))
    assert plain == json.loads((case / "expected.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("case", "writable"),
    [("laptop", {"2"}), ("one_disk", {"0"}), ("tablet", set()), ("server", set())],
)
def test_of_these_disks_only_cards_may_be_written(case: str, writable: set[str]) -> None:
    found = get_disk.cards((CASES / case / "answer.json").read_bytes())
    assert {card.number for card in found if not judged(card)} == writable


@pytest.mark.parametrize(
    ("case", "meant"), [("laptop", {"2"}), ("one_disk", {"0"}), ("tablet", {"2"}), ("server", set())]
)
def test_allowing_fixed_disks_opens_none_that_is_in_use(case: str, meant: set[str]) -> None:
    found = get_disk.cards((CASES / case / "answer.json").read_bytes())
    assert {card.number for card in found if not judged(card, allow_fixed=True)} == meant


def test_a_plain_card_may_be_written_although_windows_gave_it_a_letter() -> None:
    card = only(answer())
    assert [mount.point for mount in card.mounts] == ["E:\\"]
    assert judged(card) == ()


NOTHING_SAID: list[object] = [None, "", "vielleicht", 2, [], {}, "True", True, 1]


@pytest.mark.parametrize("flag", ["IsBoot", "IsSystem", "IsReadOnly", "IsOffline", "IsClustered"])
@pytest.mark.parametrize("value", NOTHING_SAID, ids=repr)
def test_a_flag_that_does_not_clearly_say_no_refuses_a_disk(flag: str, value: object) -> None:
    assert judged(only(answer({flag: value})))


@pytest.mark.parametrize("flag", ["IsBoot", "IsSystem"])
@pytest.mark.parametrize("value", NOTHING_SAID, ids=repr)
def test_a_flag_of_a_partition_that_does_not_clearly_say_no_does_too(flag: str, value: object) -> None:
    assert any("running Windows" in reason for reason in judged(only(answer(None, {flag: value}))))


@pytest.mark.parametrize("value", [False, "False", "false", 0], ids=repr)
def test_a_clear_no_is_understood(value: object) -> None:
    flags = dict.fromkeys(["IsBoot", "IsSystem", "IsReadOnly", "IsOffline", "IsClustered"], value)
    assert judged(only(answer(flags, {"IsBoot": value, "IsSystem": value}))) == ()


NONSENSE: dict[str, list[object]] = {
    "Size": [None, "", -1, "viel", 1 << 64, 1 << 200, "9" * 40, 8.5e9, True, [], {"value": 1}],
    "LogicalSectorSize": [None, 0, 4096, "512 Bytes", -512],
    "BusType": [None, 0, 99, "", "Unknown", 17, 11, "NVMe", "USB\x00Stick"],
    "NumberOfPartitions": [None, 2, "many", -1],
}


@pytest.mark.parametrize(
    "disk",
    [{name: value} for name, values in NONSENSE.items() for value in values],
    ids=repr,
)
def test_a_number_that_is_missing_or_nonsense_refuses_a_disk(disk: dict[str, object]) -> None:
    assert judged(only(answer(disk)))


@pytest.mark.parametrize(
    ("drives", "bus", "removable"),
    [
        ([{"Index": 2, "Capabilities": [3, 4, 7]}], 7, True),
        ({"Index": "2", "Capabilities": 7}, 7, True),
        ([{"Index": 2, "Capabilities": {"value": [3, 4, 7], "Count": 3}}], 7, True),
        ([{"Index": 2, "Capabilities": [3, 4]}], 7, False),
        ([{"Index": 2, "Capabilities": None}], 7, False),
        ([{"Index": 1, "Capabilities": [7]}], 7, False),
        ([{"Capabilities": [7]}], 7, False),
        (None, 7, False),
        (None, 12, True),
        (None, 13, False),
        ([{"Index": 2, "Capabilities": [7]}], 13, True),
        ([{"Index": 2, "Capabilities": [7]}], "USB", True),
        ([{"Index": 2, "Capabilities": [7]}], 11, False),
        ([{"Index": 2, "Capabilities": [7]}], 15, False),
    ],
)
def test_a_card_is_what_can_be_pulled_out(drives: object, bus: object, removable: bool) -> None:
    card = only(answer({"BusType": bus}, Drives=drives))
    assert card.removable is removable
    assert card.mounts[0].released is removable


@pytest.mark.parametrize(
    ("partition", "points"),
    [
        ({}, ["E:\\"]),
        ({"DriveLetter": "\0", "AccessPaths": None}, []),
        ({"DriveLetter": None, "AccessPaths": "F:\\"}, ["F:\\"]),
        ({"DriveLetter": "e", "AccessPaths": []}, ["E:\\"]),
        ({"DriveLetter": "", "AccessPaths": ["c:\\mnt\\card\\"]}, ["c:\\mnt\\card\\"]),
        ({"DriveLetter": "EE", "AccessPaths": [None, 7, "\\\\?\\VOLUME{1}\\"]}, []),
        ({"DriveLetter": "C", "AccessPaths": ["C:\\"]}, ["C:\\", "[SWAP]"]),
    ],
    ids=repr,
)
def test_mounts_are_letters_and_folders(partition: dict[str, object], points: list[str]) -> None:
    assert [mount.point for mount in only(answer(None, partition)).mounts] == points


@pytest.mark.parametrize("point", ["C:\\", "c:\\mnt\\card\\"])
def test_what_somebody_mounted_on_purpose_or_needs_refuses_a_card(point: str) -> None:
    assert judged(only(answer(None, {"DriveLetter": "", "AccessPaths": [point]})))


@pytest.mark.parametrize(
    ("partition", "member"),
    [
        ({"MbrType": 0x42}, "a dynamic disk"),
        ({"MbrType": "142"}, "LVM"),
        ({"GptType": "{AF9B60A0-1431-4F62-BC68-3311714A69AD}"}, "a dynamic disk"),
        ({"GptType": "e75caf8f-f680-4cee-afa3-b001e56efc2d"}, "a storage pool"),
    ],
    ids=repr,
)
def test_a_part_of_a_larger_volume_is_known(partition: dict[str, object], member: str) -> None:
    card = only(answer(None, partition))
    assert card.members == (member,)
    assert judged(card)


def test_a_disk_that_came_or_went_between_two_questions_does_no_harm() -> None:
    came = get_disk.cards(answer(Partitions=[PARTITION, {**PARTITION, "DiskNumber": 3}]))
    assert [card.number for card in came if not judged(card)] == ["2"]
    went = only(answer(None, {"DiskNumber": 3}))
    assert went.mounts == ()
    assert judged(went)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (None, ""),
        ("  AB 12  ", "AB 12"),
        (17, ""),
        ("a\x1b[31mb\n", "a\\x1b[31mb"),
        ("\0\0", ""),
        (["x"], ""),
    ],
)
def test_words_of_a_disk_cannot_do_anything_to_a_terminal(said: object, known: str) -> None:
    card = only(answer({"SerialNumber": said, "Model": said, "FriendlyName": said}))
    assert (card.serial, card.model) == (known, known)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xef\xbb\xbf",
        b"null",
        b"[]",
        b"{}",
        b"7",
        b"Get-Disk : not found",
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b" " * (get_disk.LONGEST + 1),
        answer(Disks=[7]),
        answer(Disks="x"),
        answer(Disks=[[GOOD]]),
        answer({"Number": None}),
        answer({"Number": -1}),
        answer({"Number": 10**6}),
        answer({"Number": "C:"}),
        answer(Disks=[GOOD, GOOD]),
        answer(None, {"DiskNumber": None}),
        answer(Partitions=[3]),
        b'{"Disks":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_an_answer_in_which_disks_cannot_be_told_apart_is_refused(data: bytes) -> None:
    with pytest.raises(MetisError, match="cannot be used") as caught:
        get_disk.cards(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "path", [None, "", "unique", "C:\\card.img", PARTITION["AccessPaths"][1], 7, "\\\\?\\C:\\a#b"]
)
def test_what_could_be_something_else_is_no_lasting_name(path: object) -> None:
    card = only(answer({"Path": path, "BusType": 11}))
    assert card.names == ()
    assert any("no lasting name" in reason for reason in judged(card, allow_fixed=True))


def test_no_disk_is_no_card() -> None:
    assert get_disk.cards(b'{"Disks":null,"Partitions":null}') == ()
    assert get_disk.cards(b'{"Disks":[],"Partitions":[],"Drives":[],"PageFiles":[]}') == ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(sorted(GOOD)), VALUES),
    st.dictionaries(st.sampled_from(sorted(PARTITION)), VALUES),
    VALUES,
    VALUES,
)
def test_no_answer_gives_anything_but_cards_or_an_error(
    disk: dict[str, object], partition: dict[str, object], drives: object, pages: object
) -> None:
    try:
        found = get_disk.cards(answer(disk, partition, Drives=drives, PageFiles=pages))
    except MetisError:
        return
    for card in found:
        words = [card.serial, card.model, card.vendor, *card.names, *(each.point for each in card.mounts)]
        assert all(word.isprintable() for word in words)
        assert card.path == rf"\\.\PhysicalDrive{card.number}"
        assert 0 <= card.size < 1 << 63


@given(st.binary(max_size=200))
def test_no_bytes_give_anything_but_one_line(data: bytes) -> None:
    with pytest.raises(MetisError):
        get_disk.cards(data)
