"""A lab's live nodes: their snapshots, held against what the inventory says of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import MetisError, about, known
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
    wanted, errors = _targets(lab, compared)
    diffs, more = retarget(lab.inventory, wanted)
    return wanted, diffs, {**errors, **more}


def watch(lab: Lab, found: Facts, now: datetime) -> Changes:
    """Keep what was found in the lab's history, and give what is otherwise since the last look."""
    from ..history import keeping
    from ..history.watches import watched

    wanted, _errors = _targets(lab, found.overview)

    def look(before: State) -> State:
        return seen(found.overview, wanted, before)

    changes = watched(lab.artifacts.history, look, now)
    keeping.tidy(lab.artifacts.history, now)
    return changes


def _targets(lab: Lab, compared: Overview) -> tuple[dict[str, Any], dict[str, MetisError]]:
    """By class what its targets should be, and why the inventory makes no sense of others."""
    wanted: dict[str, Any] = {}
    errors: dict[str, MetisError] = {}
    for view in compared.classes:
        if view.name in lab.classes:
            try:
                about = lab.live_composer.klass(view.name)
            except (MetisError, OSError) as error:
                errors[view.name] = known(error)
                continue
            if values := recommended(view, about.settings.get("targets", {}).get("packages", {})):
                wanted[view.name] = values
    return wanted, errors


def _expected(lab: Lab) -> tuple[dict[str, Expected], dict[str, MetisError]]:
    """What each node must be; it is remembered as long as all that it rests on looks the same.

    To resolve and render a thousand nodes takes longer than all the rest.
    """
    looks, file = Looks(lab), lab.artifacts.expected(lab.settings.inventory_key)
    before = _remembered(file)
    current: dict[str, Any] = {}
    wanted: dict[str, Expected] = {}
    errors: dict[str, MetisError] = {}
    for name in lab.nodes:
        try:
            word, entry = looks.node(name), before.get(name)
            found = _still(entry, word)
            wanted[name] = found or _of(lab, name)
            current[name] = entry if found else {"looks": word, "expected": wanted[name].to_data()}
        except (MetisError, OSError) as error:
            errors[name] = about(name, error)
    if lab.remembers and current != before:
        with suppress(MetisError):  # a full disk costs the next run a few seconds, and this one nothing
            _remember(file, current)
    return wanted, errors


def _of(lab: Lab, name: str) -> Expected:
    node = lab.live_composer.node(name)
    return expected(node, lab.live_composer.rendered(node))


def _still(entry: Mapping[str, Any] | None, word: str) -> Expected | None:
    """What was remembered of a node, if all that it rests on looks the same."""
    if entry is None:
        return None
    try:
        return Expected.from_data(entry["expected"]) if entry["looks"] == word else None
    except (KeyError, TypeError):  # what another version of Metis wrote
        return None


def _remember(file: Path, nodes: Mapping[str, Any]) -> None:
    text = json.dumps(nodes).encode()
    durable.write(file, b'"%s"\n%s' % (hashlib.sha256(text).hexdigest().encode(), text))


def _remembered(file: Path) -> dict[str, Any]:
    """What was written, to the byte: its hash is the first line."""
    try:
        digest, _, text = file.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if digest.strip(b'"') != hashlib.sha256(text).hexdigest().encode():
        return {}
    nodes: dict[str, Any] = json.loads(text)
    return nodes
