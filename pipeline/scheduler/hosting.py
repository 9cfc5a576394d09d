"""This process as a worker of a scheduler, until either ends."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..errors import SourceError, UsageError, reason_of
from .access import SchedulerAccess
from .events import BEGUN, TOPIC
from .extra import distributed, greet, quiet, security, unreachable

if TYPE_CHECKING:
    from distributed import Worker

A = TypeVar("A")
T = TypeVar("T")


def host(
    access: SchedulerAccess, name: str, threads: int, ready: Callable[[str], None], port: int = 0
) -> None:
    """Do what the scheduler gives, up to `threads` orders at a time; `ready` is told once it may.

    It listens on a port for the scheduler and for those who ask; 0 is any that is free.

    Raises SourceError where it is not there in time, or goes, and UsageError where the name or the port is
    another one's.
    """
    library = distributed()
    quiet()

    async def work(folder: str) -> None:
        await greet(access)
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
            quiet(logging.ERROR)
            ready(access.address)
            await worker.finished()

    with tempfile.TemporaryDirectory(prefix="metis-worker-") as folder:
        try:
            asyncio.run(work(folder))
        except OSError:
            raise unreachable(access) from None
        except RuntimeError as raised:  # in which the library puts whatever keeps a worker from starting
            cause = raised.__cause__
            if isinstance(cause, OSError):
                raise UsageError(f"port {port}: {reason_of(cause)}", "take another --port") from None
            if "name taken" in str(cause):
                message = f"the scheduler {access.address} has a worker {name} already"
                raise UsageError(message, "take another --name") from None
            raise
    raise SourceError(f"the scheduler {access.address} has ended, or dropped this worker", "start it again")


def this_worker() -> Worker:
    """The worker that the caller, a function that was sent, runs on."""
    found: Worker = distributed().get_worker()
    return found


def begin(function: Callable[[str, A], T], number: str, order: A) -> T:
    """Carry an order out on this worker, once the scheduler has heard that it begins.

    So it is known of what a worker died, however fast it did.
    """
    worker = this_worker()
    event = {"order": number, "worker": str(worker.name), "event": dict(BEGUN)}
    distributed().utils.sync(worker.loop, worker.scheduler.log_event, topic=TOPIC, msg=event)
    return function(number, order)
