"""Pictures as the site draws them: flowcharts of Mermaid in the language of Graphviz.

In a repository a browser draws Mermaid. A site would need three megabytes of script for it; `dot` draws what
our pages have while the site is made.
"""

from __future__ import annotations

import re

_FLOWCHART = re.compile(r"^```mermaid\nflowchart TD\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ARROWS = re.compile(r" +(\w+(?: & \w+)*) --> (\w+(?: & \w+)*)")
_LOOK = 'node [shape=box, style="rounded,filled", fillcolor=white, fontname=sans]'


def drawn(page: str) -> str:
    """A page with its flowcharts as `graphviz` directives; one of more than plain arrows stays."""
    return _FLOWCHART.sub(_drawn, page)


def _drawn(chart: re.Match[str]) -> str:
    arrows = [_ARROWS.fullmatch(line) for line in chart[1].splitlines()]
    edges = [_edge(arrow) for arrow in arrows if arrow]
    if len(edges) != len(arrows):
        return chart[0]
    return "\n".join(["```{graphviz}", "digraph {", _LOOK, *edges, "}", "```"])


def _edge(arrow: re.Match[str]) -> str:
    above, below = (" ".join(f'"{name}"' for name in side.split(" & ")) for side in arrow.groups())
    return f"{{{above}}} -> {{{below}}}"
