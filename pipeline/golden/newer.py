"""That a class's publisher has another golden now: who finds, pins and reports one share this word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Newer:
    """A golden that is published now, by its SHA-256, and is another one than the inventory pins.

    `edits` are what would pin it: by key of the class's image, the value that stands there and the new one.
    """

    class_name: str
    source: str
    pinned: str
    published: str
    edits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
