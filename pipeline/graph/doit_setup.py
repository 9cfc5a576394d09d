"""How doit runs our graph: its settings, and a report in which a failure is one line."""

from __future__ import annotations

import atexit
import gc
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from doit.dependency import Dependency
from doit.exceptions import BaseFail, InvalidDodoFile, UnmetDependency
from doit.globals import Globals
from doit.reporter import ConsoleReporter

from ..errors import MetisError
from ..lab.lab import Lab
from ..machine.durable import make_private
from ..machine.hardening import end_as_by_ctrl_c
from ..machine.system import system
from ..settings import DELTAS
from .tasks import Tasks

BURN_PARAMS: list[dict[str, Any]] = [
    {"name": "node", "long": "node", "default": "", "help": "the node whose image is burned"},
    {"name": "device", "long": "device", "type": list, "default": [], "help": "the card; may be repeated"},
    {"name": "yes", "long": "yes", "type": bool, "default": False, "help": "overwrite without asking"},
    {
        "name": "allow_fixed",
        "long": "allow-fixed",
        "type": bool,
        "default": False,
        "help": "see `metis burn`",
    },
    {
        "name": "no_preflight",
        "long": "no-preflight",
        "type": bool,
        "default": False,
        "help": "do not ask the cluster first",
    },
    {
        "name": "delta",
        "long": "delta",
        "default": DELTAS[0],
        "choices": [(delta, "") for delta in DELTAS],
        "help": "see `metis burn`",
    },
]

UNCAPTURED: Mapping[str, bool] = {"capture": False}
"""The `io` of each task: doit leaves the streams of the process alone.

Otherwise it puts others in their place for each action, which all threads see. Where actions overlap, each
puts back what another had put there; so they pile up, one upon the other, until writing to them is too deep.
"""

GARBAGE_AFTER = 50_000
"""Objects made, and not yet gone, before Python looks for garbage among them."""


def load_tasks() -> Tasks:
    """The tasks of the lab that the environment names, its names read; an error is one line of doit's."""
    # All tasks live until the end, where all goes at once: to look through thousands of them for garbage
    # takes a tenth of a run, and as long again at its end.
    gc.set_threshold(GARBAGE_AFTER)
    atexit.register(gc.freeze)
    system().leave_no_cores()
    _end_quietly()
    try:
        lab = Lab.from_environment()
        lab.warn()  # reads the index: now an error is still one of loading
    except MetisError as error:
        raise InvalidDodoFile(str(error)) from error
    return Tasks(lab)


def _end_quietly() -> None:
    """Make SIGTERM as good as Ctrl-C, and either of them one line; what was cut off is swept up later."""
    end_as_by_ctrl_c()
    sys.excepthook = _say_interrupted


def _say_interrupted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted; nothing half-made counts as done\n")
    else:
        sys.__excepthook__(kind, error, trace)


class LineReporter(ConsoleReporter):
    """doit's own report of what ran and what was up to date, with a line for each thing that is wrong.

    That of a `lab` also tells it, as the first who knows, which images were asked for.
    """

    desc = "one line for each task, and one for each failure"
    lab: Lab | None = None

    def __init__(self, outstream: object, options: Any) -> None:  # noqa: ANN401 - doit has no types
        super().__init__(outstream, options)
        self._said: set[str] = set()
        self._not_tried = 0

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: Iterable[str]) -> None:
        """Called by doit before anything is looked at."""
        _write_at_its_end(Globals.dep_manager)
        if self.lab:
            asked = {inner for name in selected_tasks for inner in (name, *tasks[name].task_dep)}
            self.lab.keyring.expect(name.partition(":")[2] for name in asked if name.startswith("image:"))

    def add_failure(self, task: Any, fail: BaseFail) -> None:  # noqa: ANN401
        """Called by doit when a task failed, or could not be tried."""
        self.failures.append({"task": task, "exception": fail})
        if isinstance(fail, UnmetDependency):
            self._not_tried += 1
            return
        for line in str(fail.message).splitlines() or ["failed"]:
            if line not in self._said:  # a class's fault is that of all its nodes
                self._said.add(line)
                self.write(f"!! {task.title()}: {line}\n")
        if fail.traceback:
            self.write("".join(fail.traceback))

    def complete_run(self) -> None:
        """Called by doit at the end, also after Ctrl-C: what was not tried, and errors of doit's own."""
        if self.lab:
            self.lab.until_walked.close()
        if self._not_tried:
            self.write(f"!! not tried: {self._not_tried} tasks that need what failed\n")
        for line in self.runtime_errors:
            self.write(f"!! {line}\n")


def of_lab(lab: Lab, reporter: type[LineReporter]) -> type[LineReporter]:
    """A reporter that works for a lab; doit makes the instance itself."""
    return type(reporter.__name__, (reporter,), {"lab": lab})


def doit_config(lab: Lab) -> dict[str, Any]:
    """The DOIT_CONFIG of a lab's graph."""
    state = lab.artifacts.doit_state(lab.settings.inventory_key)
    make_private(state.parent)
    state.touch(mode=0o600)  # SQLite would let all read it, and its journal is as the database
    state.chmod(0o600)
    _set_aside_if_broken(state, lab)
    return {
        "action_string_formatting": "new",
        "backend": "sqlite3",
        "check_file_uptodate": "md5",
        "continue": True,
        "default_tasks": ["image"],
        "dep_file": str(state),
        "par_type": "thread",
        "reporter": of_lab(lab, LineReporter),
        "sort": "definition",
        "verbosity": 2,
    }


def _write_at_its_end(memory: Dependency) -> None:
    """Have doit write what it remembers when all is done, as it does but for tasks that fail.

    With the first of those it would lock its database until then, and who builds or only looks meanwhile
    could write nothing at all.
    """

    def remove(task: str) -> None:
        memory.backend._cache[task] = {}
        memory.backend._dirty.add(task)

    memory.remove = remove


def _set_aside_if_broken(state: Path, lab: Lab) -> None:
    """What doit remembers is worth no traceback: without it every task is looked at anew."""
    try:
        with closing(sqlite3.connect(state)) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:  # another run is just writing it
            return
        lab.reporter.note(f"{state} is damaged and set aside: all tasks are looked at anew")
        state.replace(state.with_suffix(".broken"))
