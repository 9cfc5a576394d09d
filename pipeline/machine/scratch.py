"""Private folders for what is needed for a while only, and the sweep that removes what a kill has left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .durable import PART, make_private, own_folder, remove_if_left, remove_left


@contextmanager
def scratch(place: Path, purpose: str, note: Callable[[str], None]) -> Iterator[Path]:
    """Yield a new folder of mode 0700 in `place`, which is gone afterwards; so is what a kill has left.

    Where one cannot be removed, `note` is told: what is in it are secrets.
    """
    remove_left(make_private(place), note)
    with own_folder(place, purpose, note) as folder:
        yield folder


def sweep(root: Path, leave_out: Path) -> None:
    """Remove what is not finished below a folder, but what is below `leave_out` or in a folder in use."""
    for folder, inner, files in os.walk(root):
        here = Path(folder)
        if leave_out in {here, *here.parents}:
            inner.clear()
            continue
        for name in filter(_is_part, (*inner, *files)):
            remove_if_left(here / name)
        inner[:] = [name for name in inner if not _is_part(name)]


def _is_part(name: str) -> bool:
    return name.startswith(".") and name.endswith(PART)
