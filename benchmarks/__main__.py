"""`python -m benchmarks`: run the comparisons, print their ratios, keep the figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.errors import MetisError

from . import nothing_to_do, one_image
from .compare import Pair, machine, side_by_side, table

OUTPUT = Path("artifacts/bench/results.json")
MANY_NODES = 10_000

Prepare = Callable[[], AbstractContextManager[Pair]]
SUITE: Mapping[str, tuple[Prepare, int, float | None]] = {
    # what makes the pair ready, how often it runs, the largest ratio that is good enough
    "nothing_to_do": (lambda: nothing_to_do.prepared(nothing_to_do.NODES), 7, nothing_to_do.BOUND),
    "one_image": (one_image.prepared, 5, one_image.BOUND),
    "many_nodes": (lambda: nothing_to_do.prepared(MANY_NODES), 3, None),
}
USUAL = ("nothing_to_do", "one_image")


def main() -> int:
    """Run what is asked for; 1 where a ratio misses its bound."""
    options = _options()
    started = machine()
    found = []
    for name in [options.only] if options.only else USUAL:
        print(f"{name} ...", file=sys.stderr, flush=True)
        prepare, runs, bound = SUITE[name]
        with prepare() as pair:
            found.append(side_by_side(pair, runs=options.runs or runs, bound=bound))
    print(table(found))
    data = {"machine": started, "comparisons": [item.to_data() for item in found]}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(data, indent=2) + "\n")
    return 0 if all(item.is_good for item in found) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        choices=SUITE,
        help="run one of them; many_nodes (10,000, for information, takes some minutes) runs only so",
    )
    parser.add_argument("--runs", type=int, help="so many pairs of runs")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"the figures as JSON ({OUTPUT})")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MetisError as error:
        sys.exit(f"benchmarks: {error}")
