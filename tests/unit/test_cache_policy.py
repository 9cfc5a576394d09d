"""What the inventory needs stays, and of the rest goes what was used least recently, no more than asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cache.policy import DAY, Contents, Held, Limits, going

NOW = 1_000 * DAY
OLD, MIDDLE, FRESH = Held("a", 10, NOW - 90 * DAY), Held("b", 20, NOW - 40 * DAY), Held("c", 40, NOW - 60)
STARTED, LEFT = Held("d", 5, NOW - 3600), Held("e", 7, NOW - 2 * DAY)
ALL = Contents((FRESH, OLD, MIDDLE), (STARTED, LEFT))


@pytest.mark.parametrize(
    ("limits", "needed", "gone"),
    [
        (Limits(older_than=30 * DAY), "", "ab"),
        (Limits(older_than=60 * DAY), "", "a"),
        (Limits(older_than=40 * DAY), "", "a"),
        (Limits(older_than=0), "", "abcde"),
        (Limits(older_than=30 * DAY), "a", "b"),
        (Limits(older_than=DAY), "abc", "e"),
        (Limits(older_than=1800), "abc", "de"),
        (Limits(max_size=1000), "", "e"),
        (Limits(max_size=75), "", "e"),
        (Limits(max_size=74), "", "ae"),
        (Limits(max_size=64), "", "abe"),
        (Limits(max_size=64), "b", "ace"),
        (Limits(max_size=0), "", "abce"),
        (Limits(max_size=0), "abc", "e"),
        (Limits(older_than=60 * DAY, max_size=52), "", "ab"),
        (Limits(older_than=60 * DAY, max_size=1000), "", "a"),
        (Limits(unused=True), "", "abce"),
        (Limits(unused=True), "ac", "be"),
    ],
)
def test_what_goes_is_what_was_asked_for_and_is_not_needed(limits: Limits, needed: str, gone: str) -> None:
    found = going(ALL, needed, NOW, limits)
    assert "".join(sorted(item.key for item in (*found.files, *found.unfinished))) == gone


def test_what_was_used_at_a_time_to_come_is_not_old() -> None:
    ahead = Contents((Held("a", 1, NOW + DAY),), (Held("b", 1, NOW + DAY),))
    assert going(ahead, (), NOW, Limits(older_than=0)) == Contents((), ())


ITEMS = st.builds(
    Held, st.text("abcdef", min_size=1, max_size=3), st.integers(0, 50), st.integers(-9, 99).map(float)
)
CONTENTS = st.builds(
    Contents,
    *[st.lists(ITEMS, max_size=8, unique_by=lambda item: item.key).map(tuple) for _ in range(2)],
)
LIMITS = st.builds(
    Limits, st.none() | st.integers(0, 99).map(float), st.none() | st.integers(0, 200), st.booleans()
)
NEEDED = st.sets(st.text("abcdef", min_size=1, max_size=3))


@given(CONTENTS, NEEDED, LIMITS)
def test_a_file_that_is_needed_never_goes(contents: Contents, needed: set[str], limits: Limits) -> None:
    gone = going(contents, needed, 50.0, limits)
    assert not {item.key for item in gone.files} & needed
    assert set(gone.files) <= set(contents.files)
    assert set(gone.unfinished) <= set(contents.unfinished)


@given(CONTENTS, NEEDED, LIMITS)
def test_what_was_used_least_recently_goes_first(
    contents: Contents, needed: set[str], limits: Limits
) -> None:
    gone = going(contents, needed, 50.0, limits).files
    staying = [item for item in contents.files if item not in gone and item.key not in needed]
    assert list(gone) == sorted(gone, key=lambda item: item.used)
    assert all(one.used <= other.used for one in gone for other in staying)


@given(CONTENTS, NEEDED, st.integers(0, 200))
def test_the_rest_fits_or_is_needed_and_no_more_goes_than_that_takes(
    contents: Contents, needed: set[str], limit: int
) -> None:
    gone = going(contents, needed, 50.0, Limits(max_size=limit))
    left = contents.size - gone.size
    free = {item.key for item in contents.files} - {item.key for item in gone.files} - needed
    assert left <= limit or not free
    if gone.files:
        assert left + gone.files[-1].size > limit
