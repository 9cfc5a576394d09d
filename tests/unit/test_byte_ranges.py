"""Which bytes a request is given, whatever it says it wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service.byte_ranges import wanted

SIZE = 1000
ETAG = '"abc"'
NINES = "9" * 5000

RANGES: dict[str, tuple[int, int] | None] = {
    "bytes=0-0": (0, 1),
    "bytes=0-": (0, 1000),
    "bytes=0-999": (0, 1000),
    "bytes=0-1000": (0, 1000),
    f"bytes=0-{NINES}": (0, 1000),
    "bytes=999-": (999, 1000),
    "bytes=500-599": (500, 600),
    "bytes=000500-000599": (500, 600),
    "BYTES=500-599": (500, 600),
    "bytes=-1": (999, 1000),
    "bytes=-1000": (0, 1000),
    "bytes=-1001": (0, 1000),
    f"bytes=-{NINES}": (0, 1000),
    # nothing of these is there
    "bytes=1000-": (1000, 1000),
    "bytes=1000-1001": (1000, 1000),
    f"bytes={NINES}-": (1000, 1000),
    f"bytes={NINES}-{NINES}": (1000, 1000),
    "bytes=-0": (1000, 1000),
    # no range, or one that may be ignored
    "": None,
    "bytes": None,
    "bytes=": None,
    "bytes=-": None,
    "bytes=--1": None,
    "bytes=5-4": None,
    "bytes=0-1,3-4": None,
    "bytes=0-,0-,0-": None,
    "bytes=,0-1": None,
    "bytes= 0-1": None,
    "bytes=0 -1": None,
    "bytes =0-1": None,
    "bytes=0-1\n": None,
    "bytes=+0-1": None,
    "bytes=0x0-1": None,
    "bytes=1_0-20": None,
    "bytes=\u0661-\u0662": None,
    "bytes=a-b": None,
    "items=0-1": None,
    "bytes=0-1;q=1": None,
    "bytes:0-1": None,
    "0-1": None,
}


@pytest.mark.parametrize("asked", RANGES, ids=lambda text: repr(text[:20]))
def test_a_range(asked: str) -> None:
    assert wanted([asked], [], ETAG, SIZE) == RANGES[asked]


@pytest.mark.parametrize("asked", [[], ["bytes=0-1", "bytes=0-1"], ["bytes=0-1", ""]])
def test_no_range_or_several_headers_are_for_the_whole(asked: list[str]) -> None:
    assert wanted(asked, [], ETAG, SIZE) is None


@pytest.mark.parametrize(
    ("condition", "goes_on"),
    [
        ([], True),
        ([ETAG], True),
        (['"other"'], False),
        (["W/" + ETAG], False),
        (["abc"], False),
        (["*"], False),
        ([""], False),
        (["Sun, 29 Nov 2026 07:50:03 GMT"], False),
        ([ETAG, ETAG], False),
    ],
)
def test_a_download_goes_on_only_with_the_same_file(condition: list[str], goes_on: bool) -> None:
    assert (wanted(["bytes=5-"], condition, ETAG, SIZE) == (5, SIZE)) == goes_on


@given(st.lists(st.text(max_size=60), max_size=2), st.integers(1, 1 << 45))
def test_whatever_is_asked_what_is_given_is_within_the_file(asked: list[str], size: int) -> None:
    part = wanted(asked, [], ETAG, size)
    assert part is None or 0 <= part[0] <= part[1] <= size


@given(st.data(), st.integers(1, 1 << 45))
def test_any_range_within_a_file_is_given_as_it_was_asked(data: st.DataObject, size: int) -> None:
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    assert wanted([f"bytes={first}-{last}"], [], ETAG, size) == (first, last + 1)
    assert wanted([f"bytes={first}-"], [], ETAG, size) == (first, size)
    assert wanted([f"bytes=-{size - first}"], [], ETAG, size) == (first, size)
