"""One running service: the lab that it serves, what its pages read, and what it does in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from ..errors import MetisError, known
from ..history import jobs
from ..history.database import writing
from ..history.exports import Exports
from ..history.jobs import Job, Wanted
from ..settings import Settings
from ..steps.artifacts import Artifacts
from .asking import Answer, Asking
from .background import Background
from .board import Board, Boards, look
from .card_watch import CardWatch
from .cards import Plugged, plugged
from .events import Events
from .options import Options
from .runner import Runner
from .shared import Shared
from .sweeping import keep_swept

THREADS = 32


class Service:
    """What the routes have at hand, as `request.app.state.service`."""

    def __init__(self, options: Options, environment: Mapping[str, str], folder: Path) -> None:
        """Relative paths of the environment count from `folder`. Nothing is read or made yet."""
        settings = Settings.from_environment(environment, folder)
        self.options = options
        self.environment = environment
        self.artifacts = Artifacts(settings.artifacts)
        self.cache = settings.cache
        self.ci_figures = folder / (environment.get("METIS_CI_METRICS") or self.artifacts.root / "ci.prom")
        self.history = self.artifacts.history
        self.exports = Exports(self.history, self.artifacts.exports)
        self.asking = Asking(environment)
        self.events = Events()
        # One after the other: while JSON is read, no other thread of a Python process goes on.
        self.understanding = ThreadPoolExecutor(1, "snapshots")
        self._boards = Boards(self._look, lambda: self.events.tell("board"))
        self._runner = Runner(self.history, environment, self._jobs_changed)
        self.reasons = Shared(self._reasons)
        self._watch = Shared(lambda: self.asking.answer("watch"))
        self._cards = Shared(lambda: plugged(self.asking, options.card_files))
        self.card_watch = CardWatch(self.cards, lambda: self.events.tell("cards"))
        self._background = Background(
            {
                "the queue": self._runner.run,
                "the board": self._boards.run,
                "the cards": self.card_watch.run,
                "the sweeping": lambda: keep_swept(self.exports),
            }
        )

    @property
    def board(self) -> Board:
        """All nodes as they were when they were last looked at."""
        return self._boards.now

    @property
    def complaints(self) -> tuple[str, ...]:
        """What does not go as it should, a line each."""
        found = (*self._background.complaints, *self._runner.complaints, *self.board.complaints)
        return tuple(dict.fromkeys(found))

    def _look(self, last: Board) -> Board:
        return look(self.asking, self.artifacts.burns, self.artifacts.snapshots, last)

    def _jobs_changed(self) -> None:
        self.events.tell("jobs")
        self._boards.wake()

    def look_again(self) -> None:
        """Have the board made anew: something is otherwise."""
        self._boards.wake()

    def look_again_soon(self) -> None:
        """The same for what comes often: one look for all of it."""
        self._boards.wake_soon()

    async def ask_for(self, wanted: Wanted) -> Job:
        """Put a job into the queue, or give the one that waits for the same."""
        job, _is_new = await asyncio.to_thread(jobs.add, self.history, wanted, datetime.now(UTC))
        self._runner.wake()
        return job

    async def cancel(self, number: int) -> Job | None:
        """Cancel a job; None where there is nothing to cancel."""
        job = await asyncio.to_thread(jobs.cancel, self.history, number, datetime.now(UTC))
        self._runner.wake()
        return job

    async def job(self, number: int) -> Job | None:
        """A job by its number."""
        return await asyncio.to_thread(jobs.get, self.history, number)

    async def cards(self) -> tuple[Plugged, ...]:
        """The cards that are plugged in. Raises MetisError where nobody can tell."""
        return await self._cards.get()

    async def watch(self) -> Answer:
        """Have all nodes compared with the inventory, and what was found kept. Raises MetisError."""
        return await self._watch.get()

    async def _reasons(self) -> tuple[str, ...]:
        """Why it cannot do its work, a line each."""
        found = list(self._background.complaints)
        if not self._background.is_running:
            found.append("nothing runs in the background yet")
        if self.board.at is None:
            found.append("the nodes were not looked at yet")
        try:
            await asyncio.to_thread(self._write_nothing)
        except (MetisError, OSError) as error:
            found.append(str(known(error)))
        return tuple(found)

    def _write_nothing(self) -> None:
        """Begin to write to the history. Raises MetisError or OSError where nobody can."""
        with writing(self.history):
            pass

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after all that goes on while the block runs."""
        # Who waits for the history, or for a child, must not keep others from a thread.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "service"))
        try:
            async with self._background.running():
                yield
        finally:
            await asyncio.to_thread(self.asking.close)
