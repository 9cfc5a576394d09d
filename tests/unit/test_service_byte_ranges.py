"""What part of a file is sent for what was asked: never more than there is of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service.byte_ranges import wanted

ETAG = '"ab"'
NUMBERS = st.integers(0, 40).map(str) | st.text("0123456789", max_size=30)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=0-0", (0, 1)),
        ("bytes=3-", (3, 10)),
        ("bytes=9-99", (9, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-11", (0, 10)),
        (f"bytes=-{'9' * 5000}", (0, 10)),
        (f"bytes=0-{'9' * 5000}", (0, 10)),
        ("bytes=-0", (10, 10)),
        ("bytes=10-", (10, 10)),
        ("bytes=11-12", (10, 10)),
        ("BYTES=1-2", (1, 3)),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("bytes= 0-1", None),
        ("bytes=\N{ARABIC-INDIC DIGIT ONE}-2", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_a_range_of_ten_bytes(asked: str, part: tuple[int, int] | None) -> None:
    assert wanted([asked], [], ETAG, 10) == part


@pytest.mark.parametrize(
    ("asked", "if_range", "is_whole"),
    [
        (["bytes=0-1"], [ETAG], False),
        (["bytes=0-1"], ['"cd"'], True),
        (["bytes=0-1"], [f"W/{ETAG}"], True),
        (["bytes=0-1"], [ETAG, ETAG], True),
        (["bytes=0-1", "bytes=0-1"], [], True),
        ([], [ETAG], True),
    ],
)
def test_what_is_not_sure_to_be_the_same_file_is_sent_whole(
    asked: list[str], if_range: list[str], is_whole: bool
) -> None:
    assert (wanted(asked, if_range, ETAG, 10) is None) == is_whole


@given(st.builds("bytes={}-{}".format, NUMBERS, NUMBERS), st.integers(0, 30))
def test_a_range_is_within_the_file(asked: str, size: int) -> None:
    part = wanted([asked], [], ETAG, size)
    assert part is None or 0 <= part[0] <= part[1] <= size
