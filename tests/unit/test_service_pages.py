"""What pages of nodes and cards are made of, before any template: values in, values out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pipeline.card.cards import Card
from pipeline.errors import MetisError
from pipeline.history.jobs import Job, State
from pipeline.history.records import Event
from pipeline.service import card_watch
from pipeline.service.asking import Answer
from pipeline.service.board import Row
from pipeline.service.card_watch import CardWatch, Seen
from pipeline.service.cards import Plugged
from pipeline.service.journals import read
from pipeline.service.offers import digest, offers, waiting
from pipeline.service.pages.changes import last_two
from pipeline.service.pages.node import findings
from pipeline.service.pages.plan import about
from pipeline.service.preflights import Check, Preflight, can_ask, preflight

HOSTILE = "<script>alert(1)</script>\x1b[2J"
DISK = Card("/dev/sda", "disk", 32 * 10**9, ("/dev/disk/by-id/usb-x",), "ACME", "Reader", "0007", "usb")
FILE = Card("/srv/cards/one", "file", 0)


def row(node: str, built: str | None = None, burned: str | None = None) -> Row:
    return Row(node, "pi", "fresh" if built else "never built", "", built, burned)


def burn(number: int, card: str, node: str = "beta") -> Job:
    return Job(number, "burn", node, {"card": card}, "ops", "waiting", "2026-11-29T08:00:00Z")


# ------------------------------------------------------------------------------------------- cards


def test_a_card_is_told_by_what_is_printed_on_it() -> None:
    (offer,) = offers([Plugged(DISK, "empty")], [], {})
    told = (offer.title, offer.size, offer.name, offer.serial, offer.content, offer.node)
    assert told == ("ACME Reader", "32 GB", "/dev/disk/by-id/usb-x", "0007", "empty", "")


@pytest.mark.parametrize(
    ("card", "title", "size"),
    [
        (FILE, "one", "no size yet"),
        (Card("/dev/loop3", "loop", 512), "Loop device", "512 bytes"),
        (Card("/dev/sdb", "disk", 10**9), "Card", "1 GB"),
    ],
)
def test_what_has_no_name_of_its_own_gets_one(card: Card, title: str, size: str) -> None:
    (offer,) = offers([Plugged(card, "")], [], {})
    assert (offer.title, offer.size) == (title, size)


@pytest.mark.parametrize(("node", "shown"), [("alpha", "alpha"), ("stranger", ""), (HOSTILE, ""), ("", "")])
def test_only_a_node_that_is_known_is_named_as_one(node: str, shown: str) -> None:
    (offer,) = offers([Plugged(DISK, f"{node}, burned 2026-11-01", node)], [], {"alpha": row("alpha")})
    assert offer.node == shown


def test_the_first_of_the_burns_of_a_card_is_shown_with_it() -> None:
    build = Job(1, "image", "beta", {}, "ops", "running", "2026-11-29T08:00:00Z")
    jobs = [build, burn(2, FILE.path), burn(3, DISK.path), burn(4, DISK.path)]
    found = offers([Plugged(DISK, ""), Plugged(FILE, "")], jobs, {})
    assert [offer.burn and offer.burn.id for offer in found] == [3, 2]


def burned(number: int, state: State, card: Card = DISK, node: str = "beta") -> Job:
    """A burn that is over, as it is kept: its options have been JSON."""
    options = json.loads(json.dumps({"card": card.path, "seen": Plugged(card, "").identity}))
    return replace(burn(number, card.path, node), state=state, options=options)


HALF = "half of beta: its burn, job 7, failed; burn it again"


@pytest.mark.parametrize(
    ("content", "latest", "told"),
    [
        ("empty", [burned(7, "failed")], HALF),
        ("empty", [burned(7, "cancelled")], HALF.replace("failed", "cancelled")),
        ("empty", [burned(7, "failed", replace(DISK, size=0))], HALF),
        ("empty", [burned(9, "done", node="alpha"), burned(7, "failed")], "empty"),
        ("empty", [burned(8, "failed", replace(DISK, sequence="8")), burned(7, "failed")], HALF),
        ("empty", [burned(7, "failed", replace(DISK, serial="0008"))], "empty"),
        ("empty", [burn(7, DISK.path)], "empty"),
        ("empty", [], "empty"),
        ("alpha, burned 2026-11-01", [burned(7, "failed")], "alpha, burned 2026-11-01"),
    ],
)
def test_a_card_that_was_left_half_burned_says_so(content: str, latest: list[Job], told: str) -> None:
    (offer,) = offers([Plugged(DISK, content)], [], {}, latest)
    assert offer.content == told


def test_a_page_is_known_by_all_that_it_shows() -> None:
    one = offers([Plugged(DISK, "empty")], [], {})
    others = [
        offers([Plugged(DISK, "alpha")], [], {}),
        offers([Plugged(DISK, "empty")], [burn(1, DISK.path)], {}),
        offers([], [], {}),
    ]
    assert digest(one, "") == digest(offers([Plugged(DISK, "empty")], [], {}), "")
    assert digest(one, "") not in {digest(one, "lsblk is missing"), *(digest(each, "") for each in others)}


def test_nodes_wait_for_a_card_once_their_image_is_newer_than_their_burn() -> None:
    rows = [
        row("never-built"),
        row("never-burned", "2026-11-01T00:00:00Z"),
        row("newer", "2026-11-03T00:00:00Z", "2026-11-02T00:00:00+00:00"),
        row("burned", "2026-11-01T00:00:00Z", "2026-11-01T00:01:00+00:00"),
    ]
    assert waiting(rows) == ["newer", "never-burned"]


# -------------------------------------------------------------------------------------- live cards


class Reader:
    """A reader in which cards come and go, and that can be out of order."""

    def __init__(self, looks: Sequence[tuple[Plugged, ...] | MetisError]) -> None:
        self.looks = list(looks)
        self.count = 0

    async def find(self) -> tuple[Plugged, ...]:
        self.count += 1
        look = self.looks[min(self.count, len(self.looks)) - 1]
        if isinstance(look, MetisError):
            raise look
        return look


ONE, OTHER = (Plugged(DISK, "empty"),), (Plugged(FILE, ""),)


def test_who_looks_hears_of_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_watch, "EVERY", 0)
    reader = Reader([ONE, ONE, OTHER, MetisError("no lsblk"), ONE])

    async def watched() -> list[Seen]:
        seen: list[Seen] = []
        changed: asyncio.Queue[None] = asyncio.Queue()
        watch = CardWatch(reader.find, lambda: changed.put_nowait(None))
        seen.append(await watch.now())
        running = asyncio.create_task(watch.run())
        for _ in range(3):
            await changed.get()
            seen.append(await watch.now())
        running.cancel()
        return seen

    seen = asyncio.run(watched())
    assert seen == [Seen(ONE), Seen(OTHER), Seen(complaint="no lsblk"), Seen(ONE)]


def test_nobody_looks_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_watch, "INTEREST", 0)
    reader = Reader([ONE])

    async def asked_once() -> None:
        watch = CardWatch(reader.find, lambda: None)
        running = asyncio.create_task(watch.run())
        await watch.now()
        for _ in range(10):
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(asked_once())
    assert reader.count == 1


def test_who_must_know_is_not_told_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader([ONE, OTHER])

    async def asked() -> list[Seen]:
        watch = CardWatch(reader.find, lambda: None)
        return [await watch.now(), await watch.now(), await watch.now(afresh=True)]

    assert asyncio.run(asked()) == [Seen(ONE), Seen(ONE), Seen(OTHER)]


# ------------------------------------------------------------------------------------------- nodes


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, {}),
        ({"network": None, "k3s": None, "layers": None}, {}),
        (
            {
                "hostname": "titan-13",
                "os": "ubuntu",
                "arch": "arm64",
                "network": {"address": "192.0.2.13/24", "interface": "eth0"},
                "k3s": {"role": "agent"},
                "layers": ["class pi", "node titan-13"],
            },
            {
                "Host name": "titan-13",
                "Role": "agent",
                "Address": "192.0.2.13/24",
                "Interface": "eth0",
                "System": "ubuntu arm64",
                "Layers": "class pi, node titan-13",
            },
        ),
        ({"network": {"dhcp": True, "interface": "e*"}}, {"Address": "by DHCP", "Interface": "e*"}),
    ],
)
def test_what_people_ask_first_about_a_node(config: dict[str, Any], told: dict[str, str]) -> None:
    assert dict(about(config)) == told


def test_the_drift_of_a_node_is_told_the_gravest_first() -> None:
    def finding(node: str, severity: str) -> dict[str, Any]:
        return {"node": node, "severity": severity}

    found = [
        finding("a", "info"),
        finding("b", "critical"),
        finding("a", "critical"),
        finding("a", "warning"),
    ]
    told = findings({"pi": {"findings": found}}, "pi", "a")
    assert [each["severity"] for each in told] == ["critical", "warning", "info"]
    assert findings({}, "pi", "a") == []


@pytest.mark.parametrize(
    ("images", "pair"),
    [([], None), (["x"], None), (["x", "x"], None), (["y", "x"], (1, 0)), (["y", "y", "x", "w"], (2, 0))],
)
def test_the_last_image_is_held_against_the_last_other_one(
    images: list[str], pair: tuple[int, int] | None
) -> None:
    builds = [
        Event("build", "2026-11-29T08:00:00Z", "a", "pi", "built", 1.0, image=image, id=number)
        for number, image in enumerate(images)
    ]
    found = last_two(builds)
    assert (found and tuple(each.id for each in found)) == pair


@pytest.mark.parametrize(
    ("environment", "can"),
    [
        ({}, False),
        ({"KUBECONFIG": ""}, False),
        ({"KUBECONFIG": "/k"}, True),
        ({"KUBERNETES_SERVICE_HOST": "x"}, True),
    ],
)
def test_a_cluster_is_asked_where_one_is_named(environment: dict[str, str], can: bool) -> None:
    assert can_ask(environment) == can


CHECK = {"check": "password", "verdict": "refused", "found": HOSTILE, "advice": None, "mend": None}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(None, ("no cluster is named",), 2), Preflight(None, (), ("no cluster is named",))),
        (Answer([], (), 0), Preflight(None, (), ())),
        (Answer({"refused": False, "checks": []}, ("it warns",), 0), Preflight(False, (), ("it warns",))),
        (
            Answer({"refused": True, "checks": [CHECK]}, ("refused: password",), 3),
            Preflight(True, (Check("password", "refused", HOSTILE, ""),), ()),
        ),
    ],
)
def test_what_a_cluster_said_is_told_once(answer: Answer, told: Preflight) -> None:
    assert preflight(answer) == told


def test_a_failure_is_told_without_what_was_not_tried_for_it() -> None:
    notes = [".  class:plain", "!! golden:plain: no such file", "!! not tried: 2 tasks that need what failed"]
    told = read(b'{"note": "%s"}' % note.encode() for note in notes)
    assert told.failures == ("golden:plain: no such file",)
