"""A larger lab costs each of its nodes no more: whatever a command does is done for each node equally often.

Calls are counted, so that other programs of the machine make no difference: what is called four times as
often for twice the nodes would keep ten thousand from ending in a night. Times: `benchmarks.nothing_to_do`.
"""

from __future__ import annotations

import pstats
from collections.abc import Mapping, Sequence

import pytest

from benchmarks import nodes
from pipeline.machine import process
from tests.support.lab import BIN, REPOSITORY, Lab

COUNTS = (25, 50, 100)
"""Nodes; each time twice as many."""
BETWEEN = 2.5
"""How much more the second step may be than the first: twice what is linear, four times what is square."""
FEW = 500
"""Calls that time, caches and the number of overlays may decide about; all pairs of nodes are thousands."""
COMMANDS = {
    "fill": ("-m", "benchmarks.nodes", "fill", "0"),
    "idle": (str(BIN / "doit"), "image"),
    "status": (str(BIN / "metis"), "status"),
    "plan": (str(BIN / "metis"), "plan", "--node", "node-00000"),
    "facts": (str(BIN / "metis"), "facts", "--snapshots", "{snapshots}"),
}
Calls = Mapping[str, int]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Calls]]:
    """By command how often it called each function, in labs of so many nodes."""
    found: dict[str, list[Calls]] = {name: [] for name in COMMANDS}
    for count in COUNTS:
        root = tmp_path_factory.mktemp(f"of-{count}")
        lab = Lab(root / "lab", {"METIS_CACHE": str(root / "cache")})
        nodes.declare(lab, count)
        snapshots = root / "snapshots"
        snapshots.mkdir()
        for name, words in COMMANDS.items():
            found[name].append(_calls(lab, [word.format(snapshots=snapshots) for word in words]))
    return found


def _calls(lab: Lab, words: list[str]) -> Calls:
    profile = lab.root / "profile"
    process.run(
        [BIN / "python", "-m", "cProfile", "-o", profile, *words],
        cwd=REPOSITORY,
        extra_environment=lab.variables({}),
    )
    about: Mapping[tuple[str, int, str], tuple[int, ...]] = vars(pstats.Stats(str(profile)))["stats"]
    return {f"{file}:{line} {name}": calls[1] for (file, line, name), calls in about.items()}


def grown(calls: Sequence[Calls]) -> dict[str, list[int]]:
    """What is called more often for each node, the more nodes there are."""
    counts = {name: [each.get(name, 0) for each in calls] for name in calls[-1]}
    return {
        name: [few, more, most]
        for name, (few, more, most) in counts.items()
        if most - more > BETWEEN * max(more - few, 0) + FEW
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_twice_the_nodes_are_twice_the_work(counted: Mapping[str, list[Calls]], command: str) -> None:
    assert grown(counted[command]) == {}


@pytest.mark.parametrize(("power", "found"), [(1, False), (2, True)])
def test_what_grows_with_the_square_is_found(power: int, found: bool) -> None:
    calls = [{"looked at": 3 * count**power, "start": 500} for count in COUNTS]
    assert bool(grown(calls)) == found
