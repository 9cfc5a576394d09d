"""`python -m pipeline.job HISTORY NUMBER`: the process that does one job of the queue.

It belongs to nobody: the service may end, and this goes on and says itself what came of the job. As long as
it lives it holds the job's lock, so whoever finds a running job without one knows that it was cut off.
"""

from __future__ import annotations

import _thread
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from pathlib import Path

from .card.here import here
from .cli import INTERRUPTED, main
from .errors import MetisError, known
from .history import jobs
from .history.jobs import Job
from .machine import durable
from .machine.journal import JournalReporter
from .machine.system import system
from .service.cards import as_seen
from .service.job_files import journal_of, lock_of
from .service.kinds import KINDS
from .steps.choosing import seen_again

PREFIX = "metis: "
LOOK_EVERY = 1.0
"""Seconds between two looks whether the job is to stop."""
TRIES, PAUSE = 120, 5.0
"""How often the end of a job is told at most, and the seconds between."""


class Lines(io.TextIOBase):
    """A text stream that hands on each line when it is whole."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take
        self._rest = ""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Hand on what is whole by now."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)

    def close(self) -> None:
        """Hand on what has no end."""
        if self._rest:
            self._take(self._rest)
            self._rest = ""
        super().close()


def do(history: Path, number: int) -> None:
    """Do a job, if it still waits; where somebody else does it, wait for that and find nothing to do.

    Raises MetisError where the history cannot be used.
    """
    lock, journal = lock_of(history, number), journal_of(history, number)
    with durable.locked(lock, lambda _: None):
        job = jobs.claim(history, number, datetime.now(UTC))
        if job is None:
            return
        os.environ |= {"METIS_JOURNAL": str(journal), "METIS_WAIT": "1"}
        try:
            durable.make_private(journal.parent)
            with _heeding(history, number):
                code, said = _done(job, JournalReporter(journal))
        except KeyboardInterrupt:  # before `main` began, or when it was over already
            code, said = INTERRUPTED, "interrupted"
        except OSError as error:
            code, said = 1, str(durable.out_of_room(journal, error))
        state: jobs.State = "done" if code == 0 else "cancelled" if code == INTERRUPTED else "failed"
        _end(history, number, state, code, said)


@contextmanager
def _heeding(history: Path, number: int) -> Iterator[None]:
    """End as by Ctrl-C when the job is to stop, where no process can ask that of another."""
    over = threading.Event()

    def heed() -> None:
        while not over.wait(LOOK_EVERY):
            with suppress(MetisError):
                job = jobs.get(history, number)
                if job is None or job.stop:
                    _thread.interrupt_main()
                    return

    watch = threading.Thread(target=heed, name="heed", daemon=True)
    if not system().CAN_ASK:
        watch.start()
    try:
        yield
    finally:
        over.set()
        if watch.is_alive():  # so that nobody is interrupted later
            watch.join()


def _end(history: Path, number: int, state: jobs.State, code: int, said: str) -> None:
    """Say what came of a job: where the disk is full, or the history busy, again until that is over.

    Nobody else knows it, and of a process that ends without a word it is said that it was cut off.
    """
    for _ in range(TRIES - 1):
        with suppress(MetisError):
            jobs.end(history, number, state, code, said, datetime.now(UTC))
            return
        time.sleep(PAUSE)
    jobs.end(history, number, state, code, said, datetime.now(UTC))


def _done(job: Job, journal: JournalReporter) -> tuple[int, str]:
    """Do what a job says; it may have waited while somebody put another card into the reader."""
    try:
        if "seen" in job.options:
            seen_again(here(), as_seen(job.options["seen"]))
    except MetisError as error:
        journal.note(str(error))
        return error.exit_code, str(error)
    return _run(KINDS[job.kind].words(job), journal)


def _run(words: Sequence[str], journal: JournalReporter) -> tuple[int, str]:
    """Run `metis` and give its exit code and the last line that it said."""
    said = [""]

    def take(line: str) -> None:
        if line.strip():
            said.append(line.removeprefix(PREFIX))
            journal.note(line)

    with Lines(take) as lines, redirect_stdout(lines), redirect_stderr(lines):
        try:
            main(words)
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return code, said[-1]


if __name__ == "__main__":
    try:
        do(Path(sys.argv[1]), int(sys.argv[2]))
    except (MetisError, OSError) as error:
        sys.exit(f"{PREFIX}{known(error)}")
