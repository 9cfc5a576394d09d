"""hosts(5): the name by which the node calls itself."""

from __future__ import annotations

from .lines import Arguments, joined, lines


def hosts(text: str, arguments: Arguments, _path: str) -> str:
    """Make 127.0.1.1 stand for the node's name; other addresses stay as they are."""
    names = f"127.0.1.1\t{arguments['names']}"
    kept = [line for line in lines(text) if line.split()[:1] != ["127.0.1.1"]]
    after = next((i + 1 for i, line in enumerate(kept) if line.split()[:1] == ["127.0.0.1"]), 0)
    if after == 0:
        kept.insert(0, "127.0.0.1\tlocalhost")
        after = 1
    return joined([*kept[:after], names, *kept[after:]])
