"""Walks the graph of dodo.py from within `metis`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.exceptions import InvalidDodoFile

from .doit_setup import LineReporter, of_lab
from .errors import MetisError, UsageError, common_exit_code

if TYPE_CHECKING:
    from .lab import Lab
    from .tasks import Tasks


class StderrReporter(LineReporter):
    """The same report on stderr, since stdout is for results."""

    def __init__(self, _outstream: object, options: Any) -> None:  # noqa: ANN401 - doit has no types
        super().__init__(sys.stderr, options)


def run(tasks: Sequence[str], jobs: int, *, lets_go: bool = False) -> Lab:
    """Bring tasks of the lab that the environment names up to date, `jobs` at a time; give the lab.

    Nobody else builds there until this process ends, or until then where it `lets_go`. Raises the error of
    what failed; with several, one that says how many did.
    """
    try:
        import dodo
    except InvalidDodoFile as error:
        raise error.__cause__ or error from None
    own: Tasks = dodo.tasks
    lab = own.lab
    known = {f"image:{name}" for name in lab.nodes} | {"image"}
    unknown = [name.partition(":")[2] for name in tasks if name not in known]
    if unknown:
        raise UsageError(f"no node {', '.join(unknown)} in {lab.settings.inventory}", "see `metis plan`")
    dodo.DOIT_CONFIG["reporter"] = of_lab(lab, StderrReporter)
    code = DoitMain(ModuleTaskLoader(dodo)).run(["run", *(["-n", str(jobs)] if jobs > 1 else []), *tasks])
    if lets_go:
        own.let_go()
    if code or own.failures:
        raise _summary(own.failures)
    return lab


def _summary(failures: Sequence[MetisError]) -> MetisError:
    """One error for all: with the common exit code where there is one."""
    error = MetisError("not everything could be built", "see the lines above")
    error.exit_code = common_exit_code(failures)
    return error
