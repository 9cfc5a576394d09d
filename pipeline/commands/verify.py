"""`metis verify`: an image or a card, read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import SeveralErrors, UsageError
from .options import common, each, lab_of, node_option, print_json


@click.command()
@common
@node_option(required=True)
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="Read this image or card (a block device) back, not the node's image among the artifacts.",
)
def verify(nodes: Sequence[str], image: Path | None, as_json: bool, **flags: str | None) -> None:
    """Read an image or a card back and compare it with the inventory. Changes nothing."""
    if image is not None and len(nodes) != 1:
        raise UsageError("--image is of one node", "name one node with --node")
    from ..lab.verify import verify as read_back

    lab = lab_of(flags)
    verdicts, errors = each(lambda name: read_back(lab, name, image), nodes)
    if as_json:
        data = [verdict.to_data() for verdict in verdicts]
        print_json(data[0] if len(nodes) == 1 and data else data)
    else:
        for verdict in verdicts:
            click.echo(verdict.to_text())
    errors += [verdict.error for verdict in verdicts if verdict.error]
    if errors:
        raise SeveralErrors(errors)
