"""How a method becomes an action of the graph, and how its run has the artifacts for itself.

An action fails with one line, never with a traceback; whatever failed is kept, so that the command line can
turn it into its exit code.
"""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Concatenate, ParamSpec, TypeVar

from doit.exceptions import TaskFailed

from ..errors import MetisError, known
from ..lab.lab import Lab
from ..machine import durable, scratch

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound="Actions")


class Actions:
    """One lab, what failed of what was done with it, and the claim on its artifacts."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.artifacts = lab.artifacts
        self.failures: list[MetisError] = []
        self._held = ExitStack()
        self._holding = threading.Lock()
        self._is_held = False

    def hold_artifacts(self) -> None:
        """Keep other processes from changing the artifacts until this one ends."""
        with self._holding:
            if not self._is_held:
                self._held.enter_context(durable.locked(self.artifacts.lock, self._held_by))
                self._is_held = True
                self._sweep()

    def let_go(self) -> None:
        """Let other processes change the artifacts again."""
        with self._holding:
            self._held.close()
            self._is_held = False

    def _sweep(self) -> None:
        """Remove what a build that was cut off has left; what others still work in says so."""
        scratch.sweep(self.artifacts.root, self.lab.settings.cache)

    def _held_by(self, holder: str) -> None:
        what = f"{holder} is building in {self.artifacts.root}"
        if not self.lab.settings.waits:
            raise MetisError(what, "wait until it is done, then run again, or set METIS_WAIT=1")
        self.lab.reporter.note(f"waiting: {what}")


def action(method: Callable[Concatenate[A, P], R]) -> Callable[Concatenate[A, P], TaskFailed | R]:
    """Make a method an action of the graph, its errors of one line."""

    def run(self: A, /, *args: P.args, **kwargs: P.kwargs) -> TaskFailed | R:
        try:
            return method(self, *args, **kwargs)
        except (MetisError, OSError) as raised:
            error = known(raised)
            self.failures.append(error)
            if self.lab.settings.debug:
                self.lab.reporter.note(traceback.format_exc())
            return TaskFailed(str(error))

    return functools.update_wrapper(run, method)


def building(method: Callable[Concatenate[A, P], R]) -> Callable[Concatenate[A, P], TaskFailed | R]:
    """The same for one that changes the artifacts, and has them for itself."""

    def run(self: A, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.hold_artifacts()
        return method(self, *args, **kwargs)

    return action(functools.update_wrapper(run, method))
