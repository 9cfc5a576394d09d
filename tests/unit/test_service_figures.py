"""What Prometheus is told: names and numbers, as promtool wants them; and what CI leaves, read strictly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import MetisError
from pipeline.history.events import BOUNDS, Durations, Tally
from pipeline.machine import process
from pipeline.service.board import Board, Row
from pipeline.service.ci_figures import figures
from pipeline.service.figures import Figures, families
from tests.support.prometheus import need

AT = "2026-11-29T02:20:00+00:00"
ROWS = (
    Row("titan-13", "pi", "fresh", "", AT, AT, AT, drift={"warning": 2}),
    Row("titan-15", "pi", "stale", "its manifest", AT, None, None, is_silent=True),
    Row("nuc-1", 'p"c\n', "never built", "", None),
)
BOARD = Board(
    AT, {row.node: row for row in ROWS}, {"pi": {"drift": {"warning": 2, "critical": 1}}}, (), ("a",)
)
CI = b'# HELP x y\nariadne_ci_tests{result="passed"} 3214\nariadne_ci_tests{result="failed",} 0\n\n'
FULL = Figures(
    version="0.1.0",
    board=BOARD,
    tallies=[
        Tally("build", "built", 0, 7, 70.0, 7 << 20),
        Tally("build", "failed", 2, 2, 1.0, 0),
        Tally("burn", "failed", 4, 1, 9.0, 100),
        Tally("burn", "failed", 99, 1, 9.0, 100),
        Tally("sentinel", "drift", 0, 5, 0.0, 0),
        Tally("golden", "failed", 5, 3, 9.0, 0),
    ],
    durations={"build": Durations((0,) * 4 + (7,) * (len(BOUNDS) - 4), 7, 70.0)},
    jobs=[
        ("image", "waiting", None, 3),
        ("burn", "running", None, 1),
        ("image", "done", 0, 5),
        ("image", "failed", None, 1),
        ("burn", "cancelled", 130, 2),
    ],
    oldest_waiting=12.5,
    cache=(1 << 30, 4),
    listeners=2,
    ci=figures(CI),
    ci_is_readable=True,
)


def told(about: Figures) -> str:
    class Found:
        collect = staticmethod(lambda: families(about))

    registry = CollectorRegistry()
    registry.register(Found())
    return generate_latest(registry).decode()


def samples(about: Figures) -> dict[str, float]:
    """Each number by its name with its labels in their order."""
    found = {}
    for family in text_string_to_metric_families(told(about)):
        for each in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(each.labels.items()))
            found[f"{each.name}{{{labels}}}"] = each.value
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metis_info{version=0.1.0}", 1),
        ("metis_builds_total{cause=none,verdict=built}", 7),
        ("metis_golden_failures_total{cause=source}", 3),
        ("metis_builds_total{cause=inventory,verdict=failed}", 2),
        ("metis_burns_total{cause=mismatch,verdict=failed}", 1),
        ("metis_burns_total{cause=other,verdict=failed}", 1),
        ("metis_build_bytes_total{}", 7 << 20),
        ("metis_burn_bytes_total{}", 200),
        ("metis_build_duration_seconds_bucket{le=10.0}", 0),
        ("metis_build_duration_seconds_bucket{le=20.0}", 7),
        ("metis_build_duration_seconds_count{}", 7),
        ("metis_build_duration_seconds_sum{}", 70),
        ("metis_burn_duration_seconds_count{}", 0),
        ("metis_jobs{state=waiting}", 3),
        ("metis_jobs{state=running}", 1),
        ("metis_jobs_ended_total{cause=cut_off,kind=image,state=failed}", 1),
        ("metis_jobs_ended_total{cause=none,kind=burn,state=cancelled}", 2),
        ("metis_jobs_oldest_waiting_seconds{}", 12.5),
        ("metis_nodes{class=pi,image=stale}", 1),
        ('metis_nodes{class=p"c\n,image=never built}', 1),
        ("metis_nodes_silent{class=pi}", 1),
        ("metis_snapshot_timestamp_seconds{node=titan-13}", datetime.fromisoformat(AT).timestamp()),
        ("metis_drift_findings{class=pi,severity=critical}", 1),
        ("metis_drift_findings{class=pi,severity=info}", 0),
        ("metis_board_timestamp_seconds{}", datetime(2026, 11, 29, 2, 20, tzinfo=UTC).timestamp()),
        ("metis_board_complaints{}", 1),
        ("metis_cache_bytes{}", 1 << 30),
        ("metis_cache_files{}", 4),
        ("metis_event_listeners{}", 2),
        ("metis_ci_figures_readable{}", 1),
        ("ariadne_ci_tests{repo=metis,result=passed}", 3214),
    ],
)
def test_each_figure_has_its_number(name: str, value: float) -> None:
    assert samples(FULL)[name] == value


def test_what_nobody_knows_is_not_told() -> None:
    names = {name.partition("{")[0] for name in samples(Figures("0", Board()))}
    unknown = {"metis_cache_bytes", "metis_board_timestamp_seconds", "metis_ci_figures_readable"}
    assert not names & unknown
    assert "metis_jobs" in names


@pytest.mark.parametrize("about", [FULL, Figures("0", Board())], ids=["all", "nothing yet"])
def test_promtool_finds_no_fault(about: Figures) -> None:
    need("promtool")
    found = process.run(["promtool", "check", "metrics"], stdin=told(about).encode(), check=False)
    assert (found.code, found.out, found.err) == (0, b"", b"")


def test_a_thousand_nodes_make_a_thousand_lines_and_few_more() -> None:
    rows = {f"n{number}": replace(ROWS[0], node=f"n{number}") for number in range(1000)}
    more = told(replace(FULL, board=replace(BOARD, rows=rows))).count("\n") - told(FULL).count("\n")
    assert 980 <= more <= 1000


# ------------------------------------------------------------------------------------- what CI leaves


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("ariadne_ci_seconds 1.5", {"repo": "metis"}, 1.5),
        ('ariadne_ci_seconds{repo="metis"} 1e3', {"repo": "metis"}, 1000),
        ('ariadne_ci_seconds{job="unit", repo="metis"}  -2', {"repo": "metis", "job": "unit"}, -2),
        ('ariadne_ci_seconds{job="unit",} 2', {"repo": "metis", "job": "unit"}, 2),
        ("ariadne_ci_runs_total{} 3", {"repo": "metis"}, 3),
    ],
)
def test_a_line_of_ci_is_a_figure(line: str, labels: dict[str, str], value: float) -> None:
    (found,) = figures(f"{line}\n".encode())
    assert (dict(found.labels), found.value) == (labels, value)


@pytest.mark.parametrize(
    "line",
    [
        "metis_builds_total 7",
        "ariadne_ci_ 1",
        "ariadne_ci_a",
        "ariadne_ci_a NaN",
        "ariadne_ci_a +Inf",
        "ariadne_ci_a 1e999",
        "ariadne_ci_a 1 1795910400000",
        'ariadne_ci_a{repo="ariadne"} 1',
        'ariadne_ci_a{x="1",x="2"} 1',
        'ariadne_ci_a{x="\\n"} 1',
        'ariadne_ci_a{x="<script>"} 1',
        'ariadne_ci_a{__name__="metis_builds_total"} 1',
        'ariadne_ci_a{x="1"',
        "ariadne_ci_A 1",
        "ariadne_ci_a 1\nariadne_ci_a 2",
        'ariadne_ci_a{x="1"} 1\nariadne_ci_a{y="1"} 1',
        "ariadne_ci_a 1\n\x1b[2J",
        "\N{SNOWMAN}",
        "#" * (64 << 10),
        "\n".join(f"ariadne_ci_a{number} 1" for number in range(201)),
    ],
)
def test_a_file_with_anything_else_is_not_believed(line: str) -> None:
    with pytest.raises(MetisError) as caught:
        figures(f"ariadne_ci_good 1\n{line}\n".encode())
    assert str(caught.value).isprintable()
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(alphabet='ariadne_ci{}="x,.1e- \n', max_size=200).map(str.encode))
def test_whatever_ci_leaves_is_read_or_refused_and_told_well(data: bytes) -> None:
    try:
        found = figures(data)
    except MetisError:
        return
    assert len(list(text_string_to_metric_families(told(Figures("0", Board(), ci=found))))) > 0
