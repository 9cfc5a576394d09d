"""What lsblk says becomes cards, and what it cannot say well never makes one that may be written.

A case is a folder: what lsblk printed, what sysfs tells besides, the cards, and what the policy says of each.
`virtual-machine` was recorded on one; the others were written as lsblk(8) prints such machines.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.card import lsblk, policy
from pipeline.card.cards import Card, Mount
from pipeline.card.linux import SYSTEM
from pipeline.card.lsblk import Fact
from pipeline.errors import MetisError

CASES = Path(__file__).parents[1] / "cases/cards"
GB = 10**9
DISK: dict[str, Any] = {
    "name": "sda",
    "kname": "sda",
    "path": "/dev/sda",
    "type": "disk",
    "size": 32 * GB,
    "rm": True,
    "ro": False,
    "tran": "usb",
    "vendor": "Generic ",
    "model": "SD/MMC",
    "serial": "1",
    "log-sec": 512,
    "maj:min": "8:0",
    "fstype": None,
    "mountpoints": [None],
}
"""A card that may be written."""


def said(*devices: object) -> bytes:
    return json.dumps({"blockdevices": devices}).encode()


def facts_of(case: Path) -> dict[str, Fact]:
    file = case / "facts.json"
    told = json.loads(file.read_text()) if file.exists() else {}
    listed = {"names", "holders", "points"}
    facts = {}
    for name, fact in told.items():
        words: dict[str, Any] = {key: tuple(value) if key in listed else value for key, value in fact.items()}
        facts[name] = Fact(**words)
    return facts


def request(card: Card) -> policy.Request:
    return policy.Request(card.path, 4 * GB, 256 * GB, allow_fixed=False, system=SYSTEM)


def is_free(card: Card) -> bool:
    return not policy.refusals(card, request(card))


def data_of(case: Path) -> dict[str, Any]:
    cards = lsblk.parse((case / "lsblk.json").read_bytes(), facts_of(case))
    usual = asdict(Card("", "disk", 0))
    return {
        "cards": [
            {key: value for key, value in asdict(card).items() if value != usual[key]}
            | {"mounts": [f"{mount.device} on {mount.point}" for mount in card.mounts]}
            | {"refusals": policy.refusals(card, request(card))}
            for card in cards
        ],
    }


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_each_machine_s_list_of_devices(case: Path) -> None:
    found = json.loads(json.dumps(data_of(case)))
    assert found == json.loads((case / "expected.json").read_text())


def test_a_plain_card_may_be_written() -> None:
    (card,) = lsblk.parse(said(DISK), {})
    assert is_free(card)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b"null",
        b'{"blockdevices": null, "x": }',
        b'{"blockdevices": {}}',
        b'{"blockdevices": [1]}',
        b'{"blockdevices": "sda"}',
        b'{"blockdevices": ' + b"[" * 100_000,
        b'{"blockdevices": [' + b'{"type": "disk", "children": [' * 1000 + b"]}" * 1000 + b"]}",
        said({**DISK, "children": {"name": "sda1"}}),
        said({**DISK, "children": ["sda1"]}),
        said({**DISK, "children": [{"name": "sda1", "type": "part"}]}),
        said(DISK, {**DISK, "maj:min": "8:16"}),
        *(
            said({key: value for key, value in DISK.items() if key != missing})
            for missing in ("path", "kname")
        ),
        *(
            said({**DISK, "path": path})
            for path in (7, None, "sda", "/etc/passwd", "/dev/../etc/x y", "/dev/a\x1b[2J")
        ),
        *(said({**DISK, "maj:min": number}) for number in (8, "8", "8:0:1", "a:b", "-1:0", None)),
        said({key: value for key, value in DISK.items() if key != "mountpoints"}),
    ],
)
def test_what_lsblk_never_writes_is_an_error_of_one_line(text: bytes) -> None:
    with pytest.raises(MetisError, match="lsblk") as caught:
        lsblk.parse(text, {})
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("size", [-1, -(32 * GB), 1 << 63, 10**30, 1e9, True, None, "32G", "-5", "", [], {}, "9" * 5000]),
        ("ro", [True, "1", 1, None, "", "no", [], 2, 0.5, "yes"]),
        ("rm", [False, "0", 0, None, "", "yes", [], 2]),
        ("log-sec", [4096, "4096", 0, None, -512, "512b", []]),
        ("mountpoints", [["/mnt"], "/mnt", [None, "\x1b[2J"], ["\n"], [7], 7, {"a": 1}, [[]], ["[SWAP]"]]),
        ("fstype", ["LVM2_member", "zfs_member", "linux_raid_member", "crypto_LUKS", "bcache", "jbd"]),
    ],
)
def test_what_is_not_known_for_sure_is_refused(key: str, values: list[object]) -> None:
    for value in values:
        (card,) = lsblk.parse(said({**DISK, key: value}), {})
        assert not is_free(card), value


def test_a_card_without_a_key_is_refused_or_no_card() -> None:
    for key in DISK.keys() - {"name", "tran", "vendor", "model", "serial", "fstype"}:
        try:
            cards = lsblk.parse(said({name: value for name, value in DISK.items() if name != key}), {})
        except MetisError:
            continue
        assert not any(map(is_free, cards)), key


@pytest.mark.parametrize("key", ["vendor", "model", "serial", "tran"])
def test_a_devices_own_words_are_made_fit_for_a_terminal(key: str) -> None:
    (card,) = lsblk.parse(said({**DISK, key: "a\x1b]0;title\x07\nb\u202e  "}), {})
    shown = {"vendor": card.vendor, "model": card.model, "serial": card.serial, "tran": card.bus}[key]
    assert shown == r"a\x1b]0;title\x07 b\u202e"


@pytest.mark.parametrize(
    ("device", "refused"),
    [
        ({"mountpoints": ["/"]}, "holds the running system"),
        ({"mountpoints": ["[SWAP]"]}, "swap space"),
        ({"type": "crypt", "name": "root"}, "is in use by root"),
        ({"fstype": "LVM2_member"}, "a part of a volume"),
    ],
)
@pytest.mark.parametrize("depth", [1, 2, 40])
def test_what_stands_on_a_card_counts_however_deep(device: dict[str, Any], refused: str, depth: int) -> None:
    tree: dict[str, Any] = {
        **DISK,
        "type": "part",
        "name": "deep",
        "kname": "deep",
        "path": "/dev/deep",
        **device,
    }
    for number in range(depth - 1):
        tree = {**DISK, "type": "part", "name": f"sda{number}", "kname": f"sda{number}", "children": [tree]}
    (card,) = lsblk.parse(said({**DISK, "children": [tree]}), {})
    assert any(refused in reason for reason in policy.refusals(card, request(card)))


@pytest.mark.parametrize(
    ("fact", "refused"),
    [
        (Fact(points=("/",)), "holds the running system"),
        (Fact(points=("/elsewhere",)), "is in use"),
        (Fact(holders=("md7",)), "is in use by md7"),
        (Fact(filesystem="zfs_member"), "a part of a volume"),
    ],
)
@pytest.mark.parametrize("name", ["sda", "sda1"])
def test_what_only_the_kernel_tells_counts_too(fact: Fact, refused: str, name: str) -> None:
    part = {**DISK, "type": "part", "name": "sda1", "kname": "sda1", "path": "/dev/sda1"}
    (card,) = lsblk.parse(said({**DISK, "children": [part]}), {name: fact})
    assert any(refused in reason for reason in policy.refusals(card, request(card)))


def test_a_built_in_readers_sd_card_is_removable_and_a_soldered_one_is_not() -> None:
    device = {**DISK, "name": "mmcblk0", "kname": "mmcblk0", "path": "/dev/mmcblk0", "rm": False}
    for medium, removable in {"SD": True, "MMC": False, "SDIO": False, "": False}.items():
        (card,) = lsblk.parse(said(device), {"mmcblk0": Fact(medium=medium)})
        assert card.removable is removable


def test_mount_points_are_told_once() -> None:
    (card,) = lsblk.parse(said({**DISK, "mountpoints": ["/a b", None]}), {"sda": Fact(points=("/a b", "/c"))})
    assert card.mounts == (Mount("/dev/sda", "/a b"), Mount("/dev/sda", "/c"))


WORDS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(list(DISK.values())[:13])
)
DEVICES = st.recursive(
    st.dictionaries(st.sampled_from([*DISK, "children"]), WORDS).map(lambda some: {**DISK, **some}),
    lambda inner: st.tuples(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(list(DISK)), WORDS)
    ).map(lambda pair: {**DISK, **pair[1], "children": pair[0]}),
    max_leaves=6,
)


def is_mounted(device: dict[str, Any]) -> bool:
    points = device["mountpoints"]
    told = points if isinstance(points, list) else [points]
    return any(point not in {None, ""} for point in told) or any(
        map(is_mounted, device.get("children") or [])
    )


@given(st.lists(DEVICES, max_size=3))
def test_no_list_of_devices_is_a_traceback_or_leaves_out_a_mount(devices: list[dict[str, Any]]) -> None:
    try:
        cards = {card.path: card for card in lsblk.parse(said(*devices), {})}
    except MetisError:
        return
    for card in cards.values():
        assert card.size >= 0
        assert all(word.isprintable() for word in (card.model, card.serial, card.path))
    for device in devices:
        is_card = (device["type"], device["kname"]) == ("disk", "sda") and device["path"] in cards
        if is_card and is_mounted(device):
            assert cards[device["path"]].mounts


@given(st.binary())
def test_no_output_is_a_traceback(data: bytes) -> None:
    with pytest.raises(MetisError):
        lsblk.parse(data, {})
