"""What all pages read: each node with its image, its burns, when it was heard of, and its drift.

It is made anew in the background and taken over whole: who reads it never waits, and never sees half of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import MetisError, from_os
from ..facts.finding import SEVERITIES
from ..steps.burned import last_burns
from .asking import Answer, Asking

EVERY = 30.0
"""Seconds between two looks where nothing calls for one sooner."""
FACTS_SINCE = "30d"
"""A node that said nothing for so long is silent."""


@dataclass(frozen=True, slots=True)
class Row:
    """A node at a glance. Times are in UTC, None for never; `drift` counts findings by severity."""

    node: str
    klass: str
    state: str
    why: str
    built: str | None
    burned: str | None = None
    seen: str | None = None
    is_silent: bool = False
    drift: Mapping[str, int] = field(default_factory=dict)

    @property
    def gravest(self) -> str:
        """The gravest severity of its findings, empty without one."""
        return next((level for level in SEVERITIES if self.drift.get(level)), "")

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self)
        data["class"] = data.pop("klass")
        return data


@dataclass(frozen=True, slots=True)
class Board:
    """All nodes by name, what was found of the classes, and what could not be told, a line each."""

    at: str | None = None
    rows: Mapping[str, Row] = field(default_factory=dict)
    classes: Mapping[str, Any] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()


def look(asking: Asking, burns: Path, snapshots: Path) -> Board:
    """Ask for everything; what has no answer is missing on the board, and its complaint is there."""
    complaints: list[str] = []

    def asked(*words: str) -> Any:  # noqa: ANN401 - JSON
        try:
            answer = asking.now(*words)
        except MetisError as error:
            answer = Answer(None, (str(error),), error.exit_code)
        complaints.extend(answer.complaints)
        return answer.data

    images = asked("status") or []
    facts = asked("facts", "--since", FACTS_SINCE) if snapshots.is_dir() else None
    return board(images, facts or {}, _burned(burns, complaints), tuple(complaints), datetime.now(UTC))


def _burned(burns: Path, complaints: list[str]) -> dict[str, str]:
    try:
        return {node: burned.at for node, burned in last_burns(burns).items()}
    except OSError as error:
        complaints.append(str(from_os(error)))
        return {}


def board(
    images: list[dict[str, Any]],
    facts: Mapping[str, Any],
    burned: Mapping[str, str],
    complaints: tuple[str, ...],
    now: datetime,
) -> Board:
    """A board of what `metis status` and `metis facts` say."""
    classes: Mapping[str, Any] = facts.get("classes", {})
    seen = {node: at for each in classes.values() for node, at in each["seen"].items()}
    silent = {node: at for each in classes.values() for node, at in each["silent"].items()}
    drift: dict[str, dict[str, int]] = {}
    for each in classes.values():
        for finding in each["findings"]:
            counts = drift.setdefault(finding["node"], {})
            counts[finding["severity"]] = counts.get(finding["severity"], 0) + 1
    rows = {
        image["node"]: Row(
            node=image["node"],
            klass=image["class"],
            state=image["state"],
            why=image["why"],
            built=image["built"],
            burned=burned.get(image["node"]),
            seen=seen.get(image["node"]) or silent.get(image["node"]),
            is_silent=image["node"] in silent,
            drift=drift.get(image["node"], {}),
        )
        for image in images
    }
    at = now.isoformat(timespec="seconds")
    return Board(at, rows, classes, tuple(facts.get("strangers", ())), complaints)


class Boards:
    """Keeps a board up to date."""

    def __init__(self, make: Callable[[], Board], changed: Callable[[], None]) -> None:
        self._make = make
        self._changed = changed
        self._awake = asyncio.Event()
        self.now = Board()

    def wake(self) -> None:
        """Have it made anew soon: something happened."""
        self._awake.set()

    async def run(self) -> None:
        """Make boards until cancelled."""
        while True:
            self._awake.clear()
            self.now = await asyncio.to_thread(self._make)
            self._changed()
            try:
                await asyncio.wait_for(self._awake.wait(), EVERY)
            except TimeoutError:
                continue
