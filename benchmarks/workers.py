"""Two workers beside one, at work that waits for something else than this machine's cores.

Each image takes a worker a while in which no core is busy, as for a slow disk or a far network. What counts
is the time from when the first image was begun to when the last was done, by the workers' own clocks, which
are one clock here: what goes on between two images counts too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.errors import MetisError
from tests.support import goldens
from tests.support.lab import Lab, class_text
from tests.support.workers import Cluster, late, scheduler

from .compare import Comparison, Cost

NAME = "two workers, beside one"
BOUND = 1 / 1.8
IMAGES = 8
LATENCY = 1.5
"""Seconds."""


def measured(runs: int) -> Sequence[Comparison]:
    """Have the same images made by one worker and by two, in turn."""
    about = {"images": IMAGES, "latency": LATENCY}
    found = Comparison(f"{NAME}, {IMAGES} images", BOUND, (), (), about)
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as name:
        lab = _lab(Path(name))
        # What one run alone would do is done: bases are there, and identities.
        if lab.metis("image", "--jobs", "2").code:
            raise MetisError("the images cannot be made here")
        for number in range(runs):
            with scheduler(Path(name) / f"dask-{number}") as cluster:
                peer = _span(lab, cluster, ["first"])
                ours = _span(lab, cluster, ["first", "second"])
            found = replace(found, ours=(*found.ours, ours), peer=(*found.peer, peer))
    return [found]


def _lab(root: Path) -> Lab:
    lab, golden = Lab(root, {"METIS_INJECTOR": "direct"}), goldens.tiny_golden(size=4)
    lab.write("classes/ash.yaml", class_text(golden, goldens.sha256(golden)))
    for number in range(1, IMAGES + 1):
        address = f"address: 192.0.2.{number}/24, gateway: 192.0.2.254"
        lab.write(f"nodes/n-{number}.yaml", f"class: ash\nnetwork: {{interface: eth0, {address}}}\n")
    return lab


def _span(lab: Lab, cluster: Cluster, workers: Sequence[str]) -> Cost:
    """From the first image's begin to the last one's end, all images made by these workers."""
    for name in workers:
        if name not in cluster.logs:
            cluster.start(lab, name, code=late(LATENCY))
    cluster.wait()
    for file in lab.artifacts.glob("n-*"):
        file.unlink()
    told = {name: len(_moments(cluster, name)) for name in workers}
    said = lab.metis("image", **cluster.environment)
    moments = [moment for name in workers for moment in _moments(cluster, name)[told[name] :]]
    if said.code or len(moments) != 2 * IMAGES:
        raise MetisError(f"not the images that were meant: {len(moments)} {said.err[-500:]}")
    return Cost(max(moments) - min(moments), 0.0)


def _moments(cluster: Cluster, name: str) -> list[float]:
    """When a worker began an image or was done with one."""
    lines = cluster.logs[name].read_text().splitlines()
    return [float(line.split()[1]) for line in lines if line.startswith("image ")]
