"""`metis burn`: an image to a card.

A finished image is burned without an inventory, so that works on hosts that have nothing but Python.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ..errors import MetisError, SeveralErrors, UsageError
from ..machine.progress import reporter
from ..settings import DELTAS, LARGEST_CARD
from . import prompts
from .options import (
    FLAG_VARIABLES,
    artifacts_folder,
    boot_option,
    common,
    lab_of,
    mounted_folders,
    node_option,
    print_json,
    registry_options,
    root_option,
    set_flags,
    yes_option,
)

if TYPE_CHECKING:
    from ..card.cards import Card
    from ..card.here import Platform
    from ..steps.burn import Report, Tools
    from ..steps.burnable import Burnable
    from ..steps.choosing import Rules

LOOK_EVERY = 0.5
"""Seconds between two looks for a new card."""


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


@dataclass(frozen=True, slots=True)
class Choice:
    """How an operator chooses cards, and what may be taken for granted."""

    devices: Sequence[str]
    allow_fixed: bool
    delta: str
    yes: bool
    as_json: bool


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
    the node's name.
    """
    flags = {flag: more.pop(flag) for flag in FLAG_VARIABLES}
    set_flags(flags)
    choice = Choice(**more)
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
        _write_image(image, choice)
    elif source is not None:
        _write_pulled(source, identity, flags, choice)
    elif sys.platform == "win32":
        raise UsageError("nothing is built on Windows", "bring a finished image, and name it with --image")
    elif folders is not None:
        _fill(nodes[0], folders, flags, choice)
    elif auto_mount:
        if len(choice.devices) != 1:
            raise UsageError("--auto-mount is of one card", "name it with --device")
        _fill(nodes[0], None, flags, choice)
    else:
        _write_node(nodes[0], flags, choice)


# ------------------------------------------------------------------------------------------ to devices


def _write_image(path: Path, choice: Choice) -> None:
    """Burn a finished image, for which nothing but its own files is asked."""
    from ..card.here import here
    from ..steps.burn import Tools
    from ..steps.burnable import opened
    from ..steps.choosing import Rules

    platform, told = here(), reporter()
    rules = Rules(LARGEST_CARD, artifacts_folder(), allow_fixed=choice.allow_fixed)
    _refuse_early(platform, rules, choice)
    with opened(path, told) as image:
        reports = _burned(image, rules, Tools(platform, told, choice.delta), choice)
    _end(image.subject, reports, choice)


def _write_pulled(source: str, identity: str | None, flags: dict[str, str | None], choice: Choice) -> None:
    """Burn an image from a registry, for which no inventory is asked either."""
    if sys.platform == "win32":
        raise UsageError("no registry is read on Windows", "bring a finished image, and name it with --image")
    from ..card.here import here
    from ..golden.reference import Reference
    from ..lab.images import LabImages
    from ..steps.burn import Tools
    from ..steps.choosing import Rules, judged

    if identity is not None:
        os.environ["METIS_AGE_IDENTITY"] = identity
    reference = Reference.parse(source)
    if not reference.wanted:
        raise UsageError(
            f"{source} names no image", "name a tag, as in :2026-11, or a digest, as in @sha256:…"
        )
    lab, platform = lab_of(flags, secrets=False), here()
    rules = Rules(LARGEST_CARD, lab.artifacts.root, allow_fixed=choice.allow_fixed)
    _refuse_early(platform, rules, choice)
    pulled = LabImages(lab).pulled(reference, lambda size: judged(platform, choice.devices, size, rules))
    with pulled as image:
        reports = _burned(image, rules, Tools(platform, lab.reporter, choice.delta), choice)
    _end(image.subject, reports, choice)


def _write_node(name: str, flags: dict[str, str | None], choice: Choice) -> None:
    """Build a node's image if it is not up to date, burn it, and compare its files on the card."""
    from ..graph import run as graph
    from ..lab.cards import LabCards
    from ..steps.burnable import opened

    cards = LabCards(lab_of(flags))
    rules = cards.rules(name, allow_fixed=choice.allow_fixed)
    _refuse_early(cards.platform, rules, choice)
    lab = graph.run([f"image:{name}"], 1, lets_go=True)
    cards = LabCards(lab)
    with opened(lab.artifacts.image(name), lab.reporter, deep=lab.settings.deep) as image:
        reports = _burned(image, rules, cards.tools(name, choice.delta), choice)
    try:
        cards.keep(name, reports)
    finally:  # what came of the cards is worth most, also where there is no room to keep it
        _end(name, reports, choice)


def _refuse_early(platform: Platform, rules: Rules, choice: Choice) -> None:
    """Refuse what can be refused before an image is looked at or built."""
    from ..steps.choosing import judged

    cards = judged(platform, choice.devices, 0, rules)
    if not cards or any(card.size for card in cards):
        prompts.refuse_unasked(yes=choice.yes)


def _burned(image: Burnable, rules: Rules, tools: Tools, choice: Choice) -> list[Report]:
    from ..steps.burn import to_cards
    from ..steps.choosing import judged, waited_for

    if choice.devices:
        cards = judged(tools.platform, choice.devices, image.map.size, rules)
    else:
        click.echo(f"insert the card for {image.subject}", err=True)
        cards = [waited_for(tools.platform, image.map.size, rules, lambda: time.sleep(LOOK_EVERY))]
    if any(card.size for card in cards):
        _ask(image.subject, cards, tools.platform, "all that is on it is lost", yes=choice.yes)
    return to_cards(image, cards, tools)


def _ask(subject: str, cards: Sequence[Card], platform: Platform, warning: str, *, yes: bool) -> None:
    from ..steps.choosing import Listed

    for card in cards:
        click.echo(Listed.of(card, platform).to_text(), err=True)
    prompts.confirm_name(subject, warning, yes=yes)


def _end(subject: str, reports: Sequence[Report], choice: Choice) -> None:
    if choice.as_json:
        print_json([report.to_data() for report in reports])
    else:
        for report in reports:
            if report.error is None:
                click.echo(report.to_text(subject))
    errors = [report.error for report in reports if report.error]
    if errors:
        raise errors[0] if len(reports) == 1 else SeveralErrors(errors)


# ---------------------------------------------------------------------------------- to what is mounted


def _fill(name: str, folders: tuple[Path, Path] | None, flags: dict[str, str | None], choice: Choice) -> None:
    """Put a node's files into a card's file systems, and read them back."""
    from ..lab.cards import LabCards

    cards = LabCards(lab_of(flags, writes=True))
    if folders is None:
        from ..steps.choosing import judged

        prompts.refuse_unasked(yes=choice.yes)
        rules = cards.rules(name, allow_fixed=choice.allow_fixed)
        (card,) = judged(cards.platform, choice.devices, 0, rules)
        _ask(name, [card], cards.platform, "files on it are changed", yes=choice.yes)
        verdict = cards.fill_card(name, card)
    else:
        verdict = cards.fill_folders(name, *folders)
    if choice.as_json:
        print_json(verdict.to_data())
    else:
        click.echo(verdict.to_text())
    if verdict.error:
        raise verdict.error
