"""Sixteen images, beside virt-customize(1) for each of them, and beside what no way of making them can avoid.

Golden and base are ready, of Debian as it would be installed. All run with as many at a time as is best for
them: ours with all at once, which share the launches of appliances; virt-customize and cp(1) with one for
each core. The time of virt-customize is that of a few images, taken as many times as they go into all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pipeline.errors import MetisError
from pipeline.machine import process
from pipeline.steps.artifacts import bmap_of, receipt_of
from tests.support.lab import Lab

from . import one_image, virt_customize
from .compare import Comparison, Pair, side_by_side

IMAGES = 16
CUSTOMIZED = 4
"""Images that virt-customize makes, which takes half a minute for each."""
BOUND = 0.15
"""Of virt-customize's time."""
BOUND_OF_COPIES = 2.0
"""Of the time for the copies of the base, and one launch."""


def measured(runs: int) -> Sequence[Comparison]:
    """Ours through the appliance beside virt-customize once, and beside the copies and a launch."""
    with virt_customize.ready(virt_customize.DEBIAN) as bench:
        nodes = _declare(bench.lab)
        commands = virt_customize.commands_of(bench.words[1:], bench.copy.with_name("commands"))
        bench.lab.environment["METIS_INJECTOR"] = "guestfs"
        about = {"accelerator": bench.words[0], "base": bench.base.stat().st_blocks * 512, "images": IMAGES}

        def ours() -> None:
            _build(bench.lab, nodes)

        ours()  # the identities of the nodes are made
        name = f"{IMAGES} images, guestfs"
        copies = Pair(
            f"{name} : copies and one launch", ours, lambda: _copied_and_launched(bench), about, is_warm=True
        )
        customized = Pair(
            f"{name} : virt-customize, {CUSTOMIZED} of them",
            ours,
            lambda: _customized(bench, commands),
            {**about, "customized": CUSTOMIZED},
            is_warm=True,
        )
        return [
            side_by_side(copies, runs=runs, bound=BOUND_OF_COPIES),
            _times(side_by_side(customized, runs=1, bound=BOUND), IMAGES / CUSTOMIZED),
        ]


def _declare(lab: Lab) -> Sequence[str]:
    """Add nodes until there are so many; gives their names."""
    names = [one_image.NODE, *(f"titan-{number}" for number in range(14, 13 + IMAGES))]
    for name in names[1:]:
        lab.write(
            f"nodes/{name}.yaml", one_image.NODE_TEXT.replace(".13/24", f".{name.rpartition('-')[2]}/24")
        )
        lab.write_secrets(name, f"k3s_token: K10{'ab' * 32}::node:5ec2e7\n")
    return names


def _build(lab: Lab, nodes: Sequence[str]) -> None:
    """What an operator does whose images are gone."""
    images = [lab.artifacts / f"{node}.img" for node in nodes]
    for image in images:
        for file in (image, bmap_of(image), receipt_of(image)):
            file.unlink(missing_ok=True)
    report = lab.doit("-n", str(IMAGES), "image")
    if report.code or not all(bmap_of(image).is_file() for image in images):
        raise MetisError(f"not built: {report.err[-500:]}")


def _copied_and_launched(bench: virt_customize.Bench) -> None:
    benches = _copies(bench, IMAGES)
    _at_once(lambda each: each.copied(), benches)
    process.run(
        ["guestfish", "--format=raw", "-a", benches[0].copy, "run"],
        timeout=virt_customize.TIMEOUT,
        extra_environment=bench.variables,
    )
    for each in benches:
        each.copy.unlink()


def _customized(bench: virt_customize.Bench, commands: Path) -> None:
    benches = _copies(bench, CUSTOMIZED)
    _at_once(lambda each: each.customize(commands), benches)
    for each in benches:
        each.copy.unlink()


def _copies(bench: virt_customize.Bench, count: int) -> Sequence[virt_customize.Bench]:
    return [replace(bench, copy=bench.copy.with_name(f"peer-{number}.img")) for number in range(count)]


def _at_once(work: Callable[[virt_customize.Bench], None], benches: Iterable[virt_customize.Bench]) -> None:
    """Do work on each in as many threads as there are cores, and raise what goes wrong."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(work, benches))


def _times(found: Comparison, factor: float) -> Comparison:
    """The same, with the peer's work done so many times."""
    peer = [replace(cost, wall=cost.wall * factor, cpu=cost.cpu * factor) for cost in found.peer]
    return replace(found, peer=peer)
