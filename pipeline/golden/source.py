"""The port that every source of goldens fits; which source serves which scheme is decided in `fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..errors import MetisError
from ..progress import Reporter


class TooLargeError(MetisError):
    """A source that brings more than `limit` bytes; `size` is how many, None where that is not known."""

    def __init__(self, name: str, limit: int, size: int | None = None) -> None:
        told = f"more than {limit} bytes" if size is None else f"{size} bytes, more than {limit}"
        super().__init__(f"{name} has {told}", "raise card.max_size in cluster.yaml, or take a smaller file")


class Source(Protocol):
    """One place that one file comes from."""

    @property
    def name(self) -> str:
        """What messages call it; holds no secret, so a URL's query is left out."""

    @property
    def recipe(self) -> str | None:
        """The SHA-256 of how it is made, for what is made here; None for what is published with a hash."""

    @property
    def remote(self) -> bool:
        """Whether it takes a network to reach it."""

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Write the whole file to `into` and give the SHA-256 of the bytes that `into` then holds.

        What it was asked for is the caller's to compare. The folder of `into` is the source's alone: what it
        leaves there after an error, it finds there the next time, and may go on from. What is published is
        taken up to `limit` bytes. Raises TooLargeError for more, MetisError for what else is wrong with the
        source, and OSError when `into` cannot be written.
        """
