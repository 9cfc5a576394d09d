"""`metis nightly`: what a timer starts each night."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import SeveralErrors
from .options import common, lab_of, print_json, registry_options

if TYPE_CHECKING:
    from ..lab.lab import Lab

JOBS = min(4, os.cpu_count() or 1)
"""Each of them may start an appliance, which takes a gigabyte of memory."""
DAY = 86_400.0
"""Seconds."""
KEEP_DAYS = 30


@click.command()
@common
@click.option(
    "-n",
    "--jobs",
    type=click.IntRange(min=1),
    default=JOBS,
    show_default="a core each, at most 4",
    help="Build so many at once.",
)
@click.option(
    "--update", is_flag=True, help="Pin newer goldens in the classes' files, and show what was changed there."
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where metrics for node_exporter go; artifacts/nightly/metis.prom without it.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    default=KEEP_DAYS,
    show_default=True,
    help="What the inventory does not need, and nobody has used for so long, is removed from the cache.",
)
@registry_options
def nightly(
    jobs: int, update: bool, metrics: Path | None, keep_days: int, as_json: bool, **flags: str | None
) -> None:
    """Rebuild what is not up to date, read it back, and report.

    Says which classes have a newer golden than the inventory pins. A node whose image cannot be made, or that
    is not what the inventory says, keeps its last one.
    """
    from ..lab.newer import newer
    from ..nightly import run as steps

    lab = lab_of(flags, writes=True)
    wanted = steps.Wanted(jobs, update, metrics, partial(newer, lab), partial(_prune, lab, keep_days))
    report, error = steps.run(lab, wanted)
    if as_json:
        print_json(report.to_data())
    else:
        click.echo(report.to_text(), nl=False)
    if error:
        raise error


def _prune(lab: Lab, keep_days: int) -> tuple[int, int]:
    """Remove from the cache what nobody has used for so many days, and give how many files and bytes went."""
    from ..cache.policy import Limits
    from ..lab.cache import LabCache
    from ..lab.lab import Lab

    anew = Lab(lab.settings)  # what was pinned in this run is needed too
    cache, limits = LabCache(anew), Limits(older_than=keep_days * DAY)
    if not cache.has_any(limits):  # most nights: to know what each node needs takes longer than all else
        return 0, 0
    pruned = cache.prune(limits, dry_run=False)
    if pruned.errors:
        raise SeveralErrors(pruned.errors)
    return len(pruned.gone.files) + len(pruned.gone.unfinished), pruned.gone.size
