"""Three nights of a lab: all images are made, nothing is to do, and the files of one class have changed.

The second night is compared with `doit image` over the same lab, which finds as little to do. On top, a
night reads the classes to ask for newer goldens, looks into the cache, and leaves a report and metrics. The
images are tiny, and where we are root they go through loop devices: what is measured is the run around
them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import MetisError
from tests.support import goldens
from tests.support.lab import QUICK_INJECTOR, Lab, class_text

from .compare import Comparison, Pair, side_by_side

NAME = "a night with nothing to do"
BOUND = 3.0
NODES = 50
CLASSES = 5


def measured(runs: int) -> Sequence[Comparison]:
    """Time a first night, nights with nothing to do beside their peer, and one after a class has changed."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        lab = make(Path(folder))
        about = {"nodes": NODES, "classes": CLASSES, "injector": QUICK_INJECTOR, "first": _night(lab, NODES)}
        pair = Pair(f"{NAME}, {NODES} nodes", lambda: _night(lab, 0), lambda: _idle(lab), about)
        found = side_by_side(pair, runs=runs, bound=BOUND)
        lab.write("overlays/class-0/root/etc/issue", "changed\n")
        about["one class changed"] = _night(lab, NODES // CLASSES)
    for what in ("first", "one class changed"):
        print(f"  {what}: {about[what]:.1f} s", file=sys.stderr)
    return [found]


def make(root: Path) -> Lab:
    """A lab in which nothing is built yet."""
    lab = Lab(root / "lab", {"METIS_CACHE": str(root / "cache"), "METIS_INJECTOR": QUICK_INJECTOR})
    golden = goldens.tiny_golden(size=4)
    sha256 = goldens.sha256(golden)
    for number in range(CLASSES):
        overlay = f"overlays/class-{number}/root"
        lab.write(f"classes/class-{number}.yaml", class_text(golden, sha256, f"root_overlay: {overlay}\n"))
        lab.write(f"{overlay}/etc/issue", f"class {number}\n")
    for number in range(NODES):
        address = f"address: 10.1.0.{number + 2}/16, gateway: 10.1.255.254"
        lab.write(
            f"nodes/node-{number:02}.yaml",
            f"class: class-{number % CLASSES}\nnetwork: {{interface: eth0, {address}}}\n",
        )
    return lab


def _night(lab: Lab, built: int) -> float:
    """The seconds of a nightly run, which must have built so many images and left the others alone."""
    begun = time.perf_counter()
    said = lab.metis("nightly", "--json")
    seconds = time.perf_counter() - begun
    counts = json.loads(said.out)["counts"] if said.code == 0 else {}
    if counts != {"built": built, "skipped": NODES - built, "failed": 0}:
        raise MetisError(f"not the night that was meant: {counts} {said.err[-500:]}")
    return seconds


def _idle(lab: Lab) -> None:
    """What the peer reports, which must be that everything is up to date."""
    said = lab.doit("image")
    if said.code or said.tasks("run"):
        raise MetisError(f"not everything is up to date: {said.out[:200]} {said.err[:500]}")
