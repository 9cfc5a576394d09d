"""Has orders carried out by those workers of a scheduler that fit, and elsewhere again where one dies."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Container, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import MetisError, SourceError
from ..machine.progress import Reporter
from .access import SchedulerAccess
from .events import Relay
from .extra import distributed, quiet, security

if TYPE_CHECKING:
    from distributed import Future

A = TypeVar("A")
T = TypeVar("T")
Unfit = Callable[[], str]
"""Runs on a worker, and says why it does not fit; empty where it does."""
TICK = 1.0
"""Seconds between two looks at whether those are still there who may carry an order out."""


class Client:
    """One run's connection with a scheduler, made when it is first used; safe to use from threads."""

    def __init__(self, access: SchedulerAccess, unfit: Unfit, reporter: Reporter) -> None:
        self._access = access
        self._unfit = unfit
        self._reporter = reporter
        self._relay = Relay(reporter)
        self._topic = f"metis-{uuid.uuid4()}"
        self._lock = threading.Lock()
        self._client: Any = None
        self._lost: SourceError | None = None
        """What ends all that is asked for, now and later: nobody waits twice for the same."""
        self._known: dict[str, str] = {}
        """Why each worker does not fit, by its address; empty where it does."""

    def call(
        self, function: Callable[[str, str, A], T], order: A, subject: str, without: Container[str] = ()
    ) -> T:
        """What a function gives for an order on some worker: `function(topic, number, order)`.

        `without` has the names of workers that are not asked.

        Where a worker dies, another one begins anew. Raises SourceError where the scheduler is out of reach
        or lost, has no worker that fits in time or none but those that are not asked, and MetisError for an
        order that worker after worker dies of.
        """
        with self._lock:
            self._connect()
        while True:
            fitting, number = self._fitting(), uuid.uuid4().hex
            workers = {address: name for address, name in fitting.items() if name not in without}
            if not workers:
                raise SourceError(f"no worker can make {subject}", "why stands above, for each of them")
            self._relay.begin(number)
            try:
                future: Future[T] = self._client.submit(
                    function,
                    self._topic,
                    number,
                    order,
                    key=f"{subject}-{number}",
                    workers=list(workers),
                    pure=False,
                )
                if self._is_done(future, workers):
                    return self._result(future, subject)
                future.cancel(force=True)  # type: ignore[no-untyped-call]
            except (OSError, CancelledError):
                raise self._gone() from None
            finally:
                self._relay.end(number)

    def refuse(self, worker: str, why: str) -> None:
        """Give no more orders to a worker, by its name."""
        with self._lock:
            for address, name in self._names().items():
                if name == worker and not self._known.get(address):
                    self._note_unfit(address, name, why)

    def close(self) -> None:
        """Cancel what was sent and is not done, and leave the scheduler."""
        if self._client is not None:
            with suppress(Exception):
                self._client.close(timeout=2)

    # -------------------------------------------------------------------------------------- inside

    def _connect(self) -> None:
        if self._lost:
            raise self._lost
        if self._client is not None:
            return
        library = distributed()
        quiet()
        try:
            self._client = library.Client(
                self._access.address,
                security=security(self._access.certificates),
                timeout=self._access.patience,
                set_as_default=False,
            )
        except (OSError, ValueError):
            raise self._gone() from None
        self._client.subscribe_topic(self._topic, self._tell)

    def _tell(self, event: tuple[float, Mapping[str, Any]]) -> None:
        told = event[1]
        self._relay.take(told["order"], told["worker"], told["event"])

    def _fitting(self) -> Mapping[str, str]:
        """The workers that fit, by their addresses; waits for one to come."""
        until = time.monotonic() + self._access.patience
        while True:
            with self._lock:
                if self._lost:
                    raise self._lost
                found = self._look()
            if found:
                return found
            if time.monotonic() > until:
                why = "; why others are not used stands above" if self._known else ""
                self._lost = SourceError(
                    f"the scheduler {self._access.address} has no worker that fits",
                    f"start one with `metis worker`{why}",
                )
            time.sleep(TICK)

    def _look(self) -> Mapping[str, str]:
        """Ask those workers that are new whether they fit; give the names of all that do."""
        names = self._names()
        new = [address for address in names if address not in self._known]
        if new:
            said = self._client.run(self._unfit, workers=new, on_error="return")
            for address in new:
                self._note_unfit(address, names[address], _why(said.get(address)))
        return {address: name for address, name in names.items() if not self._known.get(address)}

    def _note_unfit(self, address: str, name: str, why: str) -> None:
        self._known[address] = why
        if why:
            self._reporter.note(f"worker {name} is not used: {why}")

    def _names(self) -> Mapping[str, str]:
        """The names of all workers that are there, by their addresses."""
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, CancelledError):
            raise self._gone() from None
        return {address: str(about["name"]) for address, about in workers.items()}

    def _is_done(self, future: Future[T], workers: Mapping[str, str]) -> bool:
        """Wait for an order; say no where nobody is left who may carry it out."""
        done = threading.Event()
        future.add_done_callback(lambda _future: done.set())  # type: ignore[no-untyped-call]
        while not done.wait(TICK):
            with self._lock:
                if not workers.keys() & self._names().keys():
                    return False
        return True

    def _result(self, future: Future[T], subject: str) -> T:
        try:
            return future.result()
        except distributed().KilledWorker:
            raise MetisError(f"{subject}: worker after worker died of it", "see in their logs why") from None

    def _gone(self) -> SourceError:
        """Remember that the scheduler is out of reach: nothing else that waits for it waits any longer."""
        was_there = self._client is not None
        what = "is lost" if was_there else "cannot be reached"
        hint = "run again once it is there; what is finished stays"
        if not was_there and self._access.certificates:
            hint = "see that it is there, and that its certificate and ours are of the same authority"
        elif not was_there:
            hint = "see that it is there"
        self._lost = self._lost or SourceError(f"the scheduler {self._access.address} {what}", hint)
        return self._lost


def _why(said: object) -> str:
    """Why a worker does not fit, by what it said or what went wrong when it was asked."""
    if isinstance(said, str):
        return said
    return f"it is no worker of this Metis ({type(said).__name__})"
