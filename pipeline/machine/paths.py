"""Where a path leads, and what lies there by convention."""

from __future__ import annotations

from pathlib import Path

DEVICES = Path("/dev")
"""Below it lie devices, and plain files there are in memory."""


def lies_below(path: Path, folder: Path) -> bool:
    """Whether a path is a place below a folder, by its name or by what a link there leads to."""
    top = folder.resolve()
    return any(top in place.parents for place in (path.parent.resolve() / path.name, path.resolve()))
