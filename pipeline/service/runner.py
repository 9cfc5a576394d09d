"""Begins jobs when they may, ends what was cancelled, and says of what was cut off that it was.

The jobs themselves are processes of their own (`pipeline.job`), which may be older than this one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from ..errors import MetisError, known
from ..history import jobs
from ..history.jobs import Job
from ..machine import durable, process
from .job_files import forget_old, journal_of, lock_of
from .kinds import KINDS, startable

EVERY = 1.0
"""Seconds between two looks where nobody says that there is something new."""
PATIENCE = 30.0
"""Seconds that a cancelled job has to put things away before it is killed."""
MOST = 4
"""Jobs that run at once."""
CUT_OFF = "cut off: its process ended without a word, as by a kill or a power cut"
NOT_BEGUN = "its process ended before it began"


class Runner:
    """The one scheduler of a queue.

    Of its last look `complaints` are what went wrong, a line each, and `unfinished` are the jobs that waited
    or ran then.
    """

    def __init__(self, history: Path, environment: Mapping[str, str], changed: Callable[[], None]) -> None:
        self._history = history
        self._environment = environment
        self._changed = changed
        self._begun: dict[int, process.Detached] = {}
        self._asked: dict[int, float] = {}
        self._awake = asyncio.Event()
        # Its own thread: who waits for another must not keep jobs from being begun and stopped.
        self._thread = ThreadPoolExecutor(1, "runner")
        self.complaints: tuple[str, ...] = ()
        self.unfinished: tuple[Job, ...] = ()

    def wake(self) -> None:
        """Have the queue looked at now, and told that it changed."""
        self._awake.set()

    async def run(self) -> None:
        """Look after the queue until cancelled; an error of the history or the system is a complaint."""
        before: object = None
        while True:
            is_asked = self._awake.is_set()
            self._awake.clear()
            now = await asyncio.get_running_loop().run_in_executor(self._thread, self._looked)
            if is_asked or now != before:
                before = now
                self._changed()
            try:
                async with asyncio.timeout(EVERY):
                    await self._awake.wait()
            except TimeoutError:
                continue

    def _looked(self) -> tuple[list[Job], tuple[str, ...]]:
        """As `look`, where it may be impossible for a while."""
        try:
            found = self.look()
        except (MetisError, OSError) as error:
            found, self.complaints = [], (str(known(error)),)
        self.unfinished = tuple(found)
        return found, self.complaints

    def look(self) -> list[Job]:
        """Take the queue one step further, and give what is unfinished then."""
        found = jobs.unfinished(self._history)
        wrong = self._each(found, self._look_after)
        self._forget(found)
        wrong += self._each(startable(jobs.unfinished(self._history), MOST), self._begin)
        self.complaints = tuple(dict.fromkeys(wrong))
        return jobs.unfinished(self._history)

    def _each(self, found: Iterable[Job], step: Callable[[Job], None]) -> list[str]:
        """Do something for each job; one for which that is impossible keeps up no other."""
        wrong: list[str] = []
        for job in found:
            try:
                step(job)
            except (MetisError, OSError) as error:
                wrong.append(f"job {job.id}: {known(error)}")
        return wrong

    def _forget(self, unfinished: Iterable[Job]) -> None:
        """Keep nothing of what is over: who has ended is also waited for, so that no process stays."""
        states = {job.id: job.state for job in unfinished}
        ended = [
            number
            for number, child in self._begun.items()
            if not child.is_running and states.get(number) != "waiting"
        ]
        for number in ended:
            del self._begun[number]
        self._asked = {number: at for number, at in self._asked.items() if number in states}

    def _begin(self, job: Job) -> None:
        """Start a process for a job; one that ended before it claimed the job has failed to."""
        last = self._begun.get(job.id)
        if last is None:
            self._start(job)
        elif not last.is_running and durable.holder_of(lock_of(self._history, job.id)) is None:
            # Nobody has it: also none that an earlier service began.
            log = journal_of(self._history, job.id).with_suffix(".log")
            self._give_up(job, f"{NOT_BEGUN}; {log} has its last words")

    def _start(self, job: Job) -> None:
        journal = journal_of(self._history, job.id)
        durable.make_private(journal.parent)
        words = (sys.executable, "-m", "pipeline.job", self._history, str(job.id))
        log = journal.with_suffix(".log")
        self._begun[job.id] = process.detached(words, log, extra_environment=self._environment)
        forget_old(self._history, {each.id for each in jobs.unfinished(self._history)})

    def _look_after(self, job: Job) -> None:
        """Of a job that runs: whether somebody still does it, and whether it is to stop."""
        if job.state != "running":
            if job.kind not in KINDS:
                self._give_up(job, f"this Metis does not know how to do {job.kind!r}: upgrade it")
            return
        lock = lock_of(self._history, job.id)
        holder = durable.holder_of(lock)
        if holder is None:
            process.end_orphans(durable.last_holder_of(lock))
            state: jobs.State = "cancelled" if job.stop else "failed"
            self._end(job, state, "" if job.stop else CUT_OFF)
        elif job.stop:
            self._stop(job, holder)

    def _stop(self, job: Job, holder: int) -> None:
        """Ask once, since a second SIGTERM would cut off what is put away after the first; then kill."""
        if job.id not in self._asked:
            process.end_session(holder)
            self._asked[job.id] = time.monotonic()
        elif time.monotonic() - self._asked[job.id] > PATIENCE:
            process.end_session(holder, at_once=True)

    def _give_up(self, job: Job, said: str) -> None:
        if jobs.claim(self._history, job.id, datetime.now(UTC)):
            self._end(job, "failed", said)

    def _end(self, job: Job, state: jobs.State, said: str) -> None:
        jobs.end(self._history, job.id, state, None, said, datetime.now(UTC))
