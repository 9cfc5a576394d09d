"""A disk that is soon full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.machine import process


@contextmanager
def small_disk(folder: Path, size: int, *, held: bool = False) -> Iterator[Path]:
    """A file system of its own of so many bytes; mounting one takes root.

    In the end nobody may use it any more, unless it may be `held` by somebody who is still to end.
    """
    folder.mkdir()
    words: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder]
    mounted = process.run(words, check=False)
    if mounted.code != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.last_words}")
    try:
        yield folder
    finally:
        process.run(["umount", *(["--lazy"] if held else []), folder])


def fill(file: Path) -> None:
    """Take all the room that is left for a file."""
    with file.open("wb", buffering=0) as rest:
        for size in (1 << 16, 1 << 12):
            try:
                while rest.write(b"0" * size):
                    pass
            except OSError:
                continue
