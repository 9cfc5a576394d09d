"""A watch with an interval goes on through what will pass, and ends at once where it was asked wrongly."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from pipeline.commands import watch
from pipeline.errors import MetisError, UsageError

AWAY = UsageError("no snapshots in /srv")


def run(looks: list[Exception | None], monkeypatch: pytest.MonkeyPatch) -> Result:
    """Watch without a pause; each look ends so, and after the last the watch is stopped."""

    def look(*_: object, **_flags: object) -> None:
        error = next(left)
        if remaining.pop() == 1:
            signal.raise_signal(signal.SIGTERM)
        if error:
            raise error

    left: Iterator[Exception | None] = iter(looks)
    remaining = list(range(1, len(looks) + 1))
    monkeypatch.setattr(watch, "_look", look)
    monkeypatch.setattr(watch, "_pause", lambda _: 0)
    return CliRunner().invoke(watch.watch, ["--interval", "5m"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (AWAY, "metis: no snapshots in /srv"),
        (MetisError("history.sqlite3 cannot be used now"), "metis: history.sqlite3 cannot be used now"),
        (OSError(errno.ENOSPC, "No space left on device", "/srv"), "metis: /srv: no space left on device"),
    ],
    ids=["a place is away", "the database", "the disk is full"],
)
def test_a_later_look_that_fails_is_a_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run([None, error, None, error], monkeypatch)
    assert result.exit_code == 0
    assert result.output.splitlines() == [line, line]


def test_a_place_that_was_never_there_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run([AWAY, None], monkeypatch)
    assert result.exception is AWAY
