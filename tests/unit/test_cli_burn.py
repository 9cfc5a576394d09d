"""What the shell is told while a card's name is typed."""

from __future__ import annotations

from dataclasses import replace

import click
import pytest

from pipeline.card import here
from pipeline.card.cards import Card, Mount
from pipeline.commands.burn import burn, complete_card
from pipeline.errors import MetisError

CARD = Card(
    "/dev/sda", "disk", 32 << 30, names=("/dev/disk/by-id/usb-Reader_1",), removable=True, number="8:0"
)
STICK = Mount("/dev/sdb1", "/media/stick")
MOUNTED = replace(CARD, path="/dev/sdb", names=("/dev/disk/by-id/usb-Stick_2",), mounts=(STICK,))
FIXED = replace(CARD, path="/dev/sdc", names=("/dev/disk/by-id/ata-Disk_3",), removable=False)


@pytest.mark.parametrize(
    ("incomplete", "offered"),
    [
        ("", ["/dev/disk/by-id/usb-Reader_1", "/dev/sda"]),
        ("/dev/s", ["/dev/sda"]),
        ("/dev/disk/by-id/", ["/dev/disk/by-id/usb-Reader_1"]),
        ("card", ["card (file)"]),
        ("/dev/sdb", ["/dev/sdb (file)"]),
    ],
)
def test_only_cards_that_could_be_meant_are_offered_and_files_elsewhere(
    monkeypatch: pytest.MonkeyPatch, incomplete: str, offered: list[str]
) -> None:
    machine = replace(here.here(), find=lambda: (CARD, MOUNTED, FIXED))
    monkeypatch.setattr(here, "here", lambda: machine)
    assert told(incomplete) == offered


def test_a_machine_that_cannot_tell_its_disks_offers_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> tuple[Card, ...]:
        raise MetisError("lsblk is not installed")

    machine = replace(here.here(), find=find)
    monkeypatch.setattr(here, "here", lambda: machine)
    assert told("/dev/s") == ["/dev/s (file)"]


def told(incomplete: str) -> list[str]:
    """What is offered, and what kind of thing it is where that is not plain."""
    parameter = next(each for each in burn.params if each.name == "devices")
    found = complete_card(click.Context(burn), parameter, incomplete)
    return [item.value + ("" if item.type == "plain" else f" ({item.type})") for item in found]
