"""Which burn of a node was the last that ended well, by the receipts that burns leave (`lab.cards`)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..facts.drift import Burned
from .burn import SAME

_NAME = re.compile(r"(?P<node>.+)-(?P<when>[0-9]{8}T[0-9]{6}Z)(-(?P<number>[0-9]+))?\.json")


def last_burns(folder: Path) -> dict[str, Burned]:
    """The last good burn of each node that has one; what is no receipt is passed over."""
    by_node: dict[str, list[tuple[str, int, Path]]] = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        if match := _NAME.fullmatch(file.name):
            place = (match["when"], int(match["number"] or 0), file)
            by_node.setdefault(match["node"], []).append(place)
    found = {node: _last(places) for node, places in by_node.items()}
    return {node: burned for node, burned in found.items() if burned is not None}


def _last(places: list[tuple[str, int, Path]]) -> Burned | None:
    failed: list[str] = []
    for _when, _number, file in sorted(places, reverse=True):
        try:
            about: Any = json.loads(file.read_bytes())
            image, at = str(about["image"]["id"]), str(about["at"])
            if about["verdict"] == SAME:
                return Burned(image, at, frozenset(failed))
            failed.append(at)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return None
