"""This process as a worker of a scheduler, until either ends."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..errors import SourceError
from .access import SchedulerAccess
from .extra import distributed, quiet, security

if TYPE_CHECKING:
    from distributed import Worker


def host(
    access: SchedulerAccess, name: str, threads: int, ready: Callable[[str], None], port: int = 0
) -> None:
    """Do what the scheduler gives, up to `threads` orders at a time; `ready` is told once it may.

    It listens on a port for the scheduler and for those who ask; 0 is any that is free.

    Raises SourceError where it is not there in time, or goes.
    """
    library = distributed()
    quiet(logging.ERROR)

    async def work(folder: str) -> None:
        worker = library.Worker(
            access.address,
            name=name,
            nthreads=threads,
            memory_limit=0,  # what an appliance takes is not this process's, and a pause would help nobody
            local_directory=folder,
            port=port,
            host="127.0.0.1" if access.is_local else None,
            dashboard_address="127.0.0.1:0",
            security=security(access.certificates),
            death_timeout=access.patience,
        )
        # Half a minute long it would wait for what is under way, which nobody takes any more.
        worker.close = partial(worker.close, executor_wait=False)
        async with worker:
            ready(access.address)
            await worker.finished()

    with tempfile.TemporaryDirectory(prefix="metis-worker-") as folder:
        try:
            asyncio.run(work(folder))
        except OSError:
            raise SourceError(
                f"the scheduler {access.address} cannot be reached",
                "see that it is there, and that its certificate and ours are of the same authority",
            ) from None
    raise SourceError(f"the scheduler {access.address} has ended, or dropped this worker", "start it again")


def this_worker() -> Worker:
    """The worker that the caller, a function that was sent, runs on."""
    found: Worker = distributed().get_worker()
    return found
