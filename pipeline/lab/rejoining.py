"""Waits for a node to be back: Ready, by what its kubelet said after the last burn; and keeps when it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..amounts import duration
from ..cluster.port import Cluster, Node
from ..errors import MetisError, SourceError, one_line
from ..facts.show import stamp
from ..history.rejoins import Rejoin, keep
from ..machine.progress import Reporter

LONGEST = 200
"""Characters of a stranger's words within a line."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a node is on its way back.

    It `is_heard` once its kubelet has spoken after the burn: what was said before is of the node that is
    gone. `words` say what it is, and so what is waited for.
    """

    is_heard: bool
    is_back: bool
    words: str


def standing(node: Node | None, burned: datetime | None) -> Standing:
    """How far a node is, as the cluster has it; `burned` is its last burn, where one is known."""
    if node is None:
        return Standing(False, False, "not in the cluster yet")
    is_heard = burned is None or (node.is_ready if node.heard is None else node.heard >= burned)
    if not is_heard:
        heard = "" if node.heard is None else f", last heard of at {in_utc(node.heard)}"
        return Standing(False, False, f"not heard of since its card was burned{heard}")
    if node.is_ready:
        return Standing(True, True, "Ready")
    since = "" if node.since is None else f" since {in_utc(node.since)}"
    return Standing(True, False, f"NotReady{since}: {_cut(node.reason) or 'it does not say why'}")


def awaited(
    name: str,
    looks: Iterable[Node | None],
    burned: datetime | None,
    meet: Callable[[Node], None],
    reporter: Reporter,
) -> tuple[Node | None, Standing]:
    """The first of several looks at a node by which it is back, else the last, and how far it is then.

    `meet` is given the node at each look at which it was heard of, and may refuse it.
    """
    found, state = None, standing(None, burned)
    with ExitStack() as shown:
        for found in looks:
            state = standing(found, burned)
            if found is not None and state.is_heard:
                meet(found)
            if state.is_back:
                break
            shown.close()
            shown.enter_context(reporter.step(f"{name}: waiting, {state.words}"))
    return found, state


def not_back(name: str, state: Standing, waited: float | None, warned: str) -> MetisError:
    """The error for a node that is not back; `waited` are the seconds that were given to it, if any."""
    if waited is None:
        return MetisError(f"{name} is {state.words}", "wait for it with --wait")
    what = f"{name} is not back after {duration(waited)}: {state.words}{warned}"
    return MetisError(what, "look at the node itself, and run again")


def complaint(cluster: Cluster, node_name: str) -> str:
    """What the cluster itself complains of last, to go on with; nothing where it does not."""
    try:
        newest = next(iter(cluster.warnings(node_name)), None)
    except SourceError as error:
        return f"; its events cannot be read ({error})"
    if newest is None:
        return ""
    at = "" if newest.at is None else f" at {in_utc(newest.at)}"
    return f"; the cluster warns{at}: {_cut(newest.reason)}: {_cut(newest.message)}"


def in_utc(at: datetime) -> str:
    """A time in UTC, to the second."""
    return stamp(at.astimezone(UTC))


def _cut(text: str) -> str:
    return one_line(text, LONGEST)


# -------------------------------------------------------------------------------------------- history


class Keeper:
    """Keeps one node's return in the history, as far as it is seen; `rejoin` is what the history has."""

    def __init__(self, file: Path, node: str, burned: datetime | None) -> None:
        self._file = file
        self._node = node
        self._burned = burned
        self.rejoin: Rejoin | None = None

    def saw(self, found: Node) -> None:
        """Keep that the cluster has heard of the node, and since when it is Ready, once each."""
        ready_at = in_utc(found.since or datetime.now(UTC)) if found.is_ready else None
        if self.rejoin is not None and (ready_at is None or self.rejoin.ready_at is not None):
            return
        if was_away(found, self._burned) and (self._burned or ready_at):
            burned_at = in_utc(self._burned) if self._burned else None
            self.rejoin = keep(self._file, Rejoin(self._node, burned_at, in_utc(datetime.now(UTC)), ready_at))


def was_away(node: Node, burned: datetime | None) -> bool:
    """Whether a node can have come back since the burn: one that was Ready all the time has not been off."""
    return not (node.is_ready and node.since and burned and node.since < burned)
