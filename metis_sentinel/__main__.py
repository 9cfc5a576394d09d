"""`metis-sentinel`: one look at the node, or one each interval; errors become lines and exit codes here.

The parts are found in `snapshot` (what is read), `history`, `spool`, `courier` and `push` (where it goes) and
`rounds` (when). What only a delivery needs is imported only for one.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from . import ending, history, options, rounds
from .clock import REAL, Clock
from .courier import Courier
from .errors import SentinelError, reason_of, say
from .spool import Spool

DONE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 5


def main() -> NoReturn:
    """Do what the command line asks, and end with its exit code."""
    asked = options.parse(sys.argv[1:], os.environ)
    ending.end_with(DONE if asked.interval else FAILED)
    sys.exit(act(asked))


def run(arguments: Sequence[str], environment: Mapping[str, str], clock: Clock = REAL) -> int:
    """The same for a test, which brings its own clock; gives the exit code."""
    return act(options.parse(arguments, environment), clock)


def act(asked: Namespace, clock: Clock = REAL) -> int:
    """Do what is asked, and give the exit code."""
    try:
        if asked.text:
            _print(asked.text)
            return DONE
        return _sentinel(asked, clock)
    except SentinelError as error:
        say(str(error))
        return FAILED


def _sentinel(asked: Namespace, clock: Clock) -> int:
    from metis_sentinel.snapshot import take  # all that reads; --help and --schema start without it

    spool = Spool(asked.spool, asked.spool_keep, say) if asked.push else None
    try:
        courier = _courier(asked, spool, clock) if spool else None
    except SentinelError as error:
        say(str(error))
        return USAGE
    show = _shown(lines=bool(asked.interval)) if asked.print or not (asked.out or asked.push) else None
    to = rounds.Destination(show, asked.out, history.Limits(asked.keep, asked.max_age), spool)

    def look() -> None:
        rounds.look(take, asked.root, to, clock)

    if asked.interval:
        rounds.forever(look, courier, clock, asked.interval, say)
    code = DONE if rounds.attempt(look, say) else FAILED
    if courier and not rounds.deliver(courier, clock):
        say(f"the service cannot be reached: what waits in {asked.spool} is delivered by the next run")
        return code or UNREACHABLE
    return code


def _courier(asked: Namespace, spool: Spool, clock: Clock) -> Courier:
    from .push import Service  # http and TLS take time and memory

    service = Service(asked.push, asked.token_file, asked.ca)
    return Courier(spool, service.host, service.post, clock, say)


def _shown(*, lines: bool) -> rounds.Show:
    """Print snapshots as JSON: for people, or one on each line."""

    def show(snapshot: dict[str, Any]) -> None:
        _print(json.dumps(snapshot, sort_keys=True, indent=None if lines else 2).encode() + b"\n")

    return show


def _print(data: bytes) -> None:
    # Not sys.stdout: what it could not write, Python would try to write once more at its end.
    try:
        with ending.put_off(), os.fdopen(1, "wb", closefd=False) as out:
            out.write(data)
    except OSError as error:
        raise SentinelError(f"cannot print: {reason_of(error)}") from None


if __name__ == "__main__":
    main()
