"""Begins jobs when they may, ends what was cancelled, and says of what was cut off that it was.

The jobs themselves are processes of their own (`pipeline.job`), which may be older than this one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..history import jobs
from ..history.jobs import Job
from ..machine import durable, process
from .job_files import journal_of, lock_of
from .kinds import startable

EVERY = 1.0
"""Seconds between two looks where nobody says that there is something new."""
PATIENCE = 30.0
"""Seconds that a cancelled job has to put things away before it is killed."""
MOST = 4
"""Jobs that run at once."""
CUT_OFF = "cut off: its process ended without a word, as by a kill or a power cut"


class Runner:
    """The one scheduler of a queue."""

    def __init__(self, history: Path, environment: Mapping[str, str], changed: Callable[[], None]) -> None:
        self._history = history
        self._environment = environment
        self._changed = changed
        self._begun: dict[int, process.Detached] = {}
        self._asked: dict[int, float] = {}
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Have the queue looked at now."""
        self._awake.set()

    async def run(self) -> None:
        """Look after the queue until cancelled."""
        before: list[Job] = []
        while True:
            now = await asyncio.to_thread(self.look)
            if now != before:
                before = now
                self._changed()
            try:
                await asyncio.wait_for(self._awake.wait(), EVERY)
            except TimeoutError:
                continue
            finally:
                self._awake.clear()

    def look(self) -> list[Job]:
        """Take the queue one step further, and give what is unfinished then."""
        for job in jobs.unfinished(self._history):
            if job.state == "running":
                self._look_after(job)
        for job in startable(jobs.unfinished(self._history), MOST):
            self._begin(job)
        return jobs.unfinished(self._history)

    def _begin(self, job: Job) -> None:
        """Start a process for a job; one that ended before it claimed the job has failed to."""
        last = self._begun.get(job.id)
        if last is None:
            journal = journal_of(self._history, job.id)
            durable.make_private(journal.parent)
            words = (sys.executable, "-m", "pipeline.job", self._history, str(job.id))
            log = journal.with_suffix(".log")
            self._begun[job.id] = process.detached(words, log, extra_environment=self._environment)
        elif not last.is_running and jobs.claim(self._history, job.id, datetime.now(UTC)):
            self._end(job, "failed")

    def _look_after(self, job: Job) -> None:
        """Of a job that runs: whether somebody still does it, and whether it is to stop."""
        holder = durable.holder_of(lock_of(self._history, job.id))
        if holder is None:
            self._end(job, "cancelled" if job.stop else "failed")
        elif job.stop:
            self._stop(job, holder)

    def _stop(self, job: Job, holder: int) -> None:
        """Ask once, since a second SIGTERM would cut off what is put away after the first; then kill."""
        if job.id not in self._asked:
            self._asked[job.id] = time.monotonic()
            process.end_session(holder)
        elif time.monotonic() - self._asked[job.id] > PATIENCE:
            process.end_session(holder, at_once=True)

    def _end(self, job: Job, state: jobs.State) -> None:
        said = "" if state == "cancelled" else CUT_OFF
        jobs.end(self._history, job.id, state, None, said, datetime.now(UTC))
