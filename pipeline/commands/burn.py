"""`metis burn`: its options, and which way of burning they mean; `burning` goes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..errors import MetisError, UsageError
from ..machine.system import system
from ..settings import DELTAS, LARGEST_CARD
from ..steps.artifacts import Artifacts
from . import burning
from .options import (
    artifacts_folder,
    boot_option,
    common,
    mounted_folders,
    node_option,
    registry_options,
    root_option,
    set_flags,
    take_flags,
    yes_option,
)


def complete_card(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The cards that could be meant whose names begin so, for the shell; else files."""
    from ..card.here import here
    from ..steps.choosing import Rules, candidates

    try:
        cards = candidates(here(), Rules(LARGEST_CARD, artifacts_folder()))
    except (MetisError, OSError):
        cards = []
    names = [name for card in cards for name in (*card.names, card.path) if name.startswith(incomplete)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


device_option = click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="DEVICE",
    shell_complete=complete_card,
    help="The card: a device, best by its name in /dev/disk/by-id, or a plain file. May be given several "
    "times. Without it, the next card that is inserted is meant.",
)


@click.command()
@common
@node_option(required=False, alone=True)
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Burn this finished image, whoever made it; needs no inventory.",
)
@click.option(
    "--from",
    "source",
    metavar="oci://HOST/REPOSITORY:TAG",
    help="Burn an image that `metis push` has stored in a registry; needs no inventory. A digest (@sha256:…) "
    "names it for good.",
)
@click.option(
    "--identity",
    type=click.Path(),
    metavar="FILE",
    help="The age key that opens what --from brings (METIS_AGE_IDENTITY).",
)
@registry_options
@device_option
@click.option("--allow-fixed", is_flag=True, help="DEVICE may be a fixed disk, named as in /dev/disk/by-id.")
@click.option(
    "--delta",
    type=click.Choice(DELTAS),
    default="auto",
    show_default=True,
    help="Compare first and write only what differs; auto does so on a card that Metis has burned before.",
)
@boot_option
@root_option
@click.option(
    "--auto-mount",
    is_flag=True,
    help="Put the node's files into the file systems that are on DEVICE; its image is not written.",
)
@click.option(
    "--no-preflight",
    is_flag=True,
    help="Do not ask the cluster first, where KUBECONFIG names one, whether the node may come back.",
)
@yes_option
def burn(
    nodes: Sequence[str],
    image: Path | None,
    source: str | None,
    identity: str | None,
    boot: Path | None,
    root: Path | None,
    auto_mount: bool,
    **more: Any,  # noqa: ANN401 - how cards are chosen, and the flags that every command has
) -> None:
    """Write a node's image to a card, read it back and compare.

    The image is built first if it is not up to date. A disk that holds the running system, is in use, is
    fixed, too small or too large is refused. Without --device it waits for a card, shows it, and asks for
    the node's name. Where KUBECONFIG names a cluster, `metis preflight` comes first.
    """
    flags = take_flags(more)
    set_flags(flags)
    choice = burning.Choice(**more)
    if len(nodes) + (image is not None) + (source is not None) != 1:
        raise UsageError(
            "one image is burned at a time",
            "name one node with --node, or a file with --image, or an artifact with --from",
        )
    if identity is not None and not (identity and source):
        raise UsageError("--identity opens what --from brings, and names a file", "leave it out")
    other = bool(choice.devices or image or source or auto_mount)
    folders = mounted_folders(boot, root, other=other)
    if auto_mount and not nodes:
        raise UsageError("a finished image is written as it is", "leave --auto-mount out, or name a --node")
    if image is not None:
        burning.write_image(image, choice)
    elif not system().BUILDS:
        plain = nodes[0] if nodes and folders is None and not auto_mount else ""
        _burn_what_is_there(plain, choice, "no registry is read" if source else "nothing is built")
    elif source is not None:
        burning.write_pulled(source, identity, flags, choice)
    elif folders is not None:
        burning.fill(nodes[0], folders, flags, choice)
    elif auto_mount:
        if len(choice.devices) != 1:
            raise UsageError("--auto-mount is of one card", "name it with --device")
        burning.fill(nodes[0], None, flags, choice)
    else:
        burning.write_node(nodes[0], flags, choice)


def _burn_what_is_there(node: str, choice: burning.Choice, otherwise: str) -> None:
    """The finished image of a node, where nothing is built. Raises UsageError where there is none."""
    if not (node and Artifacts(artifacts_folder()).image(node).is_file()):
        where = system().NAME
        raise UsageError(f"{otherwise} on {where}", "bring a finished image, and name it with --image")
    burning.write_finished(node, choice)
