"""`metis boot`: a rehearsal of a card in QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import MismatchError, UsageError
from .options import common, lab_of, node_option, print_json, take_flags


@click.command()
@common
@node_option(required=True)
@click.option(
    "--image", type=click.Path(path_type=Path), help="Boot this image, not the node's among the artifacts."
)
@click.option(
    "--disk",
    "disks",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Another disk, raw; what is written to it is lost. May be given several times.",
)
@click.option("--peer", metavar="HOST:PORT", help="A service of this host that answers for the k3s server.")
@click.option(
    "--boots", type=click.IntRange(min=1), default=1, show_default=True, help="Boot the copy so many times."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=600,
    show_default=True,
    help="Seconds that a boot may take until systemd has settled.",
)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    metavar="TEXT",
    help="Before that, boot and cut the power as soon as the console says this. May be given several times.",
)
@click.option("--keep", is_flag=True, help="Keep the copy and its console among the artifacts.")
def boot(
    nodes: Sequence[str],
    image: Path | None,
    peer: str | None,
    keep: bool,
    as_json: bool,
    **more: Any,  # noqa: ANN401 - the other options of a boot, and the flags that every command has
) -> None:
    """Boot a copy of a node's image in QEMU and compare what comes up with the node."""
    from ..boot import network, session
    from ..lab.boot import boot as rehearse

    if len(nodes) != 1:
        raise UsageError("one node boots at a time", "name one with --node")
    name = nodes[0]
    flags = take_flags(more)
    answering = network.parse_peer(peer) if peer is not None else None
    options = session.Options(peer=answering, ends_clean=keep, **more)
    lab = lab_of(flags)
    report = rehearse(lab, name, options, image, keep=keep)
    if as_json:
        print_json(session.to_data(report))
    else:
        click.echo(session.to_text(report), nl=False)
    if keep:
        click.echo(f"kept: {lab.artifacts.boot(name)}, which holds secrets", err=True)
    if report.differing:
        differing = ", ".join(dict.fromkeys(check.name for check in report.differing))
        raise MismatchError(
            f"{name} came up, but not as its manifest says: {differing}",
            f"build the image again with `metis image --node {name}`, or see what changes it as it boots",
        )
