"""A lab's live nodes: their snapshots, held against what the inventory says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import MetisError, about
from ..facts.changes import Changes, State, seen
from ..facts.expected import Expected, expected
from ..facts.overview import Declared, Overview, overview
from ..facts.reading import read
from ..facts.recommend import recommended
from ..facts.snapshot import Snapshot
from ..machine import durable
from ..steps.burned import last_burns
from ..steps.retarget import retarget
from .lab import Lab
from .looks import Looks


@dataclass(frozen=True, slots=True)
class Facts:
    """What came of the snapshots.

    `skipped` has a line for each that was not used, `errors` says of each node of which the inventory
    makes no sense why not: it has no drift.
    """

    overview: Overview
    snapshots: dict[str, Snapshot]
    skipped: tuple[str, ...]
    errors: Mapping[str, MetisError]


def facts(
    lab: Lab, places: Sequence[Path], since: datetime | None, now: datetime, *, whole: str | None = None
) -> Facts:
    """Read the newest snapshot of each node and compare; with all that the node `whole` said."""
    found = read(places, now, whole=whole)
    wanted, errors = _expected(lab)
    classes: dict[str, list[str]] = {}
    for name in lab.nodes:
        classes.setdefault(lab.class_of(name) or "of no class", []).append(name)
    declared = Declared(classes, wanted, last_burns(lab.artifacts.burns))
    compared = overview(declared, found.snapshots, since)
    return Facts(compared, found.snapshots, found.skipped, errors)


def recommendations(lab: Lab, compared: Overview) -> tuple[dict[str, Any], list[str], dict[str, MetisError]]:
    """By class what its targets should be, the diffs of files that say so, and why others have none."""
    wanted: dict[str, Any] = {}
    for view in compared.classes:
        if view.name in lab.classes:
            tracked = lab.live_composer.klass(view.name).settings.get("targets", {}).get("packages", {})
            if values := recommended(view, tracked):
                wanted[view.name] = values
    return (wanted, *retarget(lab.inventory, wanted))


def watch(lab: Lab, found: Facts, now: datetime) -> Changes:
    """Keep what was found in the lab's history, and give what is otherwise since the last look."""
    from ..history.watches import watched

    wanted, _diffs, _errors = recommendations(lab, found.overview)

    def look(before: State) -> State:
        return seen(found.overview, wanted, before, found.errors)

    return watched(lab.artifacts.history, look, now)


def _expected(lab: Lab) -> tuple[dict[str, Expected], dict[str, MetisError]]:
    """What each node must be; it is remembered as long as all that it rests on looks the same.

    To resolve and render a thousand nodes takes longer than all the rest.
    """
    looks, file = Looks(lab), lab.artifacts.expected(lab.settings.inventory_key)
    known = _remembered(file)
    current: dict[str, Any] = {}
    wanted: dict[str, Expected] = {}
    errors: dict[str, MetisError] = {}
    for name in lab.nodes:
        try:
            word, entry = looks.node(name), known.get(name)
            found = _still(entry, word)
            wanted[name] = found or _of(lab, name)
            current[name] = entry if found else {"looks": word, "expected": wanted[name].to_data()}
        except (MetisError, OSError) as error:
            errors[name] = about(name, error)
    if lab.remembers and current != known:
        durable.write(file, json.dumps(current).encode())
    return wanted, errors


def _of(lab: Lab, name: str) -> Expected:
    node = lab.live_composer.node(name)
    return expected(node, lab.live_composer.rendered(node))


def _still(entry: Any, word: str) -> Expected | None:  # noqa: ANN401 - a file that anybody may have changed
    """What was remembered of a node, if all that it rests on looks the same."""
    try:
        return Expected.from_data(entry["expected"]) if entry["looks"] == word else None
    except (KeyError, TypeError):
        return None


def _remembered(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
