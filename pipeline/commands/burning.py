"""The ways of `metis burn`: an image to cards, and a node's files into what is mounted.

A finished image is burned without an inventory, so that works on hosts that have nothing but Python.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import MismatchError, SeveralErrors, UsageError
from ..machine.reporters import reporter
from ..settings import LARGEST_CARD
from . import prompts
from .options import artifacts_folder, lab_of, print_json

if TYPE_CHECKING:
    from ..card.cards import Card
    from ..card.platform import Platform
    from ..lab.lab import Lab
    from ..steps.burn import Report, Tools
    from ..steps.burnable import Burnable
    from ..steps.choosing import Rules

LOOK_EVERY = 0.5
"""Seconds between two looks for a new card."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How an operator chooses cards, and what may be taken for granted."""

    devices: Sequence[str]
    allow_fixed: bool
    delta: str
    no_preflight: bool
    yes: bool
    as_json: bool


# ------------------------------------------------------------------------------------------ to devices


def write_image(path: Path, choice: Choice) -> None:
    """Burn a finished image, for which nothing but its own files is asked."""
    subject, reports = _burned_as_it_is(path, choice)
    _end(subject, reports, choice)


def write_finished(name: str, choice: Choice) -> None:
    """Burn the image of a node that was brought into the artifacts, and keep what came of it.

    Raises MismatchError where its receipt says that it is another node's.
    """
    from ..lab import burned
    from ..steps.artifacts import Artifacts

    artifacts = Artifacts(artifacts_folder())
    _, reports = _burned_as_it_is(artifacts.image(name), choice, name)
    try:
        burned.keep(artifacts, reporter(os.environ), name, "", reports)
    finally:
        _end(name, reports, choice)


def _burned_as_it_is(path: Path, choice: Choice, wanted: str = "") -> tuple[str, list[Report]]:
    from ..card.here import here
    from ..steps.burn import Tools
    from ..steps.burnable import opened
    from ..steps.choosing import Rules

    platform, told = here(), reporter(os.environ)
    rules = Rules(LARGEST_CARD, artifacts_folder(), allow_fixed=choice.allow_fixed)
    _refuse_early(platform, rules, choice)
    with opened(path, told) as image:
        if wanted not in {"", image.subject}:
            raise MismatchError(
                f"{path} is the image of {image.subject} by its receipt",
                "give it that name",
            )
        return image.subject, _burned(image, rules, Tools(platform, told, choice.delta), choice)


def write_pulled(source: str, identity: str | None, flags: dict[str, str | None], choice: Choice) -> None:
    """Burn an image from a registry, for which no inventory is asked either."""
    from ..card.here import here
    from ..golden.registry.reference import Reference
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


def write_node(name: str, flags: dict[str, str | None], choice: Choice) -> None:
    """Build a node's image if it is not up to date, burn it, and compare its files on the card."""
    from .. import walk
    from ..lab.cards import LabCards
    from ..steps.burnable import opened

    lab = lab_of(flags)
    _preflight(lab, name, choice)
    cards = LabCards(lab)
    rules = cards.rules(name, allow_fixed=choice.allow_fixed)
    _refuse_early(cards.platform, rules, choice)
    lab = walk.run([f"image:{name}"], 1, lets_go=True)
    cards = LabCards(lab)
    with opened(lab.artifacts.image(name), lab.reporter, deep=lab.settings.deep) as image:
        reports = _burned(image, rules, cards.tools(name, choice.delta), choice)
    try:
        cards.keep(name, reports)
    finally:  # what came of the cards is worth most, also where there is no room to keep it
        _end(name, reports, choice)


def _preflight(lab: Lab, name: str, choice: Choice) -> None:
    from ..lab.preflight import before_burn

    if not choice.no_preflight:
        before_burn(lab, name)


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


def fill(name: str, folders: tuple[Path, Path] | None, flags: dict[str, str | None], choice: Choice) -> None:
    """Put a node's files into a card's file systems, and read them back."""
    from ..lab.cards import LabCards

    lab = lab_of(flags, writes=True)
    _preflight(lab, name, choice)
    cards = LabCards(lab)
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
