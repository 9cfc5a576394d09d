"""Checks for doit: whether something is as it was when a task last ended well.

doit saves what a check gives it with the task's success, and asks it before the next run. Which things are
looked at for which task is in `checks`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from doit.dependency import Dependency, UptodateCalculator

from ..errors import MetisError

_VALUES = "_values_:"
"""Where doit keeps what checks have saved."""


class Unchanged(UptodateCalculator):  # type: ignore[misc]  # doit has no types
    """A check for doit: whether a value is what it was when the task last ended well.

    Where it is not, or where that is not to be trusted, `otherwise` decides; what it finds good is saved, or
    it would be asked in each run from now on.
    """

    # doit asks each check for its signature; looking for it takes longer than the check.
    __signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("task", "values")]
    )

    _memory: Dependency

    def __init__(
        self,
        name: str,
        value: Callable[[], Any],
        otherwise: Callable[[], bool] = lambda: False,
        *,
        trusts: bool = True,
    ) -> None:
        self._name = name
        self._value = value
        self._otherwise = otherwise
        self._trusts = trusts

    def setup(self, dep_manager: Dependency, _tasks_dict: object) -> None:
        """Called by doit: what it remembers."""
        self._memory = dep_manager

    def configure_task(self, task: Any) -> None:  # noqa: ANN401 - doit has no types
        """Called by doit: have the value saved with the task's success."""
        task.value_savers.append(self._saved)

    def __call__(self, task: Any, values: Mapping[str, Any]) -> bool:  # noqa: ANN401 - doit has no types
        """Called by doit: compare with what was saved."""
        try:
            # Before anything is decided: what changes meanwhile is seen by the next run.
            now = self._now()
            if self._trusts and now and values.get(self._name) == now[self._name]:
                return True
            is_good = self._otherwise()
        except MetisError:
            return False  # whatever it is, the task itself says it
        if is_good and now:
            self._memory._set(task.name, _VALUES, {**values, **now})
        return is_good

    def _now(self) -> dict[str, Any]:
        try:
            return {self._name: self._value()}
        except OSError:
            return {}

    def _saved(self) -> dict[str, Any]:
        try:
            return {self._name: self._value()}
        except MetisError:
            return {}
