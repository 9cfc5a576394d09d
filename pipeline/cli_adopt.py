"""`metis adopt`: the identity that a node already has, kept for its later cards."""

from __future__ import annotations

import click

from .options import common, node_option


@click.command()
@common
@node_option(required=True)
def adopt() -> None:
    """Capture the identity that a node already has."""
