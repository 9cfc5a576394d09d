"""What opens the places where secrets are. Another kind is a file beside this one, and a line in OPENERS.

How a place of each kind is named is in `secret_places`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..secret_places import PlainPlace, SealedPlace, SecretPlace, VaultPlace
from .source import SecretSource

if TYPE_CHECKING:
    from .age_keys import AgeKeys

# What opens a place is imported where it is used: each run has need of one, and most do not ask it.


@dataclass(frozen=True, slots=True)
class Means:
    """What places are opened with, beside what they say themselves.

    `recipients` are whom files are sealed for. Where nothing is to be left behind, `remembers` is false: no
    key is made then, and no copy kept. `note` is told what people should know.
    """

    recipients: Callable[[], Iterable[str]]
    note: Callable[[str], None]
    offline: bool
    remembers: bool

    def age_keys(self, identity: Path, note: Callable[[str], None] = lambda _line: None) -> AgeKeys:
        """The keys in a file."""
        from .age_keys import AgeKeys

        return AgeKeys(identity, self.recipients, makes_key=self.remembers, note=note)


def _plain(place: PlainPlace, _means: Means) -> SecretSource:
    from .plain import plain_folder

    return plain_folder(place.folder)


def _sealed(place: SealedPlace, means: Means) -> SecretSource:
    from .sealed import sealed_folder

    return sealed_folder(place.folder, means.age_keys(place.identity, means.note))


def _vault(place: VaultPlace, means: Means) -> SecretSource:
    from .copies import Copies, OfflineCopies

    copies = Copies(place.folder, means.age_keys(place.identity))
    if means.offline:
        return OfflineCopies(copies, means.note)
    from .vault import Vault

    return Vault(place.access, copies, keeps_copies=means.remembers, note=means.note)


OPENERS: Mapping[str, Callable[[Any, Means], SecretSource]] = MappingProxyType(
    {"plain": _plain, "sealed": _sealed, "vault": _vault}
)
"""By the kind of a place: from the place to its source, of which nothing is asked yet."""


def opened(place: SecretPlace, means: Means) -> SecretSource:
    """The source at a place."""
    return OPENERS[place.kind](place, means)
