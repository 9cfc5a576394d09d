"""`metis cards`: which cards there are, and what is on one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import MetisError
from ..machine.system import system
from ..settings import LARGEST_CARD
from .options import artifacts_folder, common, lab_of, print_json, set_flags

if TYPE_CHECKING:
    from ..card.cards import Card
    from ..card.platform import Platform
    from ..steps.choosing import Rules


@click.command()
@common
@click.option(
    "--inspect",
    "inspected",
    metavar="DEVICE",
    help="Say what is on this card or image: its partitions, and the node that was burned to it.",
)
@click.option("--all", "everything", is_flag=True, help="List also disks that are refused, and say why.")
@click.option(
    "--files",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="List also the plain files in this folder, as cards: for tests, and labs without a reader.",
)
def cards(
    inspected: str | None, everything: bool, files: Path | None, as_json: bool, **flags: str | None
) -> None:
    """List the cards that an image could be burned to. Changes nothing."""
    from ..card.here import here
    from ..steps.choosing import Rules, listed

    set_flags(flags)
    platform = here()
    if inspected is not None:
        _print_content(platform, platform.card_at(inspected), as_json=as_json)
        return
    rules = (system().BUILDS and _of_lab(flags)) or Rules(LARGEST_CARD, artifacts_folder())
    found_cards = listed(platform, rules, everything=everything, files=files and files.absolute())
    if as_json:
        print_json([item.to_data() for item in found_cards])
    else:
        for item in found_cards:
            click.echo(item.to_text())
        if not found_cards:
            click.echo("no card is there; --all lists the disks that are refused", err=True)


def _of_lab(flags: dict[str, str | None]) -> Rules | None:
    """What cards are judged by in a lab; None where nobody named one, for what holds for all."""
    try:
        from ..lab.cards import LabCards

        return LabCards(lab_of(flags)).rules(None)
    except (MetisError, OSError):
        if os.environ.get("METIS_INVENTORY"):
            raise
        return None


def _print_content(platform: Platform, card: Card, *, as_json: bool) -> None:
    if not platform.knows_file_systems:
        raise MetisError("nothing here can read a card's file systems", "look on a Linux host")
    on_card = platform.content(card)
    if on_card is None:
        raise MetisError(f"nothing is at {card.path}", "insert the card, or find its name with `metis cards`")
    found = on_card.to_data()
    if as_json:
        print_json(found)
        return
    click.echo(f"{card.path}: {found['summary']}")
    for each in found["partitions"]:
        click.echo(f"  {each['number']}  {each['filesystem'] or 'unknown'}  {each['label'] or ''}".rstrip())
    for name, value in (found["record"] or {}).items():
        click.echo(f"  {name}: {value}")
