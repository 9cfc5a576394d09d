"""`metis status`: which images are up to date, and why others are not."""

from __future__ import annotations

from collections.abc import Sequence

import click

from .options import common, node_option, print_json, set_flags


@click.command()
@common
@node_option(required=False)
@click.option("--exit-code", is_flag=True, help="Exit with 1 where an image is not up to date.")
def status(nodes: Sequence[str], exit_code: bool, as_json: bool, **flags: str | None) -> None:
    """Say of each node whether its image is up to date, and if not, why. Builds nothing."""
    from .. import walk
    from ..tables import columns

    set_flags(flags)
    found = walk.status(nodes)
    if as_json:
        print_json([image.to_data() for image in found])
    else:
        rows = [(each.node, each.klass, each.state, each.built or "-", each.why or "-") for each in found]
        for line in columns([("node", "class", "image", "built", "why"), *rows]):
            click.echo(line)
    if exit_code and any(image.state != "fresh" for image in found):
        raise SystemExit(1)
