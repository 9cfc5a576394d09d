"""What a platform is to a burn. Each has a module of its own, whose `platform()` says it; see `here`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .cards import Card
from .medium import Opener

if TYPE_CHECKING:
    from .inspect import OnCard


@dataclass(frozen=True, slots=True)
class Platform:
    """What a platform can do.

    Where it `knows_file_systems`, there are the programs that read those of a card or an image. `find` lists
    devices, `card_at` finds what an operator named, `openers` are programs that have it open, `system_mounts`
    says which mount points must not be lost, given the folder of artifacts, and what they are. `opener` opens
    cards to be written.
    """

    knows_file_systems: bool
    find: Callable[[], tuple[Card, ...]]
    card_at: Callable[[str], Card]
    openers: Callable[[Card], tuple[str, ...]]
    system_mounts: Callable[[Path], Mapping[str, str]]
    opener: Opener

    def content(self, card: Card) -> OnCard | None:
        """What is on a card; None where it has no medium, or nothing here can tell."""
        if not self.knows_file_systems or card.size == 0:
            return None
        from .inspect import inspect

        return inspect(Path(card.path))
