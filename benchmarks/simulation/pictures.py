"""The nights as pictures: SVG with its text as text, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from .night import Night

_NIGHT = 8 * 3600
_MINUTE, _HOUR = 60, 3600


def resources(nights: Mapping[tuple[str, int], Night], file: Path) -> None:
    """How busy each resource is, stage by stage, for each number of nodes."""
    counts = sorted({nodes for _, nodes in nights})
    stages = list(dict.fromkeys(stage for stage, _ in nights))
    names = list(next(iter(nights.values())).busy)
    figure = _figure(2.2 * len(counts))
    for row, nodes in enumerate(counts):
        axes = figure.add_subplot(len(counts), 1, row + 1)
        for place, name in enumerate(names):
            across = [at + (place - (len(names) - 1) / 2) * 0.2 for at in range(len(stages))]
            axes.bar(across, [nights[stage, nodes].busy[name] for stage in stages], 0.18, label=name)
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("share of the night")
        axes.set_title(f"{nodes:,} nodes, all with a new golden", loc="left", fontsize=9)
        axes.set_xticks(range(len(stages)), [_under(nights[stage, nodes], stage) for stage in stages])
    figure.axes[0].legend(ncols=len(names), loc="lower left", bbox_to_anchor=(0.3, 1.0), frameon=False)
    _save(figure, file)


def lengths(curves: Mapping[str, Sequence[tuple[int, Night]]], file: Path) -> None:
    """How long nights are by the number of nodes; a cross where the memory of a coordinator runs out."""
    figure = _figure(4.5)
    axes = figure.add_subplot(1, 1, 1)
    for number, (name, points) in enumerate(curves.items()):
        colour, style = f"C{number // 2}", "--" if number % 2 else "-"
        axes.plot(
            [nodes for nodes, _ in points],
            [night.seconds / _HOUR for _, night in points],
            color=colour,
            linestyle=style,
            label=name,
        )
        for nodes, night in points:
            if night.memory > 1:
                axes.plot([nodes], [night.seconds / _HOUR], "x", color=colour)
    axes.axhline(_NIGHT / _HOUR, color="0.6", linewidth=0.8)
    axes.text(20_000, _NIGHT / _HOUR * 1.1, "a night of eight hours", color="0.4")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("nodes")
    axes.set_ylabel("hours")
    axes.legend(frameon=False)
    _save(figure, file)


def length(seconds: float) -> str:
    """The length of a night in words."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"


def _under(night: Night, stage: str) -> str:
    return f"{stage}\n{length(night.seconds)}: {night.limit}"


def _figure(height: float) -> Figure:
    return Figure(figsize=(11, height), layout="constrained")


def _save(figure: Figure, file: Path) -> None:
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "metis"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
