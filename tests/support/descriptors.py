"""Which files this process has open."""

from __future__ import annotations

from pathlib import Path


def descriptors() -> set[str]:
    """The numbers of all open files, to be held against those before by `<=`.

    What earlier tests have left is closed at any time: by a thread that ends, or as garbage.
    """
    return {each.name for each in Path("/proc/self/fd").iterdir()}
