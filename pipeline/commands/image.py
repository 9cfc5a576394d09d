"""`metis image`: build what is not up to date."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .options import common, lab_of, node_option, print_json, scheduler_option

if TYPE_CHECKING:
    from ..lab.lab import Lab

SENT_AT_ONCE = 32
"""To workers, which take them up as they can; here they only wait."""


@click.command()
@common
@node_option(required=False)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Put the image, its block map and receipt here."
)
@click.option(
    "-n",
    "--jobs",
    type=click.IntRange(min=1),
    show_default=f"1; {SENT_AT_ONCE} with a scheduler",
    help="Build so many at once.",
)
@scheduler_option
@click.option("--deep", is_flag=True, help="Trust no file's size and times: check hashes (METIS_DEEP=1).")
def image(
    nodes: Sequence[str],
    output: Path | None,
    jobs: int | None,
    deep: bool,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Build the images that are not up to date, as `doit image:NODE` does."""
    if output is not None and len(nodes) != 1:
        raise UsageError("--output takes one image", "name one node with --node")
    if deep:
        os.environ["METIS_DEEP"] = "1"
    from .. import walk
    from ..steps import receipts
    from ..steps.export import export, target_of

    lab = lab_of(flags)
    # Refused before anything is built.
    target = None if output is None else target_of(lab.artifacts.image(nodes[0]), output, nodes[0])
    at_once = jobs or (SENT_AT_ONCE if lab.settings.scheduler else 1)
    lab = walk.run([f"image:{name}" for name in nodes] or ["image"], at_once)
    written = [lab.artifacts.image(name) for name in nodes or lab.nodes]
    if target is not None and target != written[0]:
        export(written[0], target, lab.reporter)
        written = [target]
    if as_json:
        print_json([receipts.to_data(path) for path in written])
    elif len(nodes) == 1:
        _print_summary(lab, nodes[0], written[0])
    else:
        for path in written:
            click.echo(path)


def _print_summary(lab: Lab, node: str, path: Path) -> None:
    """What is in an image and in its base, and what to do with it next."""
    from ..plan import table
    from ..steps import receipts

    about = receipts.to_data(path)
    click.echo(f"{node}: {path} ({about['mapped'] >> 20} of {about['size'] >> 20} MiB to write)")
    for line in table(lab.base_manifest(lab.class_of(node)).manifest, lab.manifest(node)):
        click.echo(f"  {line}")
    click.echo(f"next: put it on a card with `metis burn --node {node}`")
