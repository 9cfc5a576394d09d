"""When a node counts as back, what is said while it is not, and what is kept of its return."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.cluster.port import Node, Status
from pipeline.errors import MismatchError
from pipeline.lab.rejoining import Keeper, Standing, awaited, not_back, standing
from pipeline.machine.progress import QuietReporter
from tests.unit.test_difference import NODE

BURNED = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
BEFORE, AFTER, LATER = (BURNED + timedelta(hours=hours) for hours in (-1, 1, 2))


def a_node(
    ready: Status, heard: datetime | None = None, since: datetime | None = None, reason: str = ""
) -> Node:
    return replace(NODE, ready=ready, heard=heard, since=since, reason=reason)


AWAY = "not heard of since its card was burned"
CASES = {
    "nobody there": (None, BURNED, False, False, "not in the cluster yet"),
    "Ready, no burn known": (a_node("True"), None, True, True, "Ready"),
    "Ready after the burn": (a_node("True", AFTER, AFTER), BURNED, True, True, "Ready"),
    "Ready all the time, another card was burned": (
        a_node("True", AFTER, BEFORE),
        BURNED,
        True,
        True,
        "Ready",
    ),
    "still called Ready from before the burn": (
        a_node("True", BEFORE, BEFORE),
        BURNED,
        False,
        False,
        f"{AWAY}, last heard of at 2026-11-29T02:00:00Z",
    ),
    "gone": (
        a_node("Unknown", BEFORE, BEFORE, "NodeStatusUnknown"),
        BURNED,
        False,
        False,
        f"{AWAY}, last heard of at 2026-11-29T02:00:00Z",
    ),
    "never heard of": (a_node("Unknown"), BURNED, False, False, AWAY),
    "booting": (
        a_node("False", AFTER, LATER, "cni plugin not initialized"),
        BURNED,
        True,
        False,
        "NotReady since 2026-11-29T05:00:00Z: cni plugin not initialized",
    ),
    "silent, no burn known": (a_node("Unknown"), None, True, False, "NotReady: it does not say why"),
    "hostile words": (
        a_node("False", AFTER, None, "a\x1b[2J\nb"),
        BURNED,
        True,
        False,
        "NotReady: a\\x1b[2J b",
    ),
}


@pytest.mark.parametrize(("node", "burned", "is_heard", "is_back", "words"), CASES.values(), ids=CASES.keys())
def test_how_far_a_node_is(
    node: Node | None, burned: datetime | None, is_heard: bool, is_back: bool, words: str
) -> None:
    assert standing(node, burned) == Standing(is_heard, is_back, words)


def test_a_long_reason_is_cut() -> None:
    assert len(standing(a_node("False", reason="x" * 10_000), None).words) < 250


# -------------------------------------------------------------------------------------------- waiting


class Loud(QuietReporter):
    """Says each step, however short."""

    WORTH_A_LINE = 0.0


def looks(*nodes: Node | None) -> Iterator[Node | None]:
    yield from nodes
    raise AssertionError("nobody looks once the node is back")


def test_what_is_waited_for_is_said_each_time_that_it_is_another() -> None:
    booting = a_node("False", AFTER, AFTER, "no network")
    said = io.StringIO()
    back = a_node("True", LATER, LATER)
    found, state = awaited("titan-13", looks(None, booting, back), BURNED, lambda _: None, Loud(said))
    assert (found, state.is_back) == (back, True)
    assert [line.partition(" (")[0] for line in said.getvalue().splitlines()] == [
        "titan-13: waiting, not in the cluster yet",
        "titan-13: waiting, NotReady since 2026-11-29T04:00:00Z: no network",
    ]


def test_who_is_met_is_only_who_was_heard_of_since_the_burn() -> None:
    gone, booting, back = a_node("True", BEFORE), a_node("False", AFTER), a_node("True", AFTER)
    met: list[Node] = []
    awaited("titan-13", looks(None, gone, booting, back), BURNED, met.append, Loud(io.StringIO()))
    assert met == [booting, back]


def test_who_is_refused_is_not_waited_for() -> None:
    def refuse(_: Node) -> None:
        raise MismatchError("another")

    with pytest.raises(MismatchError, match="another"):
        awaited("titan-13", looks(a_node("False", AFTER)), BURNED, refuse, Loud(io.StringIO()))


def test_without_a_look_nobody_is_there() -> None:
    found, state = awaited("titan-13", (), BURNED, lambda _: None, Loud(io.StringIO()))
    assert (found, state.is_back) == (None, False)


@pytest.mark.parametrize(
    ("waited", "line"),
    [
        (None, "titan-13 is away: wait for it with --wait"),
        (
            900.0,
            "titan-13 is not back after 15 minutes: away; a warning: look at the node itself, and run again",
        ),
    ],
)
def test_a_node_that_is_not_back_is_one_line(waited: float | None, line: str) -> None:
    warned = "; a warning" if waited else ""
    assert str(not_back("titan-13", Standing(True, False, "away"), waited, warned)) == line


# -------------------------------------------------------------------------------------------- keeping

KEPT = {
    "ready after the burn": ([a_node("True", AFTER, AFTER)], BURNED, [("2026-11-29T04:00:00Z",)]),
    "first booting": (
        [a_node("False", AFTER, AFTER), a_node("True", LATER, LATER)],
        BURNED,
        [("2026-11-29T05:00:00Z",)],
    ),
    "booting alone": ([a_node("False", AFTER, AFTER)] * 2, BURNED, [(None,)]),
    "ready, and then not": (
        [a_node("True", AFTER, AFTER), a_node("False", LATER, LATER), a_node("True", LATER, LATER)],
        BURNED,
        [("2026-11-29T04:00:00Z",)],
    ),
    "ready all the time": ([a_node("True", AFTER, BEFORE)], BURNED, []),
    "booting without a burn": ([a_node("False", AFTER, AFTER)], None, []),
    "ready without a burn": ([a_node("True", AFTER, AFTER)], None, [("2026-11-29T04:00:00Z",)]),
}


@pytest.mark.parametrize(("seen", "burned", "rows"), KEPT.values(), ids=KEPT.keys())
def test_a_return_is_kept_as_far_as_it_is_seen(
    tmp_path: Path, seen: list[Node], burned: datetime | None, rows: list[tuple[str | None]]
) -> None:
    file = tmp_path / "history.sqlite3"
    keeper = Keeper(file, "titan-13", burned)
    for node in seen:
        keeper.saw(node)
    assert file.exists() == bool(rows)
    if rows:
        with closing(sqlite3.connect(file)) as opened:
            assert opened.execute("SELECT ready_at FROM rejoins").fetchall() == rows
