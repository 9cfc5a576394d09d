"""What a nightly run says of itself; the metrics are read by the parser of Prometheus's own client."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipeline.golden.newer import Newer
from pipeline.graph.outcomes import Outcomes
from pipeline.nightly.report import NodeReport, Report

ALPHA = NodeReport("alpha", "built", 3.25, 3 << 20)
BETA = NodeReport("beta", "skipped")
GAMMA = NodeReport("gamma", "failed", reason="nodes/gamma.yaml:2: no such key", keeps_last=True)
DELTA = NodeReport("delta", "failed", reason="class pi: no such class")
NEWER = Newer("pi", "https://me:word@example.org/pi.img?token=hush", "ab" * 32, "cd" * 32)

GOOD = Report("2026-03-04T01:00:00Z", 1772586010.5, 10.5, [ALPHA, BETA])
BAD = replace(GOOD, nodes=[ALPHA, BETA, GAMMA, DELTA], earlier_success=1772499610.25)


def samples(report: Report) -> dict[tuple[str, str], float]:
    """Each value by its name and its label, as Prometheus reads it."""
    return {
        (sample.name.removeprefix("metis_nightly_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(report.to_metrics())
        for sample in family.samples
    }


# --------------------------------------------------------------------------------------------- metrics


def test_prometheus_reads_all_figures_of_a_night() -> None:
    assert samples(BAD) == {
        ("images", "built"): 1,
        ("images", "skipped"): 1,
        ("images", "failed"): 2,
        ("seconds", ""): 10.5,
        ("bytes_written", ""): 3 << 20,
        ("last_run_timestamp_seconds", ""): 1772586010.5,
        ("last_success_timestamp_seconds", ""): 1772499610.25,
        ("node_failed", "gamma"): 1,
        ("node_failed", "delta"): 1,
        ("newer_goldens", ""): 0,
    }


@pytest.mark.parametrize("report", [GOOD, BAD], ids=["good", "bad"])
def test_every_metric_says_what_it_means_and_is_a_gauge(report: Report) -> None:
    families = list(text_string_to_metric_families(report.to_metrics()))
    assert families
    assert all(family.documentation.endswith(".") for family in families)
    assert {family.type for family in families} == {"gauge"}
    assert len({family.name for family in families}) == len(families)


def test_a_good_night_is_its_own_last_success_and_names_no_node() -> None:
    found = samples(GOOD)
    assert found["last_success_timestamp_seconds", ""] == GOOD.ended
    assert not [name for name, _ in found if name == "node_failed"]


def test_before_the_first_success_none_is_told() -> None:
    assert ("last_success_timestamp_seconds", "") not in samples(replace(BAD, earlier_success=None))


@given(st.text(min_size=1))
def test_any_name_comes_through_as_a_label(name: str) -> None:
    text = replace(GOOD, nodes=[NodeReport(name, "failed")]).to_metrics()
    (line,) = [line for line in text.split("\n") if line.startswith("metis_nightly_node_failed{")]
    (family,) = text_string_to_metric_families(line)
    assert family.samples[0].labels == {"node": name}


# ---------------------------------------------------------------------------------- what is a success

FAILURES = {
    "a node failed": {"nodes": [BETA, GAMMA]},
    "a fault of no node": {"faults": ["no inventory"]},
    "it was cut off": {"interrupted": True},
}


@pytest.mark.parametrize("change", FAILURES.values(), ids=FAILURES.keys())
def test_a_night_with_a_failure_is_no_success(change: dict[str, object]) -> None:
    report = replace(GOOD, **change)  # type: ignore[arg-type]
    assert not report.succeeded
    assert report.last_success is None
    assert report.to_data()["succeeded"] is False


def test_a_newer_golden_and_a_warning_are_no_failure() -> None:
    assert replace(GOOD, newer=[NEWER], warnings=["class pi: not reached"]).succeeded


# ----------------------------------------------------------------------------------- text and JSON


def test_the_text_names_what_was_built_and_what_failed_with_its_reason() -> None:
    assert BAD.to_text().splitlines() == [
        "nightly 2026-03-04T01:00:00Z: built 1, skipped 1, failed 2; 10.5 s, 3.0 MiB built",
        "  built   alpha  3.2 s, 3.0 MiB",
        "  failed  gamma  nodes/gamma.yaml:2: no such key (its last image is kept)",
        "  failed  delta  class pi: no such class (it has no image)",
    ]


def test_the_text_tells_of_all_else_that_was_seen() -> None:
    report = replace(
        GOOD,
        nodes=[],
        newer=[NEWER],
        warnings=["class x: not reached"],
        faults=["class y: not signed"],
        pruned=(3, 5 << 20),
        interrupted=True,
    )
    assert report.to_text().splitlines() == [
        "nightly 2026-03-04T01:00:00Z (interrupted): built 0, skipped 0, failed 0; 10.5 s, 0.0 MiB built",
        f"newer golden: class pi: https://example.org/pi.img?… is {'cd' * 32} now, {'ab' * 32} is pinned",
        "  nothing of that was taken: `metis nightly --update` pins what is published now",
        "warning: class x: not reached",
        "failed: class y: not signed",
        "pruned: 3 files of the cache, 5.0 MiB",
    ]


def test_what_was_pinned_is_shown_in_place_of_the_advice() -> None:
    text = replace(GOOD, newer=[NEWER], diffs=["-  sha256: a\n+  sha256: b\n"]).to_text()
    assert "--update" not in text
    assert text.endswith("-  sha256: a\n+  sha256: b\n")


def test_no_report_says_a_token_or_obeys_a_terminal() -> None:
    evil = NodeReport("alpha", "failed", reason="x\n\x1b[31mred")
    report = replace(GOOD, nodes=[evil], newer=[NEWER], warnings=["a\nb"])
    for text in (report.to_text(), json.dumps(report.to_data()), report.to_metrics()):
        assert "hush" not in text
        assert "word" not in text
        assert "\x1b" not in text


def test_json_has_each_node_with_its_result() -> None:
    data = json.loads(json.dumps(BAD.to_data()))
    assert [(each["node"], each["result"]) for each in data["nodes"]] == [
        ("alpha", "built"),
        ("beta", "skipped"),
        ("gamma", "failed"),
        ("delta", "failed"),
    ]
    assert data["counts"] == {"built": 1, "skipped": 1, "failed": 2}
    assert (data["bytes"], data["seconds"], data["last_success"]) == (3 << 20, 10.5, BAD.earlier_success)


# ------------------------------------------------------------------------------------ why a node failed

NEEDS = {
    "image:a": ["base:x", "manifest:a"],
    "base:x": ["golden:x", "class:x"],
    "golden:x": ["class:x"],
    "manifest:a": ["overlay:o"],
}


@pytest.mark.parametrize(
    ("failed", "reason"),
    [
        ({}, ""),
        ({"image:a": "own"}, "own"),
        ({"class:x": "the class"}, "the class"),
        ({"overlay:o": "the overlay", "golden:x": "the golden"}, "the golden"),
        ({"image:b": "another's"}, ""),
    ],
    ids=["none", "its own", "its class's", "the first", "another's"],
)
def test_the_reason_is_the_first_failure_among_what_a_task_needs(failed: dict[str, str], reason: str) -> None:
    outcomes = Outcomes(failed=failed)
    outcomes.expect(NEEDS)
    assert outcomes.reason("image:a") == reason


def test_tasks_that_need_each_other_end_the_search() -> None:
    outcomes = Outcomes()
    outcomes.expect({"a": ["b"], "b": ["a"]})
    assert outcomes.reason("a") == ""
