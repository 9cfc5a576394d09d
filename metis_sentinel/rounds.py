"""One look at the node, or one each interval, and the deliveries between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from . import history
from .backoff import BASE
from .clock import Clock
from .courier import Courier
from .errors import SentinelError, reason_of
from .spool import Spool

TRIES = 3
"""So often in a row one look tries to deliver."""
PATIENCE = 60.0
"""Seconds: when the service wants more time than this, one look leaves what waits for the next one."""
SPREAD = 30.0
"""Seconds, at most, that a delivery is put off, so that not all nodes deliver at the same moment."""

Take = Callable[[str, int], "dict[str, Any]"]
"""From the root and the number of dropped snapshots to a snapshot."""
Show = Callable[["dict[str, Any]"], None]
Say = Callable[[str], None]


class Destination(NamedTuple):
    """What is done with each snapshot: printed, kept in the history at `out`, put into the spool."""

    show: Show | None
    out: Path | None
    limits: history.Limits
    spool: Spool | None


def look(take: Take, root: str, to: Destination, clock: Clock) -> None:
    """Take a snapshot and do all with it that can be done; then raise SentinelError for what could not."""
    try:
        snapshot = take(root, to.spool.dropped() if to.spool else 0)
    except OSError as error:
        raise SentinelError(f"cannot read the node at {root}: {reason_of(error)}", "see --root") from None
    data = json.dumps(snapshot, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    failed: list[str] = []
    if to.show:
        attempt(partial(to.show, snapshot), failed.append)
    if to.out:
        attempt(partial(history.write, to.out, snapshot["node"], data, to.limits, clock.now()), failed.append)
    if to.spool:
        attempt(partial(to.spool.put, snapshot, data), failed.append)
    if failed:
        raise SentinelError("; ".join(failed))


def deliver(courier: Courier, clock: Clock) -> bool:
    """Deliver all that waits; False when the service could not be reached, and it still waits."""
    while (pause := courier.wait()) is not None:
        if courier.failed >= TRIES or pause > PATIENCE:
            return False
        if pause:
            clock.sleep(pause)
        courier.step()
    return True


def forever(
    look_once: Callable[[], None], courier: Courier | None, clock: Clock, every: int, say: Say
) -> NoReturn:
    """Look now and after each `every` seconds, whatever fails; a look that takes longer skips the next.

    It goes on until the program is ended (`ending`).
    """
    start = clock.monotonic()
    while True:
        attempt(look_once, say)
        due = start + every * ((clock.monotonic() - start) // every + 1)
        if courier:
            courier.spread(min(SPREAD, every / 2))
        while (left := due - clock.monotonic()) > 0:
            if not attempt(partial(_go_on, courier, clock, due), say):
                clock.sleep(min(left, BASE))


def _go_on(courier: Courier | None, clock: Clock, due: float) -> None:
    """Deliver one snapshot, or sleep until one is to be delivered or the next look is due."""
    pause = courier.wait() if courier else None
    left = due - clock.monotonic()
    if courier and pause == 0:
        courier.step()
    elif left > 0:
        clock.sleep(left if pause is None else min(left, pause))


def attempt(action: Callable[[], object], say: Say) -> bool:
    """Do something, and say whether it went well; what failed is told, and no reason to end."""
    try:
        _explained(action)
    except SentinelError as error:
        say(str(error))
        return False
    return True


def _explained(action: Callable[[], object]) -> None:
    """Do something that raises SentinelError, whatever else it meant to raise."""
    try:
        action()
    except SentinelError:
        raise
    except OSError as error:
        raise SentinelError(f"{error.filename or 'this machine'}: {reason_of(error)}") from error
    except Exception as error:
        raise SentinelError(f"a mistake of the program: {error!r}", "please report it") from error
