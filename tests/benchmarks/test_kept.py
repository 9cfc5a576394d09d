"""Figures come back from their file as they were, and a change is told from chance."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import kept, plot
from benchmarks.compare import Comparison, Cost
from pipeline.errors import MetisError

seconds = st.floats(0.001, 1000)


def comparison(*ratios: float, name: str = "x", bound: float | None = 2.0) -> Comparison:
    return Comparison(
        name, bound, [Cost(ratio, 1) for ratio in ratios], [Cost(1, 1)] * len(ratios), {"size": 1}
    )


def figures(*comparisons: Comparison, cores: int = 2) -> kept.Kept:
    return kept.Kept({"cores": cores, "kernel": "6.1", "python": "3.11"}, comparisons)


@given(st.lists(st.tuples(seconds, seconds), min_size=1), st.none() | st.floats(0.1, 10), st.text())
def test_figures_come_back_as_they_were(
    times: list[tuple[float, float]], bound: float | None, name: str
) -> None:
    item = Comparison(
        name, bound, [Cost(ours, 1) for ours, _ in times], [Cost(peer, 1) for _, peer in times], {}
    )
    with tempfile.TemporaryDirectory() as folder:
        kept.write(Path(folder, "new", "file"), figures(item))
        (found,) = kept.read(Path(folder, "new", "file")).comparisons
    assert found == item


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "machine": {}, "comparisons": []}',
        '{"format": 1, "machine": {}, "comparisons": [{}]}',
        '{"format": 1, "machine": {}, "comparisons": '
        '[{"name": "x", "bound": 1, "ours": [], "peer": [], "about": {}}]}',
        "\udcff",
    ],
)
def test_a_file_that_keeps_no_figures_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content, errors="surrogateescape")
    with pytest.raises(MetisError, match="holds no figures of"):
        kept.read(tmp_path / "file")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MetisError, match=r"cannot read .*no such file"):
        kept.read(tmp_path / "file")


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        ((1.0, 1.1), (1.2, 1.3), "+19% SLOWER"),
        ((1.0, 1.1), (0.5, 0.6), "-48% faster"),
        ((1.0, 1.2), (1.1, 1.3), "+9%"),
    ],
)
def test_a_change_counts_where_no_ratio_is_among_those_of_before(
    then: tuple[float, ...], now: tuple[float, ...], words: str
) -> None:
    said = kept.changes(figures(comparison(*then)), figures(comparison(*now)))
    assert said.endswith(words)


def test_what_is_only_in_one_of_them_is_left_out_and_another_machine_is_told() -> None:
    said = kept.changes(
        figures(comparison(1, name="gone"), comparison(1, name="both"), cores=4),
        figures(comparison(1, name="both"), comparison(1, name="new")),
    )
    assert "cores: 4 then, 2 now" in said
    assert "both" in said
    assert "gone" not in said
    assert "new" not in said


def test_the_picture_names_each_comparison_and_is_the_same_each_time(tmp_path: Path) -> None:
    found = [
        comparison(0.5, 0.7, name="quick"),
        comparison(3, name="slow"),
        comparison(1, name="free", bound=None),
    ]
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for picture in pictures:
        plot.draw(found, picture)
    one, two = (picture.read_text() for picture in pictures)
    assert one == two
    assert all(item.name in one for item in found)


def test_kept_figures_of_the_tree_can_be_read() -> None:
    for file in (Path(kept.__file__).parent / "results").glob("*.json"):
        assert kept.read(file).comparisons, json.dumps(str(file))
