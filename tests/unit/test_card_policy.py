"""Every reason against a card is told at once, and nothing but a card in a reader is free for the asking."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.card import policy
from pipeline.card.cards import Card, Mount, size_in_words
from pipeline.errors import RefusedError

GB = 10**9
SYSTEM = {"/": "the running system", "/home": "people's own files", "[SWAP]": "swap space", "C:\\": "Windows"}
CARD = Card(
    "/dev/sda",
    "disk",
    32 * GB,
    names=("/dev/disk/by-id/usb-Generic_SD-0:0",),
    serial="1",
    bus="usb",
    removable=True,
    number="8:0",
)
FIXED = replace(CARD, removable=False, names=("/dev/disk/by-id/ata-A_1", "/dev/disk/by-id/wwn-0x5"))
LOOP = Card("/dev/loop0", "loop", 32 * GB, number="7:0")
FILE = Card("/tmp/card.img", "file", 32 * GB)


def request(**changes: Any) -> policy.Request:
    usual = {"named": "/dev/sda", "image_size": 4 * GB, "ceiling": 256 * GB, "allow_fixed": False}
    return policy.Request(**{"system": SYSTEM, **usual, **changes})


@pytest.mark.parametrize(
    ("card", "changes"),
    [
        (CARD, {}),
        (CARD, {"named": ""}),
        (CARD, {"image_size": 32 * GB}),
        (CARD, {"ceiling": 32 * GB}),
        (CARD, {"allow_fixed": True}),
        (replace(CARD, names=()), {}),
        (replace(CARD, mounts=(Mount("E:", "E:\\", released=True),)), {}),
        (FIXED, {"allow_fixed": True, "named": "/dev/disk/by-id/ata-A_1"}),
        (FIXED, {"allow_fixed": True, "named": "/dev/disk/by-id/wwn-0x5"}),
        (FIXED, {"allow_fixed": True, "named": "/dev/disk/../disk/by-id//wwn-0x5"}),
        (LOOP, {"allow_fixed": True}),
        (LOOP, {"allow_fixed": True, "named": ""}),
        (FILE, {}),
        (replace(FILE, size=0), {}),
    ],
)
def test_what_is_meant_may_be_written(card: Card, changes: dict[str, Any]) -> None:
    assert policy.refusals(card, request(**changes)) == ()
    policy.refuse(card, request(**changes))


@pytest.mark.parametrize(
    ("card", "changes", "words"),
    [
        (replace(CARD, mounts=(Mount("/dev/sda1", "/"),)), {}, "holds the running system: /dev/sda1"),
        (replace(CARD, mounts=(Mount("/dev/dm-0", "/home"),)), {}, "people's own files"),
        (replace(CARD, mounts=(Mount("/dev/sda1", "/media/x"),)), {}, "is mounted on /media/x, unmount it"),
        (replace(CARD, mounts=(Mount("/dev/sda2", "[SWAP]"),)), {}, "swap space in use, on /dev/sda2"),
        (replace(CARD, mounts=(Mount("/dev/sda2", "[SWAP]"),)), {"system": {}}, "swap space in use"),
        (replace(CARD, mounts=(Mount("C:", "C:\\", released=True),)), {}, "holds Windows"),
        (replace(CARD, mounts=(Mount("/dev/sda1", "\x1b[2J\n"),)), {}, r"is mounted on \x1b[2J"),
        (replace(CARD, holders=("md0",)), {}, "in use by md0"),
        (
            replace(CARD, members=("/dev/sda1 (zfs_member)",)),
            {},
            "/dev/sda1 (zfs_member), a part of a volume",
        ),
        (replace(CARD, openers=("dd (17)",)), {}, "is open in dd (17)"),
        (replace(CARD, read_only=True), {}, "cannot be written"),
        (replace(CARD, size=0), {}, "no medium in it"),
        (replace(CARD, size=-1), {}, "no medium in it"),
        (replace(CARD, size=2 * GB), {}, "too small: it has 2 GB, and the image needs 4 GB"),
        (
            replace(CARD, size=31_914_983_424),
            {"image_size": 31_914_983_936},
            "31914983424 bytes, and the image",
        ),
        (CARD, {"ceiling": 32 * GB - 1, "image_size": 0}, "larger than cards are here"),
        (FILE, {"ceiling": 1, "image_size": 0}, "larger than cards are here"),
        (replace(CARD, sector=4096), {}, "sectors of 4096 bytes"),
        (replace(CARD, sector=0), {}, "does not tell its sector size"),
        (FIXED, {}, "say --allow-fixed, and name it as /dev/disk/by-id/ata-A_1"),
        (FIXED, {"named": "/dev/disk/by-id/ata-A_1"}, "is a fixed disk"),
        (FIXED, {"allow_fixed": True}, "name it by its lasting name, /dev/disk/by-id/ata-A_1"),
        (FIXED, {"allow_fixed": True, "named": ""}, "name it by its lasting name"),
        (FIXED, {"allow_fixed": True, "named": "/dev/disk/by-id/ata-A_1-part1"}, "its lasting name"),
        (FIXED, {"allow_fixed": True, "named": "/dev/disk/by-id/ata-B_2"}, "its lasting name"),
        (replace(FIXED, names=()), {"allow_fixed": True}, "has no lasting name"),
        (LOOP, {}, "is a loop device: if it is meant, say --allow-fixed"),
        (replace(FILE, size=4 * GB - 1), {}, "too small"),
        (replace(FILE, holders=("loop1",)), {}, "in use by loop1"),
        (replace(FILE, read_only=True), {}, "cannot be written"),
    ],
)
def test_one_reason_is_enough(card: Card, changes: dict[str, Any], words: str) -> None:
    (reason,) = policy.refusals(card, request(**changes))
    assert words in reason
    assert reason.isprintable()


def test_all_reasons_are_told_at_once_in_one_line() -> None:
    worst = replace(
        FIXED,
        size=GB,
        sector=4096,
        read_only=True,
        mounts=(Mount("/dev/sda1", "/"), Mount("/dev/sda2", "/home\n")),
        holders=("dm-0",),
        members=("/dev/sda3 (LVM2_member)",),
        openers=("dd (17)",),
    )
    with pytest.raises(RefusedError) as caught:
        policy.refuse(worst, request())
    text = str(caught.value)
    words = ["running system", "/home", "dm-0", "LVM2_member", "dd (17)", "cannot be written", "too small"]
    assert all(word in text for word in [*words, "4096", "fixed"])
    assert len(text.splitlines()) == 1
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("reason", ["mounts", "holders", "members", "openers", "read_only", "sector"])
def test_a_disk_in_use_stays_refused_whatever_is_allowed(reason: str) -> None:
    worse: dict[str, Any] = {
        "mounts": (Mount("/dev/sda1", "/"),),
        "holders": ("md0",),
        "members": ("/dev/sda1 (LVM2_member)",),
        "openers": ("dd (1)",),
        "read_only": True,
        "sector": 4096,
    }
    for card in (CARD, FIXED, LOOP):
        bad = replace(card, **{reason: worse[reason]})
        assert policy.refusals(bad, request(allow_fixed=True, named="/dev/disk/by-id/ata-A_1"))


def test_nobody_means_a_fixed_disk_a_loop_device_or_a_card_in_use() -> None:
    in_use = replace(CARD, mounts=(Mount("/dev/sda1", "/x"),))
    cards = [CARD, FIXED, LOOP, replace(CARD, size=0), in_use]
    assert [card for card in cards if not policy.refusals(card, request(named=card.path))] == [CARD]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (31_914_983_424, "31.9 GB"),
        (256 * GB, "256 GB"),
        (12_000_138_625_024, "12 TB"),
        (1 << 80, "1208925.8 EB"),
    ],
)
def test_sizes_are_told_as_cards_tell_them(size: int, words: str) -> None:
    assert size_in_words(size) == words


CARDS = st.builds(
    Card,
    path=st.just("/dev/sdx"),
    kind=st.sampled_from(["disk", "loop", "file"]),
    size=st.integers(-1, 1 << 50),
    names=st.lists(st.sampled_from(["/dev/disk/by-id/a", "/dev/disk/by-id/b"]), max_size=2).map(tuple),
    removable=st.booleans(),
    read_only=st.booleans(),
    sector=st.sampled_from([0, 512, 4096]),
    mounts=st.lists(st.builds(Mount, st.text(), st.text(), st.just(False)), max_size=2).map(tuple),
    holders=st.lists(st.text(), max_size=1).map(tuple),
    members=st.lists(st.text(), max_size=1).map(tuple),
    openers=st.lists(st.text(), max_size=1).map(tuple),
)
REQUESTS = st.builds(
    policy.Request,
    named=st.sampled_from(["", "/dev/sdx", "/dev/disk/by-id/a"]),
    image_size=st.integers(1, 1 << 40),
    ceiling=st.integers(0, 1 << 50),
    allow_fixed=st.booleans(),
    system=st.just(SYSTEM),
)


@given(CARDS, REQUESTS)
def test_a_card_that_is_let_through_is_unused_large_enough_and_meant(
    card: Card, wish: policy.Request
) -> None:
    reasons = policy.refusals(card, wish)
    assert all(reason.isprintable() for reason in reasons)
    if reasons:
        return
    assert not any((card.mounts, card.holders, card.members, card.openers, card.read_only))
    assert card.size >= wish.image_size or (card.kind == "file" and card.size <= 0)
    assert card.size <= wish.ceiling
    assert card.kind == "file" or card.sector == 512
    if card.kind == "disk" and not card.removable:
        assert wish.allow_fixed
        assert wish.named in card.names
    assert card.kind != "loop" or wish.allow_fixed
