"""`metis config`: a node as its class and its own values make it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from .options import common, lab_of, node_option, print_json


@click.command()
@common
@node_option(required=True)
@click.option("--explain", is_flag=True, help="Say which file and line each value came from.")
def config(nodes: Sequence[str], as_json: bool, explain: bool, **flags: str | None) -> None:
    """Print a node as it is after its class and its own values are merged."""
    from .. import show

    composer = lab_of(flags).live_composer
    resolved = [composer.node(name) for name in nodes]
    if explain:
        data: list[dict[str, Any]] = [show.origins(node) for node in resolved]
        text = "".join(map(show.explained, resolved))
    else:
        data = [show.node(node) for node in resolved]
        text = "---\n".join(show.as_yaml(item) for item in data)
    if as_json:
        print_json(data[0] if len(data) == 1 else data)
    else:
        click.echo(text, nl=False)
