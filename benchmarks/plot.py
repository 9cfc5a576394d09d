"""Ratios as a picture: a dot for each pair of runs, a tick for their median, a bar for the bound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .compare import Comparison

_INCHES = 0.35
"""The height of a comparison."""


def draw(comparisons: Sequence[Comparison], target: Path) -> None:
    """Write the picture as SVG; the same comparisons give the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "metis", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(9, 1.2 + _INCHES * len(comparisons)), layout="constrained")
        axes = figure.add_subplot()
        for place, item in enumerate(comparisons):
            colour = "tab:blue" if item.is_good else "tab:red"
            axes.plot(item.ratios, [place] * len(item.ratios), ".", color=colour, alpha=0.5)
            axes.plot([item.ratio], [place], "|", color=colour, markersize=14)
            if item.bound is not None:
                axes.plot([item.bound], [place], "|", color="black", markersize=14, markeredgewidth=3)
        axes.axvline(1, color="grey", linewidth=0.5)
        axes.set_xscale("log")
        axes.set_yticks(range(len(comparisons)), [item.name for item in comparisons])
        axes.invert_yaxis()
        axes.set_xlabel("time of Metis / time of its peer (black: at most)")
        figure.savefig(target, format="svg", metadata={"Date": None})
