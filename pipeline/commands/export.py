"""`metis export`: a node's image for a desktop that has no Metis."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from .. import amounts
from ..errors import MetisError, RefusedError, UsageError
from .options import common, node_option, print_json, set_flags

ENDING = ".zst"
LONGEST = 7 * 24 * 3600
"""Seconds for which an export may be open."""


@click.command()
@common
@node_option(required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.img.zst",
    help="Put the packed image here, and its block map beside it.",
)
@click.option(
    "--ttl",
    default="1h",
    show_default=True,
    metavar="TIME",
    help="For how long the service offers it: 90m, 12h, at most 7d.",
)
@click.option("--by", default="", metavar="NAME", help="Who wants it, for the history.")
def export(
    nodes: Sequence[str], output: Path | None, ttl: str, by: str, as_json: bool, **flags: str | None
) -> None:
    """Pack a node's image, for Raspberry Pi Imager on any desktop.

    Without --output the service offers it, by a link that its page of the node makes. The image is taken as
    it is, and must be up to date and whole. It holds the node's secrets.
    """
    if len(nodes) != 1:
        raise UsageError("one image is exported at a time", "name one node with --node")
    if output is not None and output.suffix != ENDING:
        raise UsageError(f"{output} does not end in {ENDING}", f"name it {nodes[0]}.img{ENDING}")
    lasts = _seconds(ttl)
    from .. import walk
    from ..lab.exports import export_to, make_export

    set_flags(flags)
    (state,) = walk.status(nodes)
    if state.state == "never built":
        raise MetisError(
            f"there is no finished image of {state.node}", f"`metis image --node {state.node}` makes it"
        )
    if state.state == "stale":
        raise RefusedError(
            f"the image of {state.node} is out of date ({state.why})",
            f"`metis image --node {state.node}` builds it",
        )
    lab = walk.load().lab
    if output is None:
        made = make_export(lab, state.node, timedelta(seconds=lasts), by or _caller())
        if as_json:
            print_json(made.to_data())
        else:
            click.echo(f"{made.node}: {amounts.sized(made.size)}, until {made.expires_at}")
            click.echo("next: make its link on the page of the node")
        return
    packed = export_to(lab, state.node, output.absolute())
    if as_json:
        print_json(
            {"node": state.node, "image": packed.image, "file": str(output), "sha256": packed.raw_sha256}
            | {"size": packed.size, "file_sha256": packed.sha256, "raw_size": packed.raw_size}
        )
    else:
        click.echo(f"{state.node}: {output} ({amounts.sized(packed.size)})")
        click.echo(f"sha256 of the image in it: {packed.raw_sha256}")


def _caller() -> str:
    return next(filter(None, map(os.environ.get, ("SUDO_USER", "USER", "USERNAME"))), "somebody")


def _seconds(ttl: str) -> int:
    try:
        found = amounts.seconds(ttl)
    except ValueError:
        found = 0
    if not 0 < found <= LONGEST:
        raise UsageError(f"--ttl {ttl} is no time that an export may last", "say 90m, 12h, at most 7d")
    return found
