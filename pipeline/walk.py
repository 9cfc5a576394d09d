"""Walks the graph of dodo.py from within `metis`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.exceptions import BaseFail, InvalidDodoFile, UnmetDependency

from .errors import MetisError, common_exit_code, one_line
from .graph.doit_setup import LineReporter, of_lab
from .graph.outcomes import Outcomes

if TYPE_CHECKING:
    from .graph.tasks import Tasks
    from .lab.lab import Lab
    from .steps.image_state import ImageState


class StderrReporter(LineReporter):
    """The same report on stderr, since stdout is for results."""

    def __init__(self, _outstream: object, options: Any) -> None:  # noqa: ANN401 - doit has no types
        super().__init__(sys.stderr, options)


class WatchingReporter(StderrReporter):
    """The same, which also notes what came of each task."""

    outcomes: Outcomes

    def __init__(self, outstream: object, options: Any) -> None:  # noqa: ANN401
        super().__init__(outstream, options)
        self._begun: dict[str, float] = {}

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: Iterable[str]) -> None:
        """Called by doit before anything is looked at."""
        super().initialize(tasks, selected_tasks)
        self.outcomes.expect({name: tuple(task.task_dep) for name, task in tasks.items()})

    def execute_task(self, task: Any) -> None:  # noqa: ANN401
        """Called by doit before a task's actions."""
        self._begun[task.name] = time.monotonic()
        super().execute_task(task)

    def add_success(self, task: Any) -> None:  # noqa: ANN401
        """Called by doit when a task ran and ended well."""
        self.outcomes.done[task.name] = time.monotonic() - self._begun[task.name]
        super().add_success(task)

    def skip_uptodate(self, task: Any) -> None:  # noqa: ANN401
        """Called by doit for a task that has nothing to do."""
        self.outcomes.current.add(task.name)
        super().skip_uptodate(task)

    def add_failure(self, task: Any, fail: BaseFail) -> None:  # noqa: ANN401
        """Called by doit when a task failed, or could not be tried."""
        if not isinstance(fail, UnmetDependency):
            self.outcomes.failed[task.name] = one_line("; ".join(str(fail.message).splitlines()))
        super().add_failure(task, fail)


def load() -> Tasks:
    """The tasks of the lab that the environment names; raises the error of an inventory without an index."""
    try:
        from . import dodo
    except InvalidDodoFile as error:
        raise error.__cause__ or error from None
    own: Tasks = dodo.tasks
    return own


def run(tasks: Sequence[str], jobs: int, *, lets_go: bool = False) -> Lab:
    """Bring tasks of the lab that the environment names up to date, `jobs` at a time; give the lab.

    Nobody else builds there until this process ends, or until then where it `lets_go`. Raises the error of
    what failed; with several, one that says how many did.
    """
    own = load()
    lab = own.lab
    lab.refuse_unknown(*(name.partition(":")[2] for name in tasks if name != "image"))
    code = _walk(of_lab(lab, StderrReporter), tasks, jobs)
    if lets_go:
        own.let_go()
    if code or own.failures:
        raise _summary(own.failures)
    return lab


def watch(own: Tasks, outcomes: Outcomes, jobs: int) -> None:
    """Bring all images up to date, `jobs` at a time, and note what comes of each task."""
    watching = type(WatchingReporter.__name__, (WatchingReporter,), {"outcomes": outcomes})
    _walk(of_lab(own.lab, watching), ["image"], jobs)


def status(names: Sequence[str]) -> list[ImageState]:
    """How images are, those of all nodes without names; nothing is built, and nothing kept of the look."""
    from doit.dependency import Dependency, MD5Checker, SqliteDB
    from doit.loader import load_tasks

    from .graph.status import states

    lab = load().lab
    from . import dodo

    lab.refuse_unknown(*names)
    chosen = tuple(names) or lab.nodes
    lab.keyring.expect(chosen)
    tasks = {task.name: task for task in load_tasks(vars(dodo))}
    memory = Dependency(SqliteDB, dodo.DOIT_CONFIG["dep_file"], MD5Checker)
    return list(
        states(
            lab,
            chosen,
            lambda name: name in tasks and memory.get_status(tasks[name], tasks).status == "up-to-date",
        )
    )


def _walk(reporter: type[LineReporter], tasks: Sequence[str], jobs: int) -> int:
    from . import dodo

    dodo.DOIT_CONFIG["reporter"] = reporter
    return int(
        DoitMain(ModuleTaskLoader(dodo)).run(["run", *(["-n", str(jobs)] if jobs > 1 else []), *tasks])
    )


def _summary(failures: Sequence[MetisError]) -> MetisError:
    """One error for all: with the common exit code where there is one."""
    error = MetisError("not everything could be built", "see the lines above")
    error.exit_code = common_exit_code(failures)
    return error
