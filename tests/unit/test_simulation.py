"""The model of large nights: it loses no work and makes none, and says what runs out first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation import costs
from benchmarks.simulation.__main__ import FEW, NODES, WORKERS, nights, table
from benchmarks.simulation.night import IN_ONE_LAUNCH, Costs, Plan, Site, Way, simulated

MEASURED = costs.measured()
FREE = Costs(**dict.fromkeys(Costs.__slots__, 0.0))
PLAN = Plan(1_000, 1_000, 4, "direct", "whole")
PLANS = st.builds(
    Plan,
    nodes=st.integers(1_000, 100_000),
    changed=st.integers(1, 1_000),
    workers=st.integers(1, 40),
    way=st.sampled_from(("alone", "shared", "direct")),
    travel=st.sampled_from(("packed", "whole", "differences")),
    classes=st.integers(1, 5),
    coordinators=st.integers(1, 8),
)


@settings(max_examples=50)
@given(PLANS)
def test_nothing_is_busier_than_all_the_time(plan: Plan) -> None:
    night = simulated(plan, MEASURED, Site())
    assert night.seconds > 0
    assert all(0 <= share <= 1 + 1e-9 for share in night.busy.values())


@settings(max_examples=50)
@given(PLANS)
def test_every_image_is_made_once(plan: Plan) -> None:
    prices = replace(FREE, copy=3.0, mapped=1.0)
    night = simulated(replace(plan, travel="whole"), prices, Site())
    worked = night.busy["workers"] * night.seconds * plan.workers * Site().cores
    assert worked == pytest.approx(3 * plan.changed)


@pytest.mark.parametrize(
    ("way", "launches"), [("alone", 64), ("shared", 64 / IN_ONE_LAUNCH), ("direct", 0)], ids=str
)
def test_an_appliance_is_launched_as_often_as_the_way_says(way: Way, launches: float) -> None:
    plan = replace(PLAN, nodes=64, changed=64, workers=1, way=way)
    night = simulated(plan, replace(FREE, launch=10.0, decide=1.0), Site())
    assert night.busy["workers"] * night.seconds * Site().cores == pytest.approx(10 * launches)


def test_a_night_with_nothing_to_do_is_as_long_as_its_decision() -> None:
    night = simulated(replace(PLAN, changed=0), replace(MEASURED, decide=0.5), Site())
    assert night.seconds == 500


@pytest.mark.parametrize(
    ("prices", "limit"),
    [
        (replace(FREE, decide=1.0), "coordinators"),
        (replace(FREE, copy=100.0), "workers"),
        (replace(FREE, mapped=1e9), "line"),
        (replace(FREE, decide=1e-9), "answers"),
        (replace(FREE, decide=1.0, memory=1e9), "memory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_costs_most_runs_out_first(prices: Costs, limit: str) -> None:
    assert simulated(PLAN, prices, Site()).limit == limit


def test_inventories_of_their_own_share_the_work_of_deciding() -> None:
    prices = replace(FREE, decide=1.0, memory=1.0)
    one, four = (simulated(replace(PLAN, changed=0, coordinators=count), prices, Site()) for count in (1, 4))
    assert four.seconds == pytest.approx(one.seconds / 4)
    assert four.memory == one.memory / 4


@pytest.mark.parametrize("workers", [FEW, WORKERS])
def test_the_page_says_what_the_model_says(workers: int) -> None:
    page = Path(__file__).parents[2] / "docs" / "simulation.md"
    assert table(nights(workers, NODES[:1])) in page.read_text("utf-8")
