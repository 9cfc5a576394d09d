"""How work on other machines goes on, shown here: steps of workers as if they were steps of this run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ..machine.progress import Advance, Reporter

TOPIC = "metis"
"""Under which workers tell of their work; one for all runs, as a scheduler never forgets a topic."""
BEGUN: Mapping[str, Any] = {"begun": True}
"""What a worker says before all else of an order."""


@dataclass(slots=True)
class _Step:
    """One step of a worker, as far as it has been told of."""

    advance: Advance
    end: ExitStack
    done: int = 0


@dataclass(slots=True)
class _Work:
    """What one worker does for one order, by the numbers of its steps."""

    worker: str = ""
    begun: int = 0
    """How many workers have begun with it, this one among them."""
    steps: dict[int, _Step] = field(default_factory=dict)

    def close(self) -> None:
        """End what goes on."""
        for step in self.steps.values():
            step.end.close()
        self.steps.clear()


class Relay:
    """Tells a reporter what workers say of orders: BEGUN first, and then the events of `machine.journal`."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._under_way: dict[str, _Work] = {}
        self._lock = threading.Lock()

    def begin(self, order: str) -> None:
        """Show what is told of an order from now on."""
        with self._lock:
            self._under_way[order] = _Work()

    def begun(self, order: str) -> int:
        """How often a worker has begun with an order."""
        with self._lock:
            return self._under_way[order].begun

    def end(self, order: str) -> None:
        """Show no more of an order: it is done, or nobody works on it any more."""
        with self._lock:
            self._under_way.pop(order).close()

    def take(self, order: str, worker: str, event: Mapping[str, Any]) -> None:
        """Show one event of a worker; what is told of an order that has ended comes too late."""
        with self._lock:
            work = self._under_way.get(order)
            if work is None:
                return
            if event == BEGUN:
                work.close()  # whoever had it before has died
                work.worker = worker
                work.begun += 1
            elif work.worker != worker:  # it is alive, but was given up
                return
            elif "note" in event:
                self._reporter.note(f"{event['note']} (on {worker})")
            else:
                self._step(work, event)

    def _step(self, work: _Work, event: Mapping[str, Any]) -> None:
        number = event["step"]
        if number not in work.steps:
            end = ExitStack()
            step = self._reporter.step(f"{event['label']} (on {work.worker})", event["total"])
            work.steps[number] = _Step(end.enter_context(step), end)
        shown = work.steps[number]
        shown.advance(event["done"] - shown.done)
        shown.done = event["done"]
        if event.get("ended"):
            work.steps.pop(number).end.close()
