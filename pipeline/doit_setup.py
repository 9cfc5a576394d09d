"""How doit runs our graph: its settings, and a report in which a failure is one line."""

from __future__ import annotations

import gc
from typing import Any

from doit.exceptions import BaseFail, InvalidDodoFile, UnmetDependency
from doit.reporter import ConsoleReporter

from .durable import make_private
from .errors import MetisError
from .lab import Lab
from .tasks import Tasks

BURN_PARAMS = [
    {"name": "node", "long": "node", "default": "", "help": "the node whose image is burned"},
    {"name": "device", "long": "device", "default": "", "help": "the card: a plain file for now"},
    {"name": "yes", "long": "yes", "type": bool, "default": False, "help": "overwrite without asking"},
]

GARBAGE_AFTER = 50_000
"""Objects made, and not yet gone, before Python looks for garbage among them."""


def load_tasks() -> Tasks:
    """The tasks of the lab that the environment names, its names read; an error is one line of doit's."""
    # All tasks live until the end: to look through thousands of them for garbage takes a tenth of a run.
    gc.set_threshold(GARBAGE_AFTER)
    try:
        lab = Lab.from_environment()
        lab.warn_of_unused()  # reads the index: now an error is still one of loading
    except MetisError as error:
        raise InvalidDodoFile(str(error)) from error
    return Tasks(lab)


class LineReporter(ConsoleReporter):
    """doit's own report of what ran and what was up to date, with a line for each failure."""

    desc = "one line for each task, and one for each failure"

    def add_failure(self, task: Any, fail: BaseFail) -> None:  # noqa: ANN401
        """Called by doit when a task failed, or could not be tried."""
        self.failures.append({"task": task, "exception": fail})
        if isinstance(fail, UnmetDependency):
            self.write(f"!! {task.title()}: not tried, as {fail.message} failed\n")
            return
        for line in str(fail.message).splitlines() or ["failed"]:
            self.write(f"!! {task.title()}: {line}\n")
        if fail.traceback:
            self.write("".join(fail.traceback))

    def complete_run(self) -> None:
        """Called by doit at the end; errors of doit's own are all that is left to say."""
        for line in self.runtime_errors:
            self.write(f"!! {line}\n")


def doit_config(lab: Lab) -> dict[str, Any]:
    """The DOIT_CONFIG of a lab's graph."""
    state = lab.artifacts.doit_state(lab.settings.inventory_key)
    make_private(state.parent)
    return {
        "action_string_formatting": "new",
        "backend": "sqlite3",
        "check_file_uptodate": "md5",
        "continue": True,
        "default_tasks": ["image"],
        "dep_file": str(state),
        "par_type": "thread",
        "reporter": LineReporter,
        "sort": "definition",
        "verbosity": 2,
    }
