"""The platform that we run on, as a burn sees it: what finds, judges and opens cards here."""

from __future__ import annotations

import sys
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
    """What each platform can do; the functions are those of its module.

    `find` lists devices, `card_at` finds what an operator named, `openers` are programs that have it open,
    `system_mounts` says which mount points must not be lost, given the folder of artifacts, and what they
    are. `opener` opens cards to be written, and `inspect` says what is on one, where there is something that
    knows file systems.
    """

    find: Callable[[], tuple[Card, ...]]
    card_at: Callable[[str], Card]
    openers: Callable[[Card], tuple[str, ...]]
    system_mounts: Callable[[Path], Mapping[str, str]]
    opener: Opener
    inspect: Callable[[Path], OnCard] | None

    def content(self, card: Card) -> OnCard | None:
        """What is on a card; None where it has no medium, or nothing here can tell."""
        return self.inspect(Path(card.path)) if card.size and self.inspect else None


def here() -> Platform:
    """The platform of this machine; its module is imported only now, as others could not be."""
    if sys.platform == "win32":
        from . import windows

        return Platform(
            windows.find,
            windows.card_at,
            windows.openers,
            windows.system_mounts,
            windows.opener(),
            None,
        )
    from . import linux
    from .inspect import inspect
    from .posix import PosixOpener

    return Platform(
        linux.find,
        linux.card_at,
        linux.openers,
        linux.system_mounts,
        PosixOpener(linux.card_at),
        inspect,
    )
