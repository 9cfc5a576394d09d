"""What the environment says: where things are and how a run behaves.

The precedence is flag, environment, YAML; the command line puts its flags into the environment before
this is read, so here only the environment counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UsageError
from .golden.registry.access import RegistryAccess, registry_access
from .machine.environment import switch
from .scheduler.access import SchedulerAccess, scheduler_access
from .secret import Secret
from .secrets.places import SecretPlace, secret_place

if TYPE_CHECKING:
    from .inventory.resolve import GoldenOverride

DELTAS = ("auto", "always", "never")
"""Whether a card is compared first and written only where it differs; auto does so where one was burned."""
LARGEST_CARD = 256 << 30
"""Bytes: what is larger is taken for something else than a card, unless card.max_size says otherwise."""
_IMAGE = re.compile(r"METIS_IMAGE_([A-Z0-9_]+?)(_SHA256)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run; all paths are absolute."""

    inventory: Path
    artifacts: Path
    cache: Path
    injector: str
    """By its name in `lab.injectors`, where that is checked."""
    offline: bool
    deep: bool
    debug: bool
    waits: bool
    """Whether a build waits for another one in the same artifacts, rather than fail."""
    secrets: SecretPlace
    registries: RegistryAccess
    overrides: Mapping[str, GoldenOverride]
    """Goldens named by the environment, by the variable's part for the class (RPI5_UBUNTU)."""
    scheduler: SchedulerAccess | None = None
    """Where workers are asked to do what is heavy; without one it is done here."""
    environment: Mapping[str, Secret] = field(default_factory=dict, compare=False)
    """All that it says, for sources of goldens that log in with variables of their own."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], folder: Path) -> Settings:
        """Read the METIS_ variables; relative paths count from `folder`, and empty is as good as not set.

        Raises UsageError for what cannot be meant.
        """
        environment = {name: value for name, value in environment.items() if value}
        artifacts = folder / environment.get("METIS_ARTIFACTS", "artifacts")
        return cls(
            inventory=folder / environment.get("METIS_INVENTORY", "."),
            artifacts=artifacts,
            cache=folder / environment["METIS_CACHE"]
            if "METIS_CACHE" in environment
            else artifacts / "cache",
            injector=environment.get("METIS_INJECTOR", "guestfs"),
            offline=switch(environment, "METIS_OFFLINE"),
            deep=switch(environment, "METIS_DEEP"),
            debug=switch(environment, "METIS_DEBUG"),
            waits=switch(environment, "METIS_WAIT"),
            secrets=secret_place(environment, folder),
            registries=registry_access(environment, folder),
            overrides=_overrides(environment),
            scheduler=scheduler_access(environment, folder),
            environment={name: Secret(text) for name, text in environment.items()},
        )

    def override(self, klass: str) -> GoldenOverride | None:
        """The golden that the environment names for a class."""
        return self.overrides.get(_as_variable(klass))

    @property
    def inventory_key(self) -> str:
        """A short name for the inventory's place: two inventories do not share what doit remembers."""
        return hashlib.sha256(str(self.inventory.resolve()).encode()).hexdigest()[:16]


def golden_variable(klass: str) -> str:
    """The name of the variable that names a class's golden."""
    return f"METIS_IMAGE_{_as_variable(klass)}"


def _as_variable(klass: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", klass.upper())


def _overrides(environment: Mapping[str, str]) -> dict[str, GoldenOverride]:
    found: dict[str, dict[str, str]] = {}
    for name, value in environment.items():
        if match := _IMAGE.fullmatch(name):
            found.setdefault(match[1], {})[match[2] or ""] = value
    return {klass: _override(klass, values) for klass, values in found.items()}


def _override(klass: str, values: Mapping[str, str]) -> GoldenOverride:
    from .inventory.formats import FILE_SOURCES, image_source
    from .inventory.resolve import GoldenOverride

    variable = f"METIS_IMAGE_{klass}"
    if len(values) == 1:
        given, missing = (
            (variable, f"{variable}_SHA256") if "" in values else (f"{variable}_SHA256", variable)
        )
        raise UsageError(
            f"{given} is set without {missing}", "set both: they replace the class's image together"
        )
    if not _SHA256.fullmatch(values["_SHA256"]):
        raise UsageError(f"{variable}_SHA256 is not a SHA-256", "give 64 hexadecimal digits in lower case")
    try:
        image_source(values[""])
    except ValueError:
        # The value is not repeated: it may hold a password.
        raise UsageError(
            f"{variable} is not where an image can come from",
            f"give {FILE_SOURCES}, without user and password",
        ) from None
    if values[""].startswith("debian:"):
        raise UsageError(
            f"{variable} is a debian: source",
            "such an image is built here and has no hash: name it in the class",
        )
    return GoldenOverride(values[""], values["_SHA256"], variable)
