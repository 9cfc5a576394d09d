"""Amounts as people read them."""

from __future__ import annotations

import pytest

from pipeline import amounts


@pytest.mark.parametrize(("count", "words"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_one_is_told_from_many(count: int, words: str) -> None:
    assert amounts.counted(count, "file") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "less than a minute"),
        (0, "less than a minute"),
        (59.9, "less than a minute"),
        (60, "1 minute"),
        (119, "1 minute"),
        (120, "2 minutes"),
        (7_199, "119 minutes"),
        (7_200, "2 hours"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
        (1e9, "11574 days"),
    ],
)
def test_a_time_is_told_in_the_unit_that_says_enough(seconds: float, words: str) -> None:
    assert amounts.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59, "less than a minute"), (60, "1 minute"), (3_600, "1 hour"), (169_200, "1 day")],
)
def test_one_of_a_unit_is_enough_for_who_says_so(seconds: float, words: str) -> None:
    assert amounts.duration(seconds, least=1) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (3 << 19, "1.5 MiB"),
        (20 << 30, "20.0 GiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_that_it_fills(count: int, words: str) -> None:
    assert amounts.sized(count) == words


def test_figures_beside_each_other_have_one_unit() -> None:
    assert [amounts.mib(count) for count in (0, 3 << 20, 5 << 30)] == ["0.0 MiB", "3.0 MiB", "5120.0 MiB"]
    assert amounts.mib(3 << 20, 0) == "3 MiB"


@pytest.mark.parametrize(("age", "meant"), [("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), ("0d", 0)])
def test_an_age_is_a_number_and_its_unit(age: str, meant: int) -> None:
    assert amounts.seconds(age) == meant


@pytest.mark.parametrize(
    "age",
    ["", "30", "d", "-1d", "1.5d", "1 d", "1d ", "1d\n", "01d", "1w", "1D", "٣d", "9" * 7 + "d", "1h30m"],
)
def test_nothing_else_is_an_age(age: str) -> None:
    with pytest.raises(ValueError, match="not an age"):
        amounts.seconds(age)
