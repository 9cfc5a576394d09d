"""`metis facts` over a thousand histories, beside a plain script that reads the same, and over a hundred.

The script does what no summary can do without: it lists each history, opens the newest file in it and parses
its JSON. On top, ours holds each snapshot to its schema and to what the inventory says of its node. A hundred
nodes beside a thousand show that the cost of each stays the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import MetisError
from pipeline.machine import process
from tests.support import snapshots
from tests.support.lab import BIN, Lab

from . import nodes
from .compare import Comparison, Pair, side_by_side, with_peak

NODES, FEWER = 1000, 100
EACH = 100
"""Snapshots of a node, of which the newest counts."""
BOUND = 8.0
"""Of ours beside the script."""
GROWTH = NODES / FEWER
"""What is linear grows so much at most; less, as the start is in both."""
MEMORY = 300 << 10
"""KiB at the peak."""

_PLAIN = """
import json, os, sys
top = sys.argv[1]
for node in os.listdir(top):
    folder = os.path.join(top, node)
    with open(os.path.join(folder, max(os.listdir(folder))), "rb") as file:
        json.load(file)
"""


def measured(runs: int) -> Sequence[Comparison]:
    """Time a thousand nodes beside the script, and beside a hundred."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        many, few = (_lab(Path(folder, str(count)), count) for count in (NODES, FEWER))
        first = time.perf_counter()
        peak = _facts(many, NODES)
        about = {"nodes": NODES, "each": EACH, "first": time.perf_counter() - first, "peak, KiB": peak}
        print(f"  first: {about['first']:.1f} s, {peak} KiB of memory", file=sys.stderr)
        if peak > MEMORY:
            raise MetisError(f"{peak} KiB of memory, and {MEMORY} were promised")
        plain = Pair(f"facts, {NODES:,} nodes", lambda: _facts(many, NODES), lambda: _plain(many), about)
        growth = Pair(
            f"facts, {NODES:,} nodes beside {FEWER}",
            lambda: _facts(many, NODES),
            lambda: _facts(few, FEWER),
            about,
        )
        return [
            side_by_side(plain, runs=runs, bound=BOUND),
            side_by_side(growth, runs=runs, bound=GROWTH),
        ]


def _lab(root: Path, count: int) -> Lab:
    lab = Lab(root, {"METIS_ARTIFACTS": str(root / "artifacts")})
    nodes.declare(lab, count)
    names = sorted(file.stem for file in (lab.inventory / "nodes").glob("*.yaml"))
    snapshots.history(root / "snapshots", names, EACH)
    return lab


def _facts(lab: Lab, count: int) -> int:
    """Have all nodes summarised, who must all have been heard of; gives the peak of memory in KiB."""
    places = ("--snapshots", str(lab.root / "snapshots"), "--since", "2020-01-01")
    said, peak = with_peak(lab, BIN / "metis", "facts", *places, "--json")
    classes = json.loads(said.out)["classes"].values()
    heard = sum(len(about["seen"]) for about in classes)
    if heard != count:
        raise MetisError(f"{heard} of {count} nodes were heard of: {said.last_words}")
    return peak


def _plain(lab: Lab) -> None:
    process.run([BIN / "python", "-c", _PLAIN, lab.root / "snapshots"])
