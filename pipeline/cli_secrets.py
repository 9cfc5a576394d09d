"""`metis secrets`: what there is of nodes' secrets, never their values."""

from __future__ import annotations

import click


@click.group()
def secrets() -> None:
    """Look after nodes' secrets; no value is ever shown."""
