"""Which burn of a node was the last that ended well, by the receipts that burns leave (`lab.cards`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
    found = {node: next(_good(places), None) for node, places in by_node.items()}
    return {node: burned for node, burned in found.items() if burned is not None}


def _good(places: list[tuple[str, int, Path]]) -> Iterator[Burned]:
    for _when, _number, file in sorted(places, reverse=True):
        try:
            about: Any = json.loads(file.read_bytes())
            if about["verdict"] == SAME:
                yield Burned(about["image"]["id"], about["at"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
