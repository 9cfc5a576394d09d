"""What is kept of builds, burns, what sentinels showed and what failed of a class, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ..errors import MetisError, one_line

Kind = Literal["build", "burn", "sentinel", "golden", "base"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OF_CLASSES: tuple[Kind, ...] = ("golden", "base")
"""Of these only failures are kept; they are of a class, and of no node."""
Verdict = Literal["built", "burned", "failed", "drift", "mended", "silent", "heard"]
"""Builds and burns end well or fail. Sentinels show drift that came or is otherwise, and that it went; or
they fall silent, and are heard again."""
LONGEST = 500
"""Characters of the words for what happened."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done for a node, or seen of it, and what came of that.

    `at` is when it began, in UTC as ISO 8601 has it. `node` is empty for what is of a class alone. `why` is a
    line of words, and `code` the exit code of a failure. `size` is in bytes: those that an image maps, those
    that were written to a card. `image` is the id of the image, empty where none came to be. `id` counts up;
    it is 0 until the event is kept.
    """

    kind: Kind
    at: str
    node: str
    klass: str
    verdict: Verdict
    seconds: float
    size: int = 0
    image: str = ""
    why: str = ""
    code: int = 0
    id: int = 0

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self)
        data["class"] = data.pop("klass")
        return data


@dataclass(frozen=True, slots=True)
class Build:
    """A build of an image: what it was made of.

    `manifest` is the id of the node's manifest and `base` that of the base, empty where a failure came before
    there was one; `base_from` is what the base was made from, by the names of `steps.ids`. `secrets` says
    which source and versions the secrets came from, as the receipt of the image does; `metis` is the version
    that built.
    """

    event: Event
    manifest: str = ""
    base: str = ""
    base_from: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    metis: str = ""

    @property
    def golden(self) -> str:
        """The SHA-256 of the golden."""
        return str(self.base_from.get("golden", ""))

    @property
    def base_manifest(self) -> str:
        """The id of the manifest of the base."""
        return str(self.base_from.get("manifest", ""))

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "event": self.event.to_data(), "golden": self.golden}


@dataclass(frozen=True, slots=True)
class Burn:
    """A burn of one card; `card` is what was known of it, as the receipt has it.

    `skipped` are the bytes that were there already, `rewritten` how many places needed a second try, and
    `files` how many were compared, None where none were.
    """

    event: Event
    card: Mapping[str, Any] = field(default_factory=dict)
    skipped: int = 0
    rewritten: int = 0
    files: int | None = None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "event": self.event.to_data()}


def reason(error: MetisError) -> str:
    """An error as one line that fits into a history; it may be of many lines."""
    return fitting("; ".join(str(error).splitlines()))


def fitting(text: str) -> str:
    """A text as one line that fits into a history."""
    return one_line(text, LONGEST)
