"""`doit image` with all images up to date, beside a plain doit file with the same tasks and dependencies.

Both are processes of the same doit, with the same tasks, file_dep, targets and task_dep, the same kind of
state file, and the same lines of report. What ours does on top is its own check of each image and manifest.
Ten thousand nodes beside a thousand show that the cost of each stays the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import MetisError
from pipeline.machine import process
from tests.support.lab import BIN, REPOSITORY, Lab

from . import nodes
from .compare import Comparison, Pair, side_by_side, with_peak

NAME = "nothing to do"
BOUND = 2.0
NODES, MANY = 1000, 10_000
GROWTH = 12.0
"""Of MANY nodes beside NODES: a machine's caches hold less of them."""
MEMORY = 400 << 10
"""KiB at the peak of the process, whether it makes all images or finds nothing to do."""
HEAVY = frozenset({"guestfs", "jsonschema", "requests", "rich", "yaml"})
"""What parses, checks, fetches and shows: with nothing to do, none of it may even be imported."""
SAMPLE = 3

_LOADED = """
import atexit, runpy, sys
atexit.register(lambda: print("loaded:", *sorted(sys.modules), file=sys.stderr))
sys.argv = ["doit", "image"]
runpy.run_path({doit!r}, run_name="__main__")
"""


@contextmanager
def prepared(count: int) -> Iterator[Pair]:
    """A lab and its peer, which are what we think they are."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        lab, making = nodes.make(Path(folder), count)
        peer = Path(folder, "bare")
        nodes.run_here("bare", str(peer), lab=lab)
        _in_bare(peer)  # the first time, everything is new to it
        check(lab, peer)
        about = {"nodes": count, "making, KiB": making, "idle, KiB": with_peak(lab, BIN / "doit", "image")[1]}
        yield Pair(f"{NAME}, {count:,} nodes", lambda: _idle(lab), lambda: _in_bare(peer), about)


def growing(runs: int) -> Sequence[Comparison]:
    """Time MANY nodes beside a plain file, and beside NODES."""
    with prepared(MANY) as many, prepared(NODES) as few:
        peak = max(many.about["making, KiB"], many.about["idle, KiB"])
        if peak > MEMORY:
            raise MetisError(f"{peak} KiB of memory, and {MEMORY} were promised")
        growth = Pair(f"{NAME}, {MANY:,} nodes beside {NODES:,}", many.ours, few.ours, many.about)
        return [
            side_by_side(many, runs=runs, bound=BOUND),
            side_by_side(growth, runs=runs, bound=GROWTH),
        ]


def check(lab: Lab, peer: Path) -> None:
    """Refuse to compare what is not equal, or not idle."""
    if sorted(_idle(lab).splitlines()) != sorted(_in_bare(peer).splitlines()):
        raise MetisError("the two report different tasks")
    names = sorted(path.stem for path in (lab.inventory / "nodes").glob("*.yaml"))
    sample = [word for name in names[:: max(1, len(names) // SAMPLE)] for word in ("--node", name)]
    deep = lab.metis("image", "--deep", *sample)
    if deep.code or deep.tasks("run"):
        raise MetisError(f"an image is not what its receipt says: {deep.err[:500]}")
    heavy = HEAVY & loaded(lab)
    if heavy:
        raise MetisError(f"imported with nothing to do: {', '.join(sorted(heavy))}")


def _idle(lab: Lab) -> str:
    """What `doit image` reports, which must be that everything is up to date."""
    report = lab.doit("image")
    if report.code or report.tasks("run"):
        raise MetisError(f"not everything is up to date: {report.out[:200]} {report.err[:500]}")
    return report.out


def loaded(lab: Lab) -> set[str]:
    """All modules that `doit image` has imported at its end."""
    done = process.run(
        [BIN / "python", "-c", _LOADED.format(doit=str(BIN / "doit"))],
        cwd=REPOSITORY,
        extra_environment=lab.variables({}),
    )
    line = next(line for line in done.err.decode().splitlines() if line.startswith("loaded:"))
    return set(line.split()[1:])


def _in_bare(folder: Path) -> str:
    return process.run([BIN / "doit", "image"], cwd=folder).out.decode()
