"""What the environment says: where things are and how a run behaves.

The precedence is flag, environment, YAML; the command line puts its flags into the environment before
this is read, so here only the environment counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from .inventory.resolve import ImageOverride

INJECTORS = ("guestfs", "loop")
_IMAGE = re.compile(r"METIS_IMAGE_([A-Z0-9_]+?)(_SHA256)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SWITCH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run; all paths are absolute."""

    inventory: Path
    artifacts: Path
    cache: Path
    injector: str
    offline: bool
    deep: bool
    debug: bool
    secrets: Path
    """The folder of plain files that keeps the nodes' secrets."""
    overrides: Mapping[str, ImageOverride]
    """Goldens named by the environment, by the variable's part for the class (RPI5_UBUNTU)."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], folder: Path) -> Settings:
        """Read the METIS_ variables; relative paths count from `folder`, and empty is as good as not set.

        Raises UsageError for what cannot be meant.
        """
        environment = {name: value for name, value in environment.items() if value}
        artifacts = folder / environment.get("METIS_ARTIFACTS", "artifacts")
        injector = environment.get("METIS_INJECTOR", INJECTORS[0])
        if injector not in INJECTORS:
            raise UsageError(f"METIS_INJECTOR is {injector!r}", f"use one of {', '.join(INJECTORS)}")
        return cls(
            inventory=folder / environment.get("METIS_INVENTORY", "."),
            artifacts=artifacts,
            cache=folder / environment["METIS_CACHE"]
            if "METIS_CACHE" in environment
            else artifacts / "cache",
            injector=injector,
            offline=_switch(environment, "METIS_OFFLINE"),
            deep=_switch(environment, "METIS_DEEP"),
            debug=_switch(environment, "METIS_DEBUG"),
            secrets=folder / _secrets(environment),
            overrides=_overrides(environment),
        )

    def override(self, klass: str) -> ImageOverride | None:
        """The golden that the environment names for a class."""
        return self.overrides.get(_as_variable(klass))

    @property
    def inventory_key(self) -> str:
        """A short name for the inventory's place: two inventories do not share what doit remembers."""
        return hashlib.sha256(str(self.inventory.resolve()).encode()).hexdigest()[:16]


def image_variable(klass: str) -> str:
    """The name of the variable that names a class's golden."""
    return f"METIS_IMAGE_{_as_variable(klass)}"


def user_folder(environment: Mapping[str, str], variable: str, usual: str) -> Path:
    """Our part of one of the user's folders (XDG Base Directory Specification, which takes no relative path).

    Raises UsageError where neither the environment nor passwd(5) knows it.
    """
    named = Path(environment.get(variable, ""))
    try:
        return (named if named.is_absolute() else Path(usual).expanduser()) / "metis"
    except RuntimeError:
        raise UsageError("this user has no home folder", f"set HOME or {variable}") from None


def _as_variable(klass: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", klass.upper())


def _secrets(environment: Mapping[str, str]) -> Path:
    """The folder of METIS_SECRETS, `plain:DIR`; without it, where a user's state is."""
    if "METIS_SECRETS" not in environment:
        return user_folder(environment, "XDG_STATE_HOME", "~/.local/state") / "secrets"
    kind, _, place = environment["METIS_SECRETS"].partition(":")
    if kind != "plain" or not place:
        # The value is not repeated: who misread what is wanted may have put a secret there.
        found = f"{kind}, which is not built yet" if kind in {"vault", "sealed"} else "no source of secrets"
        raise UsageError(
            f"METIS_SECRETS is {found}", "use plain:DIR, a folder with a <node>.yaml for each node"
        )
    return Path(place)


def _switch(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "0")
    if value.lower() not in _SWITCH:
        raise UsageError(f"{name} is {value!r}", "use 1 or 0")
    return _SWITCH[value.lower()]


def _overrides(environment: Mapping[str, str]) -> dict[str, ImageOverride]:
    found: dict[str, dict[str, str]] = {}
    for name, value in environment.items():
        if match := _IMAGE.fullmatch(name):
            found.setdefault(match[1], {})[match[2] or ""] = value
    return {klass: _override(klass, values) for klass, values in found.items()}


def _override(klass: str, values: Mapping[str, str]) -> ImageOverride:
    from .inventory.formats import image_source
    from .inventory.resolve import ImageOverride

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
            "give an https, http or file: address, without user and password",
        ) from None
    if values[""].startswith("debian:"):
        raise UsageError(
            f"{variable} is a debian: source",
            "such an image is built here and has no hash: name it in the class",
        )
    return ImageOverride(values[""], values["_SHA256"], variable)
