"""`metis adopt`: the identity that a node already has, kept for its later cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import UsageError
from .options import common, lab_of, node_option, print_json


@click.command()
@common
@node_option(required=True)
@click.option(
    "--from",
    "source",
    required=True,
    metavar="SOURCE",
    help="A mounted root, an image, a card (a block device), ssh://[USER@]HOST[:PORT] or USER@HOST.",
)
@click.option("--replace", is_flag=True, help="Put what is found over what is kept already.")
@click.option("--renamed", is_flag=True, help="Take it although its host name is that of another node.")
@click.option(
    "--ssh-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="What ssh reads in place of its usual configuration.",
)
def adopt(
    nodes: Sequence[str],
    source: str,
    replace: bool,
    renamed: bool,
    ssh_config: Path | None,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Keep the identity that a node already has, so that its later cards carry it.

    Finds its machine-id, SSH host keys, k3s node password and iSCSI initiator name; shows what it found and
    none of the values. Changes nothing in the source.
    """
    if len(nodes) != 1:
        raise UsageError("a source is one node's", "name one node with --node")
    from ..lab.adopt import adopt as take

    lab = lab_of(flags, writes=True)
    adoption = take(lab, nodes[0], source, replace=replace, renamed=renamed, ssh_config=ssh_config)
    if as_json:
        print_json(adoption.to_data())
    else:
        click.echo(adoption.to_text())
    if adoption.error:
        raise adoption.error
    if not as_json:
        click.echo(f"next: `metis image --node {nodes[0]}` makes a card of it")
