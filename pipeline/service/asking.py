"""Asks `metis` itself, in a child: what the service shows of a lab is what an operator would see by hand.

A broken inventory, or a source of secrets that hangs, ends or delays that child and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import MetisError, one_line
from ..machine import process

START = "from pipeline.cli import main; main()"
LARGEST = 64 << 20
"""Bytes of an answer: 10,000 nodes with all their findings."""
PATIENCE = 120.0
"""Seconds for an answer."""
AT_ONCE = 2
"""Children at once that answer requests: each has a processor and some 100 MiB for itself."""
IN_LINE = 20
"""Questions that wait or have a child; more are refused, as their askers would be gone by then."""
PREFIX = "metis: "


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed as JSON, None where it printed none, and what it complained of, a line each."""

    data: Any
    complaints: tuple[str, ...]
    code: int


class Asking:
    """Runs commands of one lab, the one that the environment names.

    `patience` is in seconds. Whatever hangs holds back nothing but what is asked here.
    """

    def __init__(self, environment: Mapping[str, str], patience: float = PATIENCE) -> None:
        self._environment = environment
        self._patience = patience
        self._threads = ThreadPoolExecutor(AT_ONCE, "asking")
        self._asked: list[Future[Answer]] = []
        self._changed = threading.Condition()
        self._children = 0
        self._is_closed = False

    def now(self, *words: str) -> Answer:
        """What a command says, one that changes nothing. Raises MetisError for no answer at all."""
        try:
            with self._child():
                done = process.run(
                    [sys.executable, "-c", START, *words, "--json"],
                    check=False,
                    timeout=self._patience,
                    limit=LARGEST,
                    extra_environment=self._environment,
                )
        except process.ToolError as error:
            raise MetisError(f"metis {words[0]} gave no answer: {error}") from None
        lines = [one_line(line) for line in done.err.decode(errors="replace").splitlines()]
        complaints = tuple(line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX))
        try:
            return Answer(json.loads(done.out), complaints, done.code)
        except (ValueError, RecursionError):
            if done.code == 0:
                raise MetisError(f"metis {words[0]} gave no JSON") from None
            return Answer(None, complaints or (f"metis {words[0]} ended with {done.code}",), done.code)

    async def answer(self, *words: str) -> Answer:
        """The same, while others are served. Raises MetisError too where many wait already."""
        self._asked = [asked for asked in self._asked if not asked.done()]
        if len(self._asked) >= IN_LINE or self._is_closed:
            raise MetisError("too many questions at once", "ask again in a while")
        asked = self._threads.submit(self.now, *words)
        self._asked.append(asked)
        return await asyncio.wrap_future(asked)

    def close(self) -> None:
        """End what is asked, and answer nothing from then on: who ends must not wait for what hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._is_closed = True
            while self._children:
                # Again and again, since one may just be being started.
                process.kill_started_with(START)
                self._changed.wait(0.1)

    @contextmanager
    def _child(self) -> Iterator[None]:
        with self._changed:
            if self._is_closed:
                raise MetisError("the service ends")
            self._children += 1
        try:
            yield
        finally:
            with self._changed:
                self._children -= 1
                self._changed.notify_all()
