"""`metis nightly`: what a timer starts each night."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import common, lab_of, print_json

if TYPE_CHECKING:
    from .nightly_report import Newer

JOBS = min(4, os.cpu_count() or 1)
"""Each of them may start an appliance, which takes a gigabyte of memory."""


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
def nightly(jobs: int, update: bool, metrics: Path | None, as_json: bool, **flags: str | None) -> None:
    """Rebuild what is not up to date, read it back, and report.

    Says which classes have a newer golden than the inventory pins. A node whose image cannot be made, or that
    is not what the inventory says, keeps its last one.
    """
    from . import nightly as steps
    from .doit_setup import end_quietly

    end_quietly()
    lab = lab_of(flags, writes=True)
    wanted = steps.Wanted(jobs, update, metrics, newer, prune)
    report, error = steps.run(lab, wanted)
    if as_json:
        print_json(report.to_data())
    else:
        click.echo(report.to_text(), nl=False)
    if error:
        raise error


def newer(_class_name: str) -> Newer | None:
    """No source of goldens can be asked yet what it publishes now."""
    return None


def prune() -> tuple[int, int]:
    """Nothing is removed from the cache yet."""
    return 0, 0
