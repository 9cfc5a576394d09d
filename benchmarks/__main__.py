"""`python -m benchmarks`: run the comparisons, print their ratios, keep the figures and a picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.errors import MetisError

from . import (
    burning,
    copying,
    facts,
    kept,
    many_images,
    nights,
    ninja,
    nothing_to_do,
    one_image,
    plot,
    pulling,
    service,
    unpacking,
    virt_customize,
    workers,
)
from .compare import Comparison, Pair, machine, side_by_side, table

OUTPUT = Path("artifacts/bench/results.json")

Measure = Callable[[int], Sequence[Comparison]]


def _pairs(prepare: Callable[[], AbstractContextManager[Pair]], bound: float | None) -> Measure:
    def measure(runs: int) -> Sequence[Comparison]:
        with prepare() as pair:
            return [side_by_side(pair, runs=runs, bound=bound)]

    return measure


SUITE: Mapping[str, tuple[Measure, int]] = {
    # what measures, and how often
    "nothing_to_do": (_pairs(lambda: nothing_to_do.prepared(nothing_to_do.NODES), nothing_to_do.BOUND), 7),
    "ninja": (_pairs(ninja.prepared, None), 5),
    "nightly": (nights.measured, 7),
    "facts": (facts.measured, 5),
    "one_image": (_pairs(one_image.prepared, one_image.BOUND), 5),
    "virt_customize": (virt_customize.measured, 3),
    "many_images": (many_images.measured, 3),
    "pull": (_pairs(pulling.prepared, pulling.BOUND), 5),
    "copying": (copying.measured, 7),
    "unpacking": (unpacking.measured, 7),
    "burn_plain": (burning.on_a_plain_card, 5),
    "burn_slow": (burning.on_a_slow_card, 3),
    "service": (service.measured, 1),
    "workers": (workers.measured, 3),
    "many_nodes": (nothing_to_do.growing, 5),
}


def main() -> int:
    """Run what is asked for; 1 where a ratio misses its bound."""
    options = _options()
    then = kept.read(options.against) if options.against else None
    started = machine()
    found: list[Comparison] = []
    for name in [options.only] if options.only else SUITE:
        print(f"{name} ...", file=sys.stderr, flush=True)
        measure, runs = SUITE[name]
        found += measure(options.runs or runs)
        now = kept.Kept(started, found)
        kept.write(options.output, now)  # after each, for it takes long
    print(table(found))
    if then:
        print(f"\nbeside {options.against}:\n{kept.changes(then, now)}")
    plot.draw(found, options.output.with_suffix(".svg"))
    return 0 if all(item.is_good for item in found) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        choices=SUITE,
        help="run one of them",
    )
    parser.add_argument("--runs", type=int, help="so many pairs of runs")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"the figures as JSON ({OUTPUT})")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with figures kept before")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MetisError as error:
        sys.exit(f"benchmarks: {error}")
