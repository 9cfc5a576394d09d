"""How much the node keeps of its journal, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..model import Entry, Fault, File, ResolvedNode, Text
from .concern import Owned

# A card is small and wears out; a journal that is gone with the power tells nothing of what happened before.
DEFAULTS = {"Storage": "persistent", "SystemMaxUse": "200M"}
PATH = "/etc/systemd/journald.conf.d/50-metis.conf"
OWNED = Owned(strays={PATH: "journald would heed it"})
ON_DISK = ("auto", "persistent")


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """A part of journald.conf(5), which beats the main file that the golden brings.

    journald makes /var/log/journal itself where it is to keep its journal there.
    """
    chosen = _chosen(node)
    is_on_disk = chosen["Storage"] in ON_DISK
    lines = [f"{key}={_spelt(chosen[key])}" for key in sorted(chosen) if is_on_disk or not _is_of_disk(key)]
    text = "".join(f"{line}\n" for line in ("[Journal]", *lines))
    return (File(PATH, (Text(text),)),)


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Limits of a journal on disk, where there is none."""
    storage = _chosen(node)["Storage"]
    for key in sorted(node.settings.get("journald", {})):
        if _is_of_disk(key) and storage not in ON_DISK:
            yield f"journald.{key}", f"has no effect with Storage: {storage}, leave one of the two out"


def _chosen(node: ResolvedNode) -> dict[str, Any]:
    return {**DEFAULTS, **node.settings.get("journald", {})}


def _is_of_disk(key: str) -> bool:
    return key.startswith("System")


def _spelt(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
