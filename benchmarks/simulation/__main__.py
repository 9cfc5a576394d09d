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
FEW, WORKERS = 4, 64
"""Machines that make images."""
_STEPS = [digit * 10**power for power in (3, 4, 5) for digit in (1, 2, 5)] + [1_000_000]
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
    parser.add_argument("--output", type=Path, default=Path("docs/images"), help="the folder for pictures")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for workers in (FEW, WORKERS):
        print(f"{workers} workers\n\n{table(nights(workers))}\n")
    resources(nights(WORKERS), folder / "simulation-resources.svg")
    lengths(_curves(), folder / "simulation-lengths.svg")


def nights(workers: int, counts: Sequence[int] = NODES) -> Mapping[tuple[str, int], Night]:
    """Nights in which all nodes have a new golden, by what was done and the number of nodes."""
    prices = costs.measured()
    return {
        (stage, nodes): simulated(_at(plan, nodes, nodes, workers), prices, Site())
        for nodes in counts
        for stage, plan in STAGES.items()
    }


def _curves() -> Mapping[str, Sequence[tuple[int, Night]]]:
    last, prices = list(STAGES.values())[-1], costs.measured()
    return {
        f"{counted(workers, 'worker')}, {label}": [
            (nodes, simulated(_at(last, nodes, max(1, int(nodes * share)), workers), prices, Site()))
            for nodes in _STEPS
        ]
        for workers in (1, 16, 256)
        for label, share in (("a new golden", 1.0), ("a usual night", USUAL))
    }


def _at(plan: Plan, nodes: int, changed: int, workers: int) -> Plan:
    return replace(plan, nodes=nodes, changed=changed, workers=workers)


def table(nights: Mapping[tuple[str, int], Night]) -> str:
    """The figures of nights in Markdown."""
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
