"""Has orders carried out by those workers of a scheduler that fit, and elsewhere again where one dies."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Container, Coroutine, Mapping
from concurrent.futures import CancelledError, Future, wait
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import MetisError, SourceError, about
from ..machine.progress import Reporter
from .access import SchedulerAccess
from .events import TOPIC, Relay
from .extra import distributed, greet, quiet, security, unreachable
from .hosting import begin

if TYPE_CHECKING:
    from distributed import Future as Sent

A = TypeVar("A")
T = TypeVar("T")
Unfit = Callable[[], str]
"""Runs on a worker, and says why it does not fit; empty where it does."""
TICK = 1.0
"""Seconds between two looks at whether those are still there who may carry an order out."""
SILENCE = 30.0
"""Seconds that a scheduler may be silent, as long as TCP waits for a machine that is gone."""
DEADLY = 4
"""How many workers must have died of an order until it is not tried again, as Dask counts by default."""
SUSPECT = 2
"""After so many it is sent beside no other suspect: so who only stood beside the cause lives on."""
SILENT = "it does not answer"


class _LostError(Exception):
    """Nobody is left who may carry an order out."""


class Client:
    """One run's connection with a scheduler, made when it is first used; safe to use from threads."""

    def __init__(self, access: SchedulerAccess, unfit: Unfit, reporter: Reporter) -> None:
        self._access = access
        self._unfit = unfit
        self._reporter = reporter
        self._relay = Relay(reporter)
        self._lock = threading.Lock()
        self._suspects = threading.Lock()
        """Held for the one order that may be under way of those that have lost SUSPECT workers."""
        self._client: Any = None
        self._lost: SourceError | None = None
        """What ends all that is asked for, now and later: nobody waits twice for the same."""
        self._known: dict[str, str] = {}
        """Why each worker does not fit, by its address; empty where it does."""
        self._asked: dict[str, Future[Mapping[str, object]]] = {}
        """What those will say who were asked whether they fit, by their addresses."""

    def call(
        self, function: Callable[[str, A], T], order: A, subject: str, without: Container[str] = ()
    ) -> T:
        """What a function gives for an order on some worker: `function(number, order)`.

        `without` has the names of workers that are not asked.

        Where a worker dies, another one begins anew. Raises SourceError where the scheduler is out of reach
        or lost, has no worker that fits in time or none but those that are not asked, and MetisError for an
        order that worker after worker dies of.
        """
        with self._lock:
            self._connect()
        number = uuid.uuid4().hex
        self._relay.begin(number)
        try:
            while (deaths := self._relay.begun(number)) < DEADLY:
                with self._suspects if deaths >= SUSPECT else nullcontext(), suppress(_LostError):
                    workers = self._fitting(subject, without, waits=deaths > 0)
                    return self._try(function, number, order, subject, workers)
        finally:
            self._relay.end(number)
        raise MetisError(f"{subject}: worker after worker died of it", "see in their logs why")

    def refuse(self, worker: str, why: str) -> None:
        """Give no more orders to a worker, by its name."""
        with self._lock:
            for address, name in self._names().items():
                if name == worker and not self._known.get(address):
                    self._note_unfit(address, name, why)

    def close(self) -> None:
        """Cancel what was sent and is not done, and leave the scheduler."""
        if self._client is not None:
            for answer in list(self._asked.values()):
                answer.cancel()
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
            asyncio.run(greet(self._access))
            self._client = library.Client(
                self._access.address,
                security=security(self._access.certificates),
                timeout=self._access.patience,
                set_as_default=False,
            )
        except SourceError as error:
            self._lost = error
            raise
        except OSError:
            self._lost = unreachable(self._access)
            raise self._lost from None

    def _tell(self, event: tuple[float, Mapping[str, Any]]) -> None:
        told = event[1]
        self._relay.take(told["order"], told["worker"], told["event"])

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have the library do something of its own, and wait for nothing."""
        return asyncio.run_coroutine_threadsafe(work, self._client.loop.asyncio_loop)

    def _fitting(self, subject: str, without: Container[str], *, waits: bool) -> Mapping[str, str]:
        """The workers that fit, by their addresses; waits for one to come, and to say that it does.

        Where there are only those that are not asked, it `waits` for another one that may be started again.
        """
        until = time.monotonic() + self._access.patience
        while True:
            fitting = self._look()
            if found := {address: name for address, name in fitting.items() if name not in without}:
                return found
            is_late = time.monotonic() > until
            with self._lock:
                is_everybody_heard = self._asked.keys() <= self._known.keys()
                if is_everybody_heard and not fitting and is_late:
                    self._lost = self._nobody()
            if is_everybody_heard and fitting and (is_late or not waits):
                raise SourceError(f"no worker can make {subject}", "why stands above, for each of them")
            time.sleep(TICK)

    def _nobody(self) -> SourceError:
        why = "; why others are not used stands above" if self._known else ""
        what = f"the scheduler {self._access.address} has no worker that fits"
        return SourceError(what, f"start one with `metis worker`{why}")

    def _look(self) -> Mapping[str, str]:
        """Ask those workers that are new whether they fit; give the names of all that do.

        One that is slow to answer keeps nobody up, and is asked again when it was silent for too long.
        """
        with self._lock:
            if self._lost:
                raise self._lost
            names = self._names()
            for address in names.keys() - self._asked.keys():
                if self._known.get(address, SILENT) == SILENT:
                    self._asked[address] = self._start(self._ask(address))
            new = [answer for address, answer in self._asked.items() if address not in self._known]
        wait(new, TICK)
        with self._lock:
            for address in [address for address, answer in self._asked.items() if answer.done()]:
                why = _why(self._asked.pop(address), address)
                if address in names:
                    self._note_unfit(address, names[address], why)
            return {address: name for address, name in names.items() if self._known.get(address) == ""}

    def _ask(self, address: str) -> Coroutine[Any, Any, Mapping[str, object]]:
        asking: Coroutine[Any, Any, Mapping[str, object]] = self._client.run(
            self._unfit,
            workers=[address],
            on_error="return",
            asynchronous=True,
            callback_timeout=self._access.patience,
        )
        return asking

    def _note_unfit(self, address: str, name: str, why: str) -> None:
        if why and why != self._known.get(address):
            self._reporter.note(f"worker {name} is not used: {why}")
        self._known[address] = why

    def _names(self) -> Mapping[str, str]:
        """The names of all workers that are there, by their addresses."""
        try:
            if self._client.status != "running":  # it looks for the scheduler anew, or has given it up
                raise self._gone()
            workers = self._start(self._client.scheduler.identity(n_workers=-1)).result(SILENCE)["workers"]
        except (OSError, CancelledError):
            raise self._gone() from None
        return {address: str(told["name"]) for address, told in workers.items()}

    def _try(
        self,
        function: Callable[[str, A], T],
        number: str,
        order: A,
        subject: str,
        workers: Mapping[str, str],
    ) -> T:
        """Have an order carried out by one of these workers; raises _LostError where they all go."""
        try:
            self._client.subscribe_topic(TOPIC, self._tell)  # anew: one that was away has forgotten it
            sent: Sent[T] = self._client.submit(
                begin,
                function,
                number,
                order,
                key=f"{subject}-{uuid.uuid4().hex}",
                workers=list(workers),
                pure=False,
            )
            return self._result(sent, workers, subject)
        except (OSError, CancelledError):
            raise self._gone() from None

    def _result(self, sent: Sent[T], workers: Mapping[str, str], subject: str) -> T:
        """Wait for what comes of an order; raises _LostError where its workers go, and what it failed of."""
        result: Future[T] = self._start(self._client.gather(sent, asynchronous=True))
        while not wait([result], TICK).done:
            if not workers.keys() & self._names().keys():
                sent.cancel(force=True)  # type: ignore[no-untyped-call]
                raise _LostError
        try:
            return result.result()
        except distributed().KilledWorker:  # it may only have waited there: how often it had begun counts
            raise _LostError from None
        except OSError as raised:
            if sent.status == "error":
                raise about(subject, raised) from None
            raise

    def _gone(self) -> SourceError:
        """Remember that the scheduler is out of reach: nothing else that waits for it waits any longer."""
        what = f"the scheduler {self._access.address} is lost"
        hint = "run again once it is there; what is finished stays"
        self._lost = self._lost or SourceError(what, hint)
        return self._lost


def _why(answer: Future[Mapping[str, object]], address: str) -> str:
    """Why a worker does not fit, by what it said or what went wrong when it was asked."""
    try:
        said = answer.result()[address]
    except (OSError, CancelledError) as raised:
        said = raised
    if isinstance(said, str):
        return said
    if isinstance(said, OSError | CancelledError):
        return SILENT
    return f"it is no worker of this Metis ({type(said).__name__})"
