"""`metis push`: a node's image to a registry, from which another host burns it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..errors import RefusedError, UsageError
from .options import common, lab_of, node_option, print_json, registry_options


@click.command()
@common
@node_option(required=True)
@click.option(
    "--to",
    required=True,
    metavar="oci://HOST/REPOSITORY:TAG",
    help="Where it goes; what the tag named before keeps its digest.",
)
@click.option(
    "--encrypt-to",
    "recipients",
    multiple=True,
    metavar="RECIPIENT",
    help="Seal it with age for this public key (age1…). May be given several times.",
)
@click.option("--plain", is_flag=True, help="Store it as it is, with the node's secrets in the clear.")
@registry_options
def push(
    nodes: Sequence[str],
    to: str,
    recipients: Sequence[str],
    plain: bool,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Store a node's image in a registry, with its block map and receipt.

    The image is taken as it is among the artifacts, and must be whole. It holds the node's secrets: say for
    whom it is sealed, or that it is not.
    """
    from ..golden.registry.reference import Reference
    from ..secrets import age_stream

    if len(nodes) != 1:
        raise UsageError("one image is pushed at a time", "name one node with --node")
    reference = Reference.parse(to)
    if not reference.tag or reference.digest:
        raise UsageError(f"{to} is no place for an image", "name a tag and no digest, as in :2026-11")
    if recipients and plain:
        raise UsageError("--encrypt-to and --plain exclude each other", "say one of them")
    if not (recipients or plain):
        raise RefusedError(
            f"the image of {nodes[0]} holds its secrets",
            "seal it with --encrypt-to RECIPIENT, or say --plain where all its readers may know them",
        )
    whom = age_stream.recipients(recipients, "--encrypt-to")
    from ..lab.images import LabImages

    pushed = LabImages(lab_of(flags)).push(nodes[0], reference, whom)
    if as_json:
        print_json(pushed.to_data())
        return
    click.echo(f"pushed {pushed.reference}")
    needed = "; its key must be there" if whom else ""
    click.echo(f"next: on the other host, `metis burn --from {pushed.reference}`{needed}")
