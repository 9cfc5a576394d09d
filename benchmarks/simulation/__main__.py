"""`python -m benchmarks.simulation`: nights with up to a million nodes, and what runs out first in them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.amounts import counted

from . import costs
from .night import Night, Plan, Site, simulated
from .pictures import length, lengths, resources

NODES = (1_000, 100_000, 1_000_000)
WORKERS = 64
STAGES: Mapping[str, Plan] = {
    # what was done, one thing after the other: each line is the one before with one thing changed
    "an appliance for each image": Plan(0, 0, WORKERS, "alone", "whole"),
    "one appliance for eight": Plan(0, 0, WORKERS, "shared", "whole"),
    "no appliance": Plan(0, 0, WORKERS, "direct", "whole"),
    "differences travel": Plan(0, 0, WORKERS, "direct", "differences"),
    "sixteen inventories": Plan(0, 0, WORKERS, "direct", "differences", coordinators=16),
}
USUAL = 0.01
"""The share of the nodes that need a new image in a usual night; with a new golden, all of them do."""


def main() -> None:
    """Simulate, print the figures, draw the pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"), help="the folder for pictures")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"machines that make images ({WORKERS})")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    site, prices = Site(), costs.measured()
    nights = {
        (stage, nodes): simulated(_at(plan, nodes, nodes, options.workers), prices, site)
        for nodes in NODES
        for stage, plan in STAGES.items()
    }
    print(_table(nights))
    resources(nights, options.output / "simulation-resources.svg")
    last = list(STAGES.values())[-1]
    curves = {
        f"{counted(workers, 'worker')}, {label}": [
            (nodes, simulated(_at(last, nodes, max(1, int(nodes * share)), workers), prices, site))
            for nodes in _steps()
        ]
        for workers in (1, 16, 256)
        for label, share in (("a new golden", 1.0), ("a usual night", USUAL))
    }
    lengths(curves, options.output / "simulation-lengths.svg")


def _at(plan: Plan, nodes: int, changed: int, workers: int) -> Plan:
    return replace(plan, nodes=nodes, changed=changed, workers=workers)


def _steps() -> Sequence[int]:
    return [digit * 10**power for power in (3, 4, 5) for digit in (1, 2, 5)] + [1_000_000]


def _table(nights: Mapping[tuple[str, int], Night]) -> str:
    rows = ["| nodes | | length | runs out first | " + " | ".join(_names(nights)) + " | memory |"]
    rows.append("|" + "---|" * (rows[0].count("|") - 1))
    for (stage, nodes), night in nights.items():
        shares = [f"{night.busy[name]:.0%}" for name in _names(nights)]
        cells = [f"{nodes:,}", stage, length(night.seconds), night.limit, *shares, f"{night.memory:.0%}"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _names(nights: Mapping[tuple[str, int], Night]) -> Sequence[str]:
    return list(next(iter(nights.values())).busy)


if __name__ == "__main__":
    main()
