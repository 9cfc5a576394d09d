"""`metis nightly`: what a timer starts each night."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .image import SENT_AT_ONCE
from .options import common, lab_of, print_json, registry_options, scheduler_option

JOBS = min(4, os.cpu_count() or 1)
"""Each of them may start an appliance, which takes a gigabyte of memory."""
KEEP_DAYS = 30


@click.command()
@common
@click.option(
    "-n",
    "--jobs",
    type=click.IntRange(min=1),
    show_default=f"a core each, at most 4; {SENT_AT_ONCE} with a scheduler",
    help="Build so many at once.",
)
@click.option(
    "--update", is_flag=True, help="Pin newer goldens in the classes' files, and show what was changed there."
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where metrics for node_exporter go, beside artifacts/nightly/metis.prom, which the service tells.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(min=0),
    default=KEEP_DAYS,
    show_default=True,
    help="What the inventory does not need, and nobody has used for so long, is removed from the cache.",
)
@registry_options
@scheduler_option
def nightly(
    jobs: int | None, update: bool, metrics: Path | None, keep_days: int, as_json: bool, **flags: str | None
) -> None:
    """Rebuild what is not up to date, read it back, and report.

    Says which classes have a newer golden than the inventory pins. A node whose image cannot be made, or that
    is not what the inventory says, keeps its last one.
    """
    from ..nightly.run import Wanted, run

    lab = lab_of(flags, writes=True)
    at_once = jobs or (SENT_AT_ONCE if lab.settings.scheduler else JOBS)
    report, error = run(lab, Wanted(at_once, update, metrics, keep_days))
    if as_json:
        print_json(report.to_data())
    else:
        click.echo(report.to_text(), nl=False)
    if error:
        raise error
