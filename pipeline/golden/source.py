"""What is asked for, and the port that every source of it fits; `schemes` says which serves which scheme."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import MetisError, SourceError
from ..machine.progress import Reporter
from ..model import Signature


@dataclass(frozen=True, slots=True)
class Wanted:
    """A published file: where it is, and what it is checked by.

    `sha256` is of the file as published, None where nobody has said or recorded it. The `mirrors` have the
    same file. `sums` is where the publisher lists hashes; then the `signature` is of that list, else of the
    file. `arch` is as Debian names it.
    """

    source: str
    sha256: str | None
    arch: str
    mirrors: tuple[str, ...] = ()
    sums: str | None = None
    signature: Signature | None = None


class TooLargeError(MetisError):
    """A source that brings more than `limit` bytes; `size` is how many, None where that is not known."""

    def __init__(self, name: str, limit: int, size: int | None = None) -> None:
        told = f"more than {limit} bytes" if size is None else f"{size} bytes, more than {limit}"
        super().__init__(f"{name} has {told}", "raise card.max_size in cluster.yaml, or take a smaller file")


class AbsentError(SourceError):
    """A source that was reached, and has nothing there."""


class DeniedError(SourceError):
    """A source that was reached, and does not let us in."""


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
