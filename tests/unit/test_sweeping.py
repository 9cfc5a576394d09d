"""The service sweeps exports on and on, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.history.exports import Exports
from pipeline.service import sweeping


class Failing(Exports):
    """Cannot be swept the first two times; the third sweep ends who sweeps."""

    def __init__(self) -> None:
        super().__init__(Path("none"), Path("none"))
        self.sweeps = 0

    def sweep(self, now: datetime) -> None:
        self.sweeps += 1
        if self.sweeps == 1:
            raise MetisError("history.sqlite3 cannot be used now: database is locked")
        if self.sweeps == 2:
            raise OSError(5, "Input/output error")
        raise asyncio.CancelledError


def test_a_sweep_that_fails_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sweeping, "EVERY", 0)
    exports = Failing()

    async def sweep() -> None:
        with suppress(asyncio.CancelledError):
            await sweeping.keep_swept(exports)

    with caplog.at_level(logging.ERROR):
        asyncio.run(sweep())
    assert exports.sweeps == 3
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "database is locked",
        "[Errno 5] Input/output error",
    ]
