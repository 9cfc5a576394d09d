"""Figures that are kept as JSON, and what has changed since: ratios, since machines and their load differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import MetisError, reason_of

from .compare import Comparison, Cost, columns, spread

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """Comparisons, and the state of the machine when they began."""

    machine: Mapping[str, Any]
    comparisons: Sequence[Comparison]


def write(path: Path, kept: Kept) -> None:
    """Keep figures in a file."""
    data = {
        "format": FORMAT,
        "machine": kept.machine,
        "comparisons": [item.to_data() for item in kept.comparisons],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n")


def read(path: Path) -> Kept:
    """The figures that a file keeps. Raises MetisError for a file that is none of ours."""
    try:
        data = json.loads(path.read_bytes())
        if data["format"] != FORMAT:
            raise ValueError(data["format"])
        return Kept(dict(data["machine"]), [_comparison(item) for item in data["comparisons"]])
    except OSError as error:
        raise MetisError(f"cannot read {path}: {reason_of(error)}") from None
    except (ValueError, KeyError, TypeError):
        raise MetisError(
            f"{path} holds no figures of `python -m benchmarks`", "make them anew with --output"
        ) from None


def _comparison(data: Mapping[str, Any]) -> Comparison:
    bound = data["bound"]
    ours, peer = (
        [Cost(float(cost["wall"]), float(cost["cpu"])) for cost in data[side]] for side in ("ours", "peer")
    )
    found = Comparison(
        str(data["name"]), None if bound is None else float(bound), ours, peer, dict(data["about"])
    )
    if not found.ours or len(found.ours) != len(found.peer) or min(cost.wall for cost in found.peer) <= 0:
        raise ValueError
    return found


def changes(then: Kept, now: Kept) -> str:
    """What is in both, for people; a change counts where no ratio of now is among those of then."""
    before = {item.name: item for item in then.comparisons}
    rows = [
        (item.name, spread(before[item.name].ratios), spread(item.ratios), _change(before[item.name], item))
        for item in now.comparisons
        if item.name in before
    ]
    differing = [
        f"{key}: {then.machine.get(key)} then, {now.machine.get(key)} now"
        for key in ("cores", "kernel", "python")
        if then.machine.get(key) != now.machine.get(key)
    ]
    return "\n".join([*differing, columns([("", "ratio then", "ratio now", "change"), *rows])])


def _change(then: Comparison, now: Comparison) -> str:
    percent = f"{(now.ratio / then.ratio - 1) * 100:+.0f}%"
    if min(now.ratios) > max(then.ratios):
        return f"{percent} SLOWER"
    return f"{percent} faster" if max(now.ratios) < min(then.ratios) else percent
