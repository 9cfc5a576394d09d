"""The dashboard as Grafana's own model reads it, and its queries and the alerts as promtool does."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from typeguard import TypeCheckError, check_type

from pipeline.history.events import Tally
from pipeline.history.records import Kind, Verdict
from pipeline.machine import process
from pipeline.service.board import Board, Row
from pipeline.service.figures import Figures, families
from pipeline.service.left_figures import NIGHT, Left, figures
from tests.support.dashboard import FILE, panels
from tests.support.prometheus import need

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/monitoring/metis.rules.yaml"
CASES = ROOT / "tests/cases/alerts/metis.yaml"


def faults(text: str) -> list[str]:
    """What is not as Grafana has it: keys that it does not know, and values of another type."""
    given = json.loads(text)
    model = Dashboard.from_json(given)
    understood = json.loads(json.dumps(model, cls=JSONEncoder))
    return [*_unknown(given, understood, "dashboard"), *_mistyped(model)]


def _unknown(given: Any, understood: Any, where: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            if key not in understood:
                yield f"{where}.{key}"
            else:
                yield from _unknown(value, understood[key], f"{where}.{key}")
    elif isinstance(given, list) and isinstance(understood, list):
        for number, (value, other) in enumerate(zip(given, understood, strict=True)):
            yield from _unknown(value, other, f"{where}[{number}]")
    elif given != understood:
        yield where


def _mistyped(model: object) -> Iterator[str]:
    """Fields of other types than the class says, in a model and in all that it holds."""
    kinds = typing.get_type_hints(type(model))
    for name, value in vars(model).items():
        try:
            check_type(value, _as_read(kinds.get(name, Any)))
        except TypeCheckError as error:
            yield f"{type(model).__name__}.{name}: {error}"
        for part in value if isinstance(value, list) else [value]:
            if type(part).__module__.startswith("grafana_foundation_sdk.models") and hasattr(
                part, "__dict__"
            ):
                yield from _mistyped(part)


def _as_read(kind: Any) -> Any:
    """A type, where words of an enumeration are as JSON has them."""
    words = [
        part for part in (*typing.get_args(kind), kind) if isinstance(part, type) and issubclass(part, Enum)
    ]
    return typing.Union[kind, *(typing.Literal[tuple(each.value for each in word)] for word in words)]


def test_grafana_knows_all_that_the_dashboard_says() -> None:
    assert faults(FILE.read_text()) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"panels":', '"pannels":'),
        ('"gridPos": {"h": 4,', '"gridPos": {"h": "4",'),
        ('"title": "Silent nodes"', '"titel": "Silent nodes"'),
        ('"title": "Silent nodes"', '"title": 7'),
        ('"mode": "palette-classic"', '"mode": "palette"'),
        ('"mode": "absolute"', '"mode": "relative"'),
    ],
)
def test_a_slip_in_the_dashboard_would_be_told(right: str, wrong: str) -> None:
    text = FILE.read_text()
    assert right in text
    assert faults(text.replace(right, wrong, 1)) != []


def test_no_panel_lies_over_another_or_beside_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        x, y, width, height = panel.place
        cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
        assert not cells & taken, panel.title
        assert x + width <= 24, panel.title
        taken |= cells


def test_panels_are_told_apart() -> None:
    found = json.loads(FILE.read_text())["panels"]
    assert len({each["id"] for each in found}) == len({each["title"] for each in found}) == len(found)


# ------------------------------------------------------------------------------------------------ panels

NIGHT_BEFORE = b'metis_nightly_images{result="built"} 0\nmetis_nightly_newer_goldens 0\n'
LAST_NIGHT = b'metis_nightly_images{result="built"} 3\nmetis_nightly_newer_goldens 2\n'


def board(state: str, seen: str | None = None) -> Figures:
    """What a service tells of two nodes whose images are such, one of which was seen then."""
    rows = [Row("titan-13", "pi", state, "", None, seen=seen), Row("titan-15", "pi", state, "", None)]
    return Figures("0.1.0", Board("1970-01-01T02:00:00+00:00", {row.node: row for row in rows}))


def tallied(kind: Kind, verdict: Verdict, code: int) -> Figures:
    """What a service tells of one event."""
    return Figures("0.1.0", Board(), tallies=[Tally(kind, verdict, code, 1, 1.0, 1)])


def night(data: bytes) -> Figures:
    """What a service tells of a night."""
    return Figures("0.1.0", Board(), left={NIGHT: Left(figures(data, NIGHT), is_readable=True)})


NOTHING = Figures("0.1.0", Board())
SEEN: list[tuple[str, Figures, Figures, dict[str, float]]] = [
    ("Images that are up to date", board("fresh"), board("fresh"), {"{}": 1}),
    ("Images that are up to date", board("fresh"), board("stale"), {"{}": 0}),
    ("Silent nodes", NOTHING, board("fresh", "1970-01-01T00:30:00+00:00"), {"{}": 1}),
    ("Silent nodes", NOTHING, board("fresh", "1970-01-01T01:30:00+00:00"), {"{}": 0}),
    ("Cards burned today", NOTHING, tallied("burn", "burned", 0), {"{}": 1}),
    ("Builds in an hour", NOTHING, NOTHING, {}),
    ("Builds in an hour", NOTHING, tallied("build", "built", 0), {'{cause="none", verdict="built"}': 1}),
    ("Burns in an hour", NOTHING, tallied("burn", "failed", 4), {'{cause="mismatch", verdict="failed"}': 1}),
    ("Goldens and bases that failed", NOTHING, tallied("golden", "failed", 5), {'{cause="source"}': 1}),
    ("Goldens and bases that failed", NOTHING, tallied("base", "failed", 1), {'{cause="failed"}': 1}),
    ("Goldens and bases that failed", night(NIGHT_BEFORE), night(LAST_NIGHT), {"{}": 2}),
    ("The last night", night(NIGHT_BEFORE), night(LAST_NIGHT), {'{result="built"}': 3}),
]
"""What a panel shows of what was told for an hour, and what since: its numbers by their labels."""


def series(before: Figures, after: Figures) -> Iterator[dict[str, str]]:
    """What is told for an hour, and then for ten minutes, as promtool has it; of a night by two jobs."""
    was, is_now = _samples(before), _samples(after)
    for each in was | is_now:
        name, *labels = each
        values = f"{was.get(each, '_')}x60 {is_now.get(each, '_')}x10"
        for job in ("metis", "node") if name.startswith(NIGHT.prefix) else ("metis",):
            told = ", ".join([*labels, f'job="{job}"'])
            yield {"series": f"{name}{{{told}}}", "values": values}


def _samples(about: Figures) -> dict[tuple[str, ...], float]:
    """Each number by its name and its labels."""
    return {
        (each.name, *(f'{name}="{value}"' for name, value in each.labels.items())): each.value
        for family in families(about)
        for each in family.samples
    }


@pytest.mark.parametrize(("title", "before", "after", "wanted"), SEEN)
def test_a_panel_shows_what_was_told(
    title: str, before: Figures, after: Figures, wanted: dict[str, float], tmp_path: Path
) -> None:
    need("promtool")
    (panel,) = [each for each in panels() if each.title == title]
    shown = {
        "expr": " or ".join(f"({query.text})" for query in panel.queries),
        "eval_time": "65m",
        "exp_samples": [{"labels": labels, "value": value} for labels, value in wanted.items()],
    }
    case = {"interval": "1m", "input_series": [*series(before, after)], "promql_expr_test": [shown]}
    file = tmp_path / "panel.yaml"
    file.write_text(json.dumps({"tests": [case]}))
    done = process.run(["promtool", "test", "rules", file], check=False)
    assert (done.code, done.err) == (0, b""), done.out.decode()


# ------------------------------------------------------------------------------------------------ alerts


def test_promtool_finds_no_fault_with_the_alerts() -> None:
    need("promtool")
    assert process.run(["promtool", "check", "rules", RULES], check=False).code == 0


def test_each_alert_is_given_when_it_should_be() -> None:
    need("promtool")
    done = process.run(["promtool", "test", "rules", CASES], check=False)
    assert (done.code, done.err) == (0, b""), done.out.decode()


def test_each_alert_has_a_case_in_which_it_is_given_and_one_in_which_it_is_not() -> None:
    alerts = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


def test_each_alert_says_what_to_do() -> None:
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        assert set(rule["annotations"]) == {"summary", "do"}, rule["alert"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
