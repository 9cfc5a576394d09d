"""Asks `metis` itself, in a child: what the service shows of a lab is what an operator would see by hand.

A broken inventory, or a source of secrets that hangs, ends or delays that child and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
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
"""Questions that wait; more are refused, as their askers would be gone by then."""
PREFIX = "metis: "


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed as JSON, None where it printed none, and what it complained of, a line each."""

    data: Any
    complaints: tuple[str, ...]
    code: int


class Asking:
    """Runs commands of one lab, the one that the environment names."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._room = asyncio.Semaphore(AT_ONCE)
        self._in_line = 0

    def now(self, *words: str) -> Answer:
        """What a command says, one that changes nothing. Raises MetisError for no answer at all."""
        done = process.run(
            [sys.executable, "-c", START, *words, "--json"],
            check=False,
            timeout=PATIENCE,
            limit=LARGEST,
            extra_environment=self._environment,
        )
        lines = [one_line(line) for line in done.err.decode(errors="replace").splitlines()]
        complaints = tuple(line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX))
        try:
            return Answer(json.loads(done.out), complaints, done.code)
        except ValueError:
            if done.code == 0:
                raise MetisError(f"metis {words[0]} gave no JSON") from None
            return Answer(None, complaints or (f"metis {words[0]} ended with {done.code}",), done.code)

    async def answer(self, *words: str) -> Answer:
        """The same, while others are served. Raises MetisError too where many wait already."""
        if self._in_line >= IN_LINE:
            raise MetisError("too many questions at once", "ask again in a while")
        self._in_line += 1
        try:
            async with self._room:
                return await asyncio.to_thread(self.now, *words)
        finally:
            self._in_line -= 1
