"""What Prometheus is told: names and numbers, as promtool wants them; what others leave, read strictly."""

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
from pipeline.nightly.report import NodeReport, Report
from pipeline.service.board import Board, Row
from pipeline.service.figures import Figures, families
from pipeline.service.left_figures import CI, NIGHT, Left, Writer, figures
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
OF_CI = b'# HELP x y\nariadne_ci_tests{result="passed"} 3214\nariadne_ci_tests{result="failed",} 0\n\n'
OF_A_NIGHT = Report(AT, 1_772_586_010.5, 10.5, [NodeReport("titan-15", "failed")]).to_metrics().encode()
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
    left={CI: Left(figures(OF_CI, CI), True), NIGHT: Left(figures(OF_A_NIGHT, NIGHT), True)},
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
        ("metis_golden_failures_total{cause=mismatch}", 0),
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
        ("metis_nodes{class=pi,image=never built}", 0),
        ("metis_nodes{class=pi,image=finished}", 0),
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
        ("metis_night_figures_readable{}", 1),
        ("metis_nightly_node_failed{node=titan-15}", 1),
        ("metis_nightly_last_run_timestamp_seconds{}", 1_772_586_010.5),
    ],
)
def test_each_figure_has_its_number(name: str, value: float) -> None:
    assert samples(FULL)[name] == value


def test_what_nobody_knows_is_not_told() -> None:
    names = {name.partition("{")[0] for name in samples(Figures("0", Board()))}
    unknown = {"metis_cache_bytes", "metis_board_timestamp_seconds"}
    assert not names & {*unknown, "metis_ci_figures_readable", "metis_night_figures_readable"}
    assert "metis_jobs" in names


def test_each_way_to_end_is_told_before_the_first_time() -> None:
    """increase() does not see how a counter comes to be."""
    causes = ("failed", "inventory", "mismatch", "other", "refused", "source")
    wanted = {
        "metis_builds_total{cause=none,verdict=built}",
        "metis_burns_total{cause=none,verdict=burned}",
        *(f"metis_builds_total{{cause={each},verdict=failed}}" for each in causes),
        *(f"metis_burns_total{{cause={each},verdict=failed}}" for each in causes),
        *(f"metis_golden_failures_total{{cause={each}}}" for each in causes),
        *(f"metis_base_failures_total{{cause={each}}}" for each in causes),
    }
    counters = {name: value for name, value in samples(Figures("0", Board())).items() if "cause" in name}
    assert counters == dict.fromkeys(wanted, 0)


@pytest.mark.parametrize("about", [FULL, Figures("0", Board())], ids=["all", "nothing yet"])
def test_promtool_finds_no_fault(about: Figures) -> None:
    need("promtool")
    found = process.run(["promtool", "check", "metrics"], stdin=told(about).encode(), check=False)
    assert (found.code, found.out, found.err) == (0, b"", b"")


def test_a_thousand_nodes_make_a_thousand_lines_and_few_more() -> None:
    rows = {f"n{number}": replace(ROWS[0], node=f"n{number}") for number in range(1000)}
    more = told(replace(FULL, board=replace(BOARD, rows=rows))).count("\n") - told(FULL).count("\n")
    assert 980 <= more <= 1000


# --------------------------------------------------------------------------------- what others leave


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
    (found,) = figures(f"{line}\n".encode(), CI)
    assert (dict(found.labels), found.value) == (labels, value)


def night(failed: int) -> bytes:
    """What a night leaves in which so many nodes fail, with names as long as they may be."""
    nodes = [NodeReport(f"{number:n>63}", "failed") for number in range(failed)]
    return Report(AT, 1_772_586_010.5, 1e-3, nodes, earlier_success=1_772_499_610.25).to_metrics().encode()


def test_all_that_a_night_leaves_is_told_as_it_is() -> None:
    left = {
        (each.name, *each.labels.values()): each.value
        for family in text_string_to_metric_families(night(2).decode())
        for each in family.samples
    }
    assert {(each.name, *each.labels.values()): each.value for each in figures(night(2), NIGHT)} == left


def test_a_night_may_fail_for_ten_thousand_nodes() -> None:
    assert len(figures(night(10_000), NIGHT)) == len(figures(night(0), NIGHT)) + 10_000


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
        figures(f"ariadne_ci_good 1\n{line}\n".encode(), CI)
    assert str(caught.value).isprintable()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "ariadne_ci_good 1\n",
        "metis_builds_total 7\n",
        "metis_night_figures_readable 1\n",
        "metis_nightly_ 1\n",
        'metis_nightly_node_failed{node="a"} 1\nmetis_nightly_node_failed{node="a"} 1\n',
        'metis_nightly_node_failed{node="<script>"} 1\n',
        "".join(f'metis_nightly_node_failed{{node="n{number}"}} 1\n' for number in range(20_001)),
        "#" * (2 << 20) + "\n",
    ],
    ids=["of CI", "of the service", "of the reading", "no name", "twice", "no node", "too many", "too large"],
)
def test_what_is_not_of_a_night_is_not_believed(text: str) -> None:
    with pytest.raises(MetisError):
        figures(text.encode(), NIGHT)


@pytest.mark.parametrize("writer", [CI, NIGHT], ids=lambda each: each.name)
def test_a_file_that_is_half_written_is_not_believed(writer: Writer) -> None:
    """A number may be cut off where what is left of it is one as well."""
    whole = f"{writer.prefix}run_timestamp_seconds 1772586010\n"
    assert len(figures(whole.encode(), writer)) == 1
    for length in range(1, len(whole)):
        with pytest.raises(MetisError):
            figures(whole[:length].encode(), writer)


@given(st.binary(max_size=200) | st.text(alphabet='ariadne_ci{}="x,.1e- \n', max_size=200).map(str.encode))
def test_whatever_ci_leaves_is_read_or_refused_and_told_well(data: bytes) -> None:
    try:
        found = figures(data, CI)
    except MetisError:
        return
    about = Figures("0", Board(), left={CI: Left(found, True)})
    assert len(list(text_string_to_metric_families(told(about)))) > 0
