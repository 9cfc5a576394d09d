"""Times as people say them: near ones by how long ago, far ones by their date, and no words make it fail."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service.rendering import templates
from pipeline.service.words import ago, exact, left, took

NOW = datetime(2026, 11, 29, 3, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (None, "never"),
        ("", "never"),
        ("2026-11-29T03:00:00Z", "just now"),
        ("2026-11-29T03:01:00Z", "just now"),
        ("2026-11-29T02:59:00Z", "1 minute ago"),
        ("2026-11-29T04:15:00+02:00", "45 minutes ago"),
        ("2026-11-28T05:00:00+00:00", "22 hours ago"),
        ("2026-11-01T03:00:00Z", "28 days ago"),
        ("2026-10-01T03:00:00Z", "2026-10-01"),
        ("2027-01-01T03:00:00Z", "2027-01-01 03:00"),
        ("2026-11-29T03:00:00", "2026-11-29 03:00"),
        ("yesterday", "yesterday"),
    ],
)
def test_a_time_is_told_by_how_long_ago_it_was(at: str | None, words: str) -> None:
    assert ago(at, NOW) == words


@given(st.text() | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat))
def test_whatever_stands_for_a_time_is_shown_and_escaped(at: str) -> None:
    shown = templates().from_string("{{ at | ago }}").render(at=at)
    root = ET.fromstring(f"<p>{shown}</p>")
    assert [each.tag for each in root] == ["time"] * bool(at)
    assert re.sub("[\\n\\t]", "", "".join(root.itertext())).isprintable()


def test_the_exact_time_is_there_for_who_wants_it() -> None:
    at = (datetime.now(UTC) - timedelta(hours=3, minutes=1)).isoformat()
    shown = templates().from_string("{{ at | ago }}").render(at=at)
    assert shown == f'<time datetime="{at}" title="{exact(at)} UTC">3 hours ago</time>'


@pytest.mark.parametrize(
    ("length", "words"),
    [(0, "0.0 s"), (119.96, "120.0 s"), (120, "2 min 0 s"), (7199, "119 min 59 s"), (7200, "2 h 0 min")],
)
def test_a_length_has_two_units_at_most(length: float, words: str) -> None:
    assert took(length) == words


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (0, "about 5 s left"),
        (11, "about 15 s left"),
        (59, "about 60 s left"),
        (60, "about 1 minute left"),
        (200, "about 3 minutes left"),
        (8000, "about 2 hours left"),
    ],
)
def test_what_is_left_is_rounded(length: float, words: str) -> None:
    assert left(length) == words
