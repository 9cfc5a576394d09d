"""One running service: the lab that it serves, what its pages read, and what it does in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from ..history import jobs
from ..history.exports import Exports
from ..history.jobs import Job, Wanted
from ..settings import Settings
from ..steps.artifacts import Artifacts
from .asking import Asking
from .board import Board, Boards, look
from .events import Events
from .options import Options
from .runner import Runner
from .sweeping import keep_swept


class Service:
    """What the routes have at hand, as `request.app.state.service`."""

    def __init__(self, options: Options, environment: Mapping[str, str], folder: Path) -> None:
        """Relative paths of the environment count from `folder`."""
        settings = Settings.from_environment(environment, folder)
        self.options = options
        self.environment = environment
        self.artifacts = Artifacts(settings.artifacts)
        self.history = self.artifacts.history
        self.exports = Exports(self.history, self.artifacts.exports)
        self.asking = Asking(environment)
        self.events = Events()
        self._boards = Boards(self._look, lambda: self.events.tell("board"))
        self._runner = Runner(self.history, environment, self._jobs_changed)

    @property
    def board(self) -> Board:
        """All nodes as they were when they were last looked at."""
        return self._boards.now

    def _look(self) -> Board:
        return look(self.asking, self.artifacts.burns, self.artifacts.snapshots)

    def _jobs_changed(self) -> None:
        self.events.tell("jobs")
        self._boards.wake()

    def look_again(self) -> None:
        """Have the board made anew: something is otherwise."""
        self._boards.wake()

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

    @asynccontextmanager
    async def running(self, failed: Callable[[BaseException], None]) -> AsyncIterator[None]:
        """Look after all that goes on while the block runs; `failed` is told of an error that ended it."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                failed(error)

        errands = (self._runner.run(), self._boards.run(), keep_swept(self.exports))
        tasks = [asyncio.create_task(errand) for errand in errands]
        for task in tasks:
            task.add_done_callback(ended)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
