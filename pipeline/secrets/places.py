"""Where nodes' secrets may be: the kinds of places that METIS_SECRETS names, how each is found and opened.

Another kind is a file beside this one, a class here, and its name in PLACES.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from ..errors import UsageError
from ..machine.environment import user_folder
from .vault.access import VaultAccess, vault_access

# What opens a place is imported where it is used: each run needs one, and most do not ask it.
if TYPE_CHECKING:
    from .age_keys import AgeKeys
    from .source import SecretSource

SECRETS_VARIABLES = frozenset({"METIS_SECRETS", "VAULT_ADDR"})
"""Where nodes' secrets are."""


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


class SecretPlace(Protocol):
    """Where nodes' secrets are; `kind` is the word for it, and `spellings` are all ways in which it is named.

    The fullest is the last. What is not `on_this_machine` may be out of reach.
    """

    kind: ClassVar[str]
    spellings: ClassVar[tuple[str, ...]]
    on_this_machine: ClassVar[bool]

    @property
    def folder(self) -> Path | None:
        """Where secrets, or copies of them, are kept in files here; None where there are no such files."""

    @classmethod
    def parsed(cls, named: str, environment: Mapping[str, str], folder: Path) -> SecretPlace:
        """The place by what follows the colon, empty where there is none; relative paths count from `folder`.

        Raises UsageError where the environment says too little.
        """

    def opened(self, means: Means) -> SecretSource:
        """The source there; nothing is asked of it yet."""


@dataclass(frozen=True, slots=True)
class PlainPlace:
    """Secrets in plain files of a folder."""

    kind: ClassVar = "plain"
    spellings: ClassVar[tuple[str, ...]] = ("plain:DIR",)
    on_this_machine: ClassVar = True
    folder: Path

    @classmethod
    def parsed(cls, named: str, _environment: Mapping[str, str], folder: Path) -> SecretPlace:
        """The folder that is named."""
        return cls(folder / named)

    def opened(self, _means: Means) -> SecretSource:
        """The files there."""
        from .plain import plain_folder

        return plain_folder(self.folder)


@dataclass(frozen=True, slots=True)
class SealedPlace:
    """Secrets in sealed files of a folder; `identity` is the file with the age key that opens them."""

    kind: ClassVar = "sealed"
    spellings: ClassVar[tuple[str, ...]] = ("sealed", "sealed:DIR")
    on_this_machine: ClassVar = True
    folder: Path
    identity: Path

    @classmethod
    def parsed(cls, named: str, environment: Mapping[str, str], folder: Path) -> SecretPlace:
        """The folder that is named, or one with the user's state."""
        where = folder / named if named else _state(environment) / "secrets"
        return cls(where, age_identity(environment, folder))

    def opened(self, means: Means) -> SecretSource:
        """The files there, with the keys to them."""
        from .sealed import sealed_folder

        return sealed_folder(self.folder, means.age_keys(self.identity, means.note))


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """Secrets in Vault; in `folder` are sealed copies of what it gave, which the key in `identity` opens."""

    kind: ClassVar = "vault"
    spellings: ClassVar[tuple[str, ...]] = ("vault",)
    on_this_machine: ClassVar = False
    access: VaultAccess
    folder: Path
    identity: Path

    @classmethod
    def parsed(cls, _named: str, environment: Mapping[str, str], folder: Path) -> SecretPlace:
        """The Vault that the environment names."""
        access = vault_access(environment, folder)
        # Another Vault knows other nodes by the same names.
        asked = hashlib.sha256(f"{access.address}\n{access.namespace}".encode()).hexdigest()
        copies = _state(environment) / "copies" / asked[:16]
        return cls(access, copies, age_identity(environment, folder))

    def opened(self, means: Means) -> SecretSource:
        """The Vault, or only the copies of what it gave."""
        from .copies import Copies, OfflineCopies

        copies = Copies(self.folder, means.age_keys(self.identity))
        if means.offline:
            return OfflineCopies(copies, means.note)
        from .vault.vault import Vault

        return Vault(self.access, copies, keeps_copies=means.remembers, note=means.note)


PLACES: tuple[type[SecretPlace], ...] = (PlainPlace, SealedPlace, VaultPlace)
"""All kinds; the last is advised first."""


def all_spellings() -> str:
    """All ways in which a place may be named, in words."""
    return _alternatives(text for place in PLACES for text in place.spellings)


def secret_place(environment: Mapping[str, str], folder: Path) -> SecretPlace:
    """What METIS_SECRETS names; else Vault where there is one, else sealed files with the user's state.

    Raises UsageError for what names no place, or one of which the environment says too little.
    """
    text = environment.get("METIS_SECRETS", "vault" if "VAULT_ADDR" in environment else "sealed")
    kind, _, named = text.partition(":")
    place = next((place for place in PLACES if place.kind == kind), None)
    if place and (text in place.spellings or (named and ":" in place.spellings[-1])):
        return place.parsed(named, environment, folder)
    # The value is not repeated: who misread what is wanted may have put a secret there.
    fullest = _alternatives(place.spellings[-1] for place in reversed(PLACES))
    raise UsageError("METIS_SECRETS is no source of secrets", f"use {fullest}")


def age_identity(environment: Mapping[str, str], folder: Path) -> Path:
    """The file with the age key of whoever runs this; raises UsageError where nothing says which."""
    if named := environment.get("METIS_AGE_IDENTITY"):
        # The value is not repeated: it may be the key itself.
        if "AGE-SECRET-KEY-" in named.upper() or "PRIVATE KEY-----" in named:
            raise UsageError("METIS_AGE_IDENTITY is a key", "put it into a file of mode 0600, and name that")
        return folder / named
    return user_folder(environment, "XDG_CONFIG_HOME", "~/.config") / "age.key"


def _state(environment: Mapping[str, str]) -> Path:
    return user_folder(environment, "XDG_STATE_HOME", "~/.local/state")


def _alternatives(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"
