"""What all pages read: each node with its image, its burns, when it was heard of, and its drift.

It is made anew in the background and taken over whole: who reads it never waits, and never sees half of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ..errors import MetisError, cut, from_os
from ..facts.finding import SEVERITIES
from ..steps.burned import last_burns
from .asking import Answer, Asking

EVERY = 30.0
"""Seconds between two looks where nothing calls for one sooner."""
FACTS_SINCE = "30d"
"""A node that said nothing for so long is silent."""
SOON = 5.0
"""Seconds within which there is a look for what may come a thousand times in a minute."""
STILL = 10
"""So many looks at which nothing is otherwise are not told: pages say as of when they are."""
PATIENCE = 20.0
"""Seconds after which it is told that a look takes long."""
SLOW = "whoever is asked for the state of the nodes takes long to answer: what is shown is from before"
MOST, LONGEST = 20, 500
"""Complaints on a board, and characters of each."""
MOST_MADE = 100
"""So much that was made of a board is kept as long as the board is."""

T = TypeVar("T")


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
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes of this board, made once for all who ask by the same key; for one event loop."""
        if key not in self._made:
            if len(self._made) >= MOST_MADE:
                self._made.clear()
            self._made[key] = make()
        made: T = self._made[key]
        return made


def look(asking: Asking, burns: Path, snapshots: Path | None, last: Board) -> Board:
    """Ask for everything; what has no answer is as it was on the last board, and its complaint is there.

    Without a place for snapshots nobody asks for facts.
    """
    complaints: list[str] = []

    def asked(*words: str) -> Any:  # noqa: ANN401 - JSON
        try:
            answer = asking.now(*words)
        except MetisError as error:
            answer = Answer(None, (str(error),), error.exit_code)
        complaints.extend(answer.complaints)
        return answer.data

    images = asked("status")
    if images is None:
        return replace(last, complaints=few(complaints))
    facts = asked("facts", "--since", FACTS_SINCE) if snapshots and snapshots.is_dir() else {}
    if facts is None:
        facts = {"classes": last.classes, "strangers": last.strangers}
    burned = _burned(burns, complaints)
    return board(images, facts, burned, few(complaints), datetime.now(UTC))


def few(complaints: Iterable[str]) -> tuple[str, ...]:
    """Each complaint once, and no more of them than somebody reads."""
    once = list(dict.fromkeys(cut(line, LONGEST) for line in complaints))
    rest = len(once) - MOST
    return tuple(once) if rest <= 0 else (*once[:MOST], f"and {rest} more: `metis status` has them all")


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
    """Keeps a board up to date; `make` is given the last one, and runs in a thread of its own."""

    def __init__(
        self, make: Callable[[Board], Board], changed: Callable[[], None], patience: float = PATIENCE
    ) -> None:
        self._make = make
        self._changed = changed
        self._patience = patience
        self._awake = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._not_told = 0
        self._thread = ThreadPoolExecutor(1, "boards")
        self.now = Board()

    def wake(self) -> None:
        """Have it made anew now: something happened."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._awake.set()

    def wake_soon(self) -> None:
        """Have it made anew, once for all that happens within a few seconds."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON, self.wake)

    async def run(self) -> None:
        """Make boards until cancelled."""
        while True:
            self._awake.clear()
            begun = time.monotonic()
            await self._look()
            # However much happens, boards are made half of the time at most.
            await asyncio.sleep(min(time.monotonic() - begun, EVERY))
            try:
                async with asyncio.timeout(EVERY):
                    await self._awake.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        last = self.now
        making = asyncio.get_running_loop().run_in_executor(self._thread, self._make, last)
        await asyncio.wait([making], timeout=self._patience)
        if not making.done():
            self._take(replace(last, complaints=few([SLOW, *last.complaints])))
        self._take(await making)

    def _take(self, board: Board) -> None:
        is_same = self.now.at is not None and replace(board, at=self.now.at) == self.now
        self._not_told = self._not_told + 1 if is_same else 0
        self.now = board
        if self._not_told % STILL == 0:
            self._changed()
