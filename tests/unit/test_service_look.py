"""What the pages of classes, drift and history make of the board and of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.facts.changes import State
from pipeline.facts.finding import SEVERITIES, Finding
from pipeline.facts.show import stamp
from pipeline.history import rejoins
from pipeline.history.events import Wanted
from pipeline.history.rejoins import Rejoin
from pipeline.history.watches import Past, Span, past, watched
from pipeline.service.board import Board, Row
from pipeline.service.pages import classes, difference, drift, history
from pipeline.service.pages import rejoins as rejoins_page
from pipeline.service.queries import PAGE, page_number, part, query
from pipeline.service.rendering import templates
from tests.support.history import event

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def at(days: float) -> str:
    """So many days ago."""
    return stamp(NOW - days * DAY)


def row(node: str, klass: str = "pi", state: str = "fresh") -> Row:
    return Row(node, klass, state, "", None)


def rows(*found: Row) -> dict[str, Row]:
    return {each.node: each for each in found}


def finding(node: str, severity: str = "warning", kind: str = "file", subject: str = "/a") -> dict[str, Any]:
    return {"node": node, "severity": severity, "kind": kind, "subject": subject}


def tally(majority: str | None, **nodes: Sequence[str]) -> dict[str, Any]:
    return {"majority": majority, "agreed": None, "nodes": nodes}


# ---------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("plain ä €", "plain ä €"),
        ("<b>\x1b[2J", "&lt;b&gt;\\x1b[2J"),
        ("half \ud800", "half \\ud800"),
        ("\u202egnp", "\\u202egnp"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_whatever_words_a_page_has_they_can_be_sent_and_mislead_nobody(words: str, shown: str) -> None:
    page = templates().from_string("{{ words }}").render(words=words)
    assert page == shown
    assert page.encode()


# ------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 1), ("1", 1), ("7", 7), ("0", 1), ("-3", 1), ("x", 1), ("٣", 1), ("²", 1), ("1" * 30, 1)],
)
def test_a_page_has_a_number_whatever_was_asked_for(text: str, number: int) -> None:
    assert page_number(text) == number


def test_an_address_leaves_out_what_says_nothing_and_escapes_the_rest() -> None:
    assert query(q="a&b", class_="pi", kind="", before=None) == "q=a%26b&class=pi"


@given(st.integers(0, 3 * PAGE), st.integers(1, 5))
def test_pages_have_all_lines_once_and_say_whether_there_are_more(count: int, number: int) -> None:
    lines, has_more = part(range(count), number)
    assert lines == list(range(count))[(number - 1) * PAGE : number * PAGE]
    assert has_more == (count > number * PAGE)


def test_no_more_lines_are_made_than_a_page_takes() -> None:
    endless = iter(int, 1)
    assert part(endless, 1) == ([0] * PAGE, True)


# ---------------------------------------------------------------------------------------------- drift

CLASSES = {
    "pi": {"findings": [finding("a", "critical"), finding("c", "info", "kernel", "")]},
    "pc": {"findings": [finding("b", "critical"), finding("Box", "warning")]},
}


@pytest.mark.parametrize(
    ("wish", "nodes"),
    [
        (drift.Wish(), ["a", "b", "Box", "c"]),
        (drift.Wish(severity="critical"), ["a", "b"]),
        (drift.Wish(kind="kernel"), ["c"]),
        (drift.Wish(text="bO"), ["Box"]),
        (drift.Wish(severity="none of them"), []),
    ],
)
def test_findings_are_chosen_the_gravest_of_all_classes_first(wish: drift.Wish, nodes: list[str]) -> None:
    assert [each["node"] for each in drift.chosen(CLASSES, wish)] == nodes


def test_findings_of_one_class_are_chosen() -> None:
    assert list(drift.of_class(CLASSES, "pc")) == ["pc"]
    assert list(drift.of_class(CLASSES, "")) == ["pi", "pc"]


def test_the_next_page_is_one_of_the_same_findings() -> None:
    wish = drift.Wish("a b", "pi", "info", "file", 2)
    assert wish.query(3) == "q=a+b&class=pi&severity=info&kind=file&page=3"


@pytest.mark.parametrize(
    ("wish", "nodes"),
    [(drift.Wish(), None), (drift.Wish(klass="pc"), ["b"]), (drift.Wish("A"), ["a"]), (drift.Wish("z"), [])],
)
def test_what_came_and_went_is_asked_of_the_nodes_that_are_wished_for(
    wish: drift.Wish, nodes: list[str] | None
) -> None:
    assert drift.concerned(rows(row("a"), row("b", "pc")), wish) == nodes


def test_a_day_has_the_findings_that_there_were_in_its_end() -> None:
    spans = (
        Span("critical", at(3), at(1), 2),
        Span("info", at(1), None, 5),
        Span("warning", at(2), at(2), 9),
    )
    chart = drift.chart(drift.days_of(Past(at(3), spans), NOW))
    assert chart.rows == (
        ("2026-11-26", "2", "0", "0"),
        ("2026-11-27", "2", "0", "0"),
        ("2026-11-28", "0", "0", "5"),
        ("2026-11-29", "0", "0", "5"),
    )
    assert chart.heads == ("Day", *SEVERITIES)


def test_before_anybody_watched_there_is_nothing_to_show() -> None:
    assert drift.chart(drift.days_of(Past(None, ()), NOW)).rows == ()


def test_the_chart_ends_where_it_should_go_back_no_further() -> None:
    assert len(drift.chart(drift.days_of(Past(at(1000), ()), NOW)).rows) == drift.DAYS


def keep(file: Path, when: datetime, *found: Finding) -> None:
    watched(file, lambda _before: State({each.key: each for each in found}), when)


@pytest.fixture
def watches(tmp_path: Path) -> Path:
    """A finding that went yesterday, and two that stay."""
    file = tmp_path / "history.sqlite3"
    gone, *stay = (
        Finding(node, kind, "", "warning", "a", "b", "c")
        for node, kind in (("a", "mount"), ("a", "file"), ("b", "file"))
    )
    keep(file, NOW - 5 * DAY, gone, *stay)
    keep(file, NOW - 1 * DAY, *stay)
    return file


@pytest.mark.parametrize(
    ("earliest", "nodes", "kind", "counts"),
    [
        (2, None, "", {at(1): 1, None: 2}),
        (0.5, None, "", {None: 2}),
        (2, ["b"], "", {None: 1}),
        (2, None, "mount", {at(1): 1}),
        (2, [], "", {}),
    ],
)
def test_the_past_has_what_was_there_after_a_time(
    watches: Path, earliest: float, nodes: list[str] | None, kind: str, counts: dict[str | None, int]
) -> None:
    found = past(watches, NOW - earliest * DAY, nodes, kind)
    assert {each.until: each.findings for each in found.spans} == counts
    assert found.first == at(5)


def test_without_a_history_nobody_has_watched(tmp_path: Path) -> None:
    assert past(tmp_path / "none", NOW) == Past(None, ())


# -------------------------------------------------------------------------------------------- classes


def test_a_class_has_its_nodes_by_how_their_images_are() -> None:
    found = rows(row("a", state="never built"), row("b"), row("c", "pc", "stale"), row("d"))
    pc, pi = classes.seen(Board(rows=found))
    assert (pc.name, pc.images) == ("pc", {"stale": ("c",)})
    assert list(pi.images.items()) == [("fresh", ("b", "d")), ("never built", ("a",))]
    assert pi.nodes == ("b", "d", "a")


def test_a_class_of_which_nobody_has_heard_says_nothing_of_what_it_runs() -> None:
    (pi,) = classes.seen(Board(rows=rows(row("a"))))
    assert (pi.heard, pi.versions, pi.drift, pi.differing) == (0, (), {}, ())


def test_a_class_says_who_has_another_version_than_most() -> None:
    facts = {
        "seen": {"a": at(0), "b": at(0), "c": at(0)},
        "drift": {"info": 2, "warning": 0, "critical": 1},
        "versions": {"kernel": tally("6.6", **{"6.6": ["a", "b"], "6.1": ["c"]})},
        "packages": {
            "curl": tally("7", **{"7": ["a", "b", "c"]}),
            "ssl": tally(None, **{"1": ["a"], "2": ["b"]}),
        },
        "failed_units": {"b": ["x.service"]},
    }
    (pi,) = classes.seen(Board(rows=rows(row("a")), classes={"pi": facts}))
    assert list(pi.drift.items()) == [("critical", 1), ("info", 2)]
    (kernel,) = pi.versions
    assert (kernel.most, kernel.with_most, kernel.nodes, kernel.others) == ("6.6", 2, 3, (("6.1", ("c",)),))
    (ssl,) = pi.differing
    assert (ssl.what, ssl.most, ssl.with_most, len(ssl.others)) == ("ssl", None, 0, 2)
    assert pi.failed_units == (("b", ("x.service",)),)


def test_targets_are_told_with_the_place_that_says_them() -> None:
    explained = {
        "arch": {"value": "arm64", "origin": "classes/pi.yaml:1"},
        "targets.kernel": {"value": "6.6", "origin": "classes/pi.yaml:3"},
        "targets.packages.curl": {"value": "7", "origin": "nodes/a.yaml:4"},
    }
    assert list(classes.wanted(explained)) == [
        ("kernel", "6.6", "classes/pi.yaml:3"),
        ("curl", "7", "nodes/a.yaml:4"),
    ]


# -------------------------------------------------------------------------------------------- history


@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        (history.Wish(), Wanted()),
        (history.Wish("TITAN"), Wanted(nodes=("TITAN", "titan-1", "titan-2"))),
        (history.Wish("gone"), Wanted(nodes=("gone",))),
        (history.Wish(kind="burn", verdict="failed"), Wanted(kind="burn", verdict="failed")),
        (history.Wish(kind="'; --", verdict="x", since="9999999d"), Wanted()),
        (history.Wish(since="7d"), Wanted(since=NOW - 7 * DAY)),
    ],
)
def test_what_is_wished_for_is_what_the_history_is_asked(wish: history.Wish, wanted: Wanted) -> None:
    assert wish.wanted(["titan-1", "titan-2", "box"], NOW) == wanted


def test_builds_of_several_nodes_are_told_by_class_the_longest_first() -> None:
    done = [
        event(node="a", klass="pi", seconds=10),
        event(node="b", klass="pi", seconds=30),
        event(node="c", klass="pc", seconds=300),
        event(node="b", klass="pi", seconds=11),
    ]
    assert history.times(done).rows == (("pc", "5 minutes"), ("pi", "11.0 s"))


def test_builds_of_one_node_are_told_one_by_one_the_oldest_first() -> None:
    done = [event(at=at(0), seconds=4), event(at=at(2), seconds=5)]
    chart = history.times(done)
    assert chart.rows == (("2026-11-27 03:00", "5.0 s"), ("2026-11-29 03:00", "4.0 s"))
    assert chart.title == "How long each build of titan-13 took"


def test_a_clock_that_went_back_makes_no_page_fail() -> None:
    assert history.times([event(seconds=-3.0)]).rows[0][1] == "0.0 s"


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=80), st.booleans())
def test_charts_of_times_stay_small(lengths: list[float], of_one: bool) -> None:
    done = [
        event(node="a" if of_one else f"n{number}", klass=f"k{number}", seconds=length)
        for number, length in enumerate(lengths)
    ]
    most = history.MOST_COLUMNS if len({each.node for each in done}) == 1 else history.MOST_BARS
    assert len(history.times(done).rows) == min(most, len(done))


def test_the_build_before_one_is_the_last_that_made_an_image() -> None:
    builds = [replace(event(), id=number) for number in (9, 7, 6)]
    builds[1] = replace(builds[1], verdict="failed")
    assert difference.before(builds, 8) == 6
    assert difference.before(builds, 10) == 9
    assert difference.before(builds, 6) is None


# -------------------------------------------------------------------------------------------- rejoins


def test_rejoins_are_listed_page_by_page_the_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    assert rejoins.rejoins(file) == []
    kept = [rejoins.keep(file, Rejoin(node, at(3), at(number), None)) for number, node in enumerate("abc")]
    assert [each for _number, each in rejoins.rejoins(file)] == kept[::-1]
    assert [each.node for _number, each in rejoins.rejoins(file, ["a", "b"])] == ["b", "a"]
    ((last, _each),) = rejoins.rejoins(file, limit=1)
    assert [each.node for _number, each in rejoins.rejoins(file, before=last)] == ["b", "a"]


@pytest.mark.parametrize(
    ("burned", "ready", "took"),
    [(at(3), at(1), "2 days"), (None, at(1), ""), (at(3), None, ""), (at(1), at(3), "less than a minute")],
)
def test_a_rejoin_took_from_the_burn_to_ready(burned: str | None, ready: str | None, took: str) -> None:
    assert rejoins_page.took(Rejoin("a", burned, at(2), ready)) == took
