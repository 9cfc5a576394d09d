"""`metis watch`: what changed on the nodes since the last look."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from ..amounts import seconds
from ..errors import MetisError, UsageError, known
from .facts import facts_of, since_option, snapshots_option
from .options import common, lab_of, print_json


@click.command()
@common
@snapshots_option
@since_option
@click.option("--interval", metavar="AGE", help="Look again and again, so far apart: 5m or 1h, for example.")
@click.option("--history", is_flag=True, help="Print what was recommended for which class, and when.")
def watch(
    places: Sequence[Path],
    since: str,
    interval: str | None,
    history: bool,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Compare all nodes with the inventory, keep what was found, and say what changed since the last look.

    It is kept in artifacts/history.sqlite3. A line begins with + for what came, ~ for what is otherwise, -
    for what is gone, = for what is recommended for a class, ? for who fell silent, ! for who spoke again.
    """
    if history:
        _show_history(flags, as_json=as_json)
        return
    pause = _pause(interval)
    if pause is None:
        _look(flags, places, since, as_json=as_json)
        return
    with _stopped_by_signals() as stop:
        is_first = True
        while not stop.is_set():
            try:
                _look(flags, places, since, as_json=as_json)
            except (MetisError, OSError) as error:
                if is_first and isinstance(error, UsageError):  # later on a place may be away for a while
                    raise
                _say(known(error))
            is_first = False
            stop.wait(pause)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """What Ctrl-C and SIGTERM set, so that a look is finished; who sends a second one ends it.

    An exception instead could come while Python lets go of a database, where it is dropped, and the watch
    would go on.
    """
    stop = threading.Event()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def ask(_number: int, _frame: object) -> None:
        stop.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        for number in before:
            signal.signal(number, ask)
        yield stop
    finally:
        restore()


def _look(flags: dict[str, str | None], places: Sequence[Path], since: str, *, as_json: bool) -> None:
    from ..lab.facts import watch as look

    now = datetime.now(UTC)
    lab, found = facts_of(flags, places, since, now)
    changes = look(lab, found, now)
    if as_json:
        print_json({"at": now.isoformat(timespec="seconds"), **changes.to_data()})
    else:
        click.echo(changes.to_text(), nl=False)
    for error in found.errors.values():
        _say(error)


def _say(error: MetisError) -> None:
    for line in str(error).splitlines():
        click.echo(f"metis: {line}", err=True)


def _pause(interval: str | None) -> int | None:
    try:
        pause = None if interval is None else seconds(interval)
    except ValueError:
        pause = 0
    if pause == 0:
        raise UsageError(f"--interval is {interval!r}", "write it as 90m, 12h or 1d")
    return pause


def _show_history(flags: dict[str, str | None], *, as_json: bool) -> None:
    from ..history.watches import targets_history
    from ..tables import columns

    rows = targets_history(lab_of(flags, secrets=False).artifacts.history)
    if as_json:
        print_json(rows)
        return
    heads = ("class", "item", "version", "since", "until")
    for line in columns([heads, *(tuple(row[name] or "-" for name in heads) for row in rows)]):
        click.echo(line)
