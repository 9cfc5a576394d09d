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
from .registry_access import RegistryAccess, registry_access
from .secret import Secret

if TYPE_CHECKING:
    from .inventory.resolve import GoldenOverride

DELTAS = ("auto", "always", "never")
"""Whether a card is compared first and written only where it differs; auto does so where one was burned."""
LARGEST_CARD = 256 << 30
"""Bytes: what is larger is taken for something else than a card, unless card.max_size says otherwise."""
SECRETS_VARIABLES = frozenset({"METIS_SECRETS", "VAULT_ADDR"})
"""Where nodes' secrets are."""
VAULT_TIMEOUT = 10
"""Seconds for one request, unless VAULT_CLIENT_TIMEOUT says otherwise."""
_IMAGE = re.compile(r"METIS_IMAGE_([A-Z0-9_]+?)(_SHA256)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SWITCH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """How Vault is reached, as its own command line has it; what is empty was not said.

    `timeout` is in seconds, for one request; `insecure` allows plain HTTP to other machines.
    """

    address: str
    namespace: str
    ca_certificate: Path | None
    token: Secret
    role_id: str
    secret_id: Secret
    timeout: float
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class PlainPlace:
    """Secrets in plain files of a folder."""

    folder: Path


@dataclass(frozen=True, slots=True)
class SealedPlace:
    """Secrets in sealed files of a folder; `identity` is the file with the age key that opens them."""

    folder: Path
    identity: Path


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """Secrets in Vault; `copies` is the folder of sealed copies of what it gave."""

    access: VaultAccess
    copies: Path
    identity: Path


SecretPlace = PlainPlace | SealedPlace | VaultPlace


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
    secrets: SecretPlace
    registries: RegistryAccess
    overrides: Mapping[str, GoldenOverride]
    """Goldens named by the environment, by the variable's part for the class (RPI5_UBUNTU)."""
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
            offline=_switch(environment, "METIS_OFFLINE"),
            deep=_switch(environment, "METIS_DEEP"),
            debug=_switch(environment, "METIS_DEBUG"),
            secrets=_secrets(environment, folder),
            registries=registry_access(environment, folder),
            overrides=_overrides(environment),
            environment={name: Secret(text) for name, text in environment.items()},
        )

    def override(self, klass: str) -> GoldenOverride | None:
        """The golden that the environment names for a class."""
        return self.overrides.get(_as_variable(klass))

    @property
    def secrets_folders(self) -> tuple[Path, ...]:
        """Where secrets, or copies of them, are kept on this machine."""
        return (self.secrets.copies if isinstance(self.secrets, VaultPlace) else self.secrets.folder,)

    @property
    def inventory_key(self) -> str:
        """A short name for the inventory's place: two inventories do not share what doit remembers."""
        return hashlib.sha256(str(self.inventory.resolve()).encode()).hexdigest()[:16]


def golden_variable(klass: str) -> str:
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


def user_folders(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """All of our parts of the user's folders."""
    usual = {"XDG_CACHE_HOME": "~/.cache", "XDG_STATE_HOME": "~/.local/state", "XDG_CONFIG_HOME": "~/.config"}
    return tuple(user_folder(environment, variable, place) for variable, place in usual.items())


def _as_variable(klass: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", klass.upper())


def _secrets(environment: Mapping[str, str], folder: Path) -> SecretPlace:
    """What METIS_SECRETS names; else Vault where there is one, else sealed files with the user's state."""
    named = environment.get("METIS_SECRETS", "vault" if "VAULT_ADDR" in environment else "sealed")
    kind, _, place = named.partition(":")
    if kind == "plain" and place:
        return PlainPlace(folder / place)
    if kind == "sealed" and (place or named == kind):
        where = folder / place if place else _state(environment) / "secrets"
        return SealedPlace(where, age_identity(environment, folder))
    if named == "vault":
        access = _vault(environment, folder)
        # Another Vault knows other nodes by the same names.
        asked = hashlib.sha256(f"{access.address}\n{access.namespace}".encode()).hexdigest()
        copies = _state(environment) / "copies" / asked[:16]
        return VaultPlace(access, copies, age_identity(environment, folder))
    # The value is not repeated: who misread what is wanted may have put a secret there.
    raise UsageError("METIS_SECRETS is no source of secrets", "use vault, sealed:DIR or plain:DIR")


def _state(environment: Mapping[str, str]) -> Path:
    return user_folder(environment, "XDG_STATE_HOME", "~/.local/state")


def age_identity(environment: Mapping[str, str], folder: Path) -> Path:
    """The file with the age key of whoever runs this; raises UsageError where nothing says which."""
    if named := environment.get("METIS_AGE_IDENTITY"):
        # The value is not repeated: it may be the key itself.
        if "AGE-SECRET-KEY-" in named.upper() or "PRIVATE KEY-----" in named:
            raise UsageError("METIS_AGE_IDENTITY is a key", "put it into a file of mode 0600, and name that")
        return folder / named
    return user_folder(environment, "XDG_CONFIG_HOME", "~/.config") / "age.key"


def _vault(environment: Mapping[str, str], folder: Path) -> VaultAccess:
    """Which credentials there must be is known to whoever asks Vault: most runs do not."""
    if "VAULT_ADDR" not in environment:
        raise UsageError("METIS_SECRETS is vault, and VAULT_ADDR is not set", "say where Vault is")
    certificate = environment.get("VAULT_CACERT")
    return VaultAccess(
        address=environment["VAULT_ADDR"].rstrip("/"),
        namespace=environment.get("VAULT_NAMESPACE", ""),
        ca_certificate=folder / certificate if certificate else None,
        token=Secret(environment.get("VAULT_TOKEN", "")),
        role_id=environment.get("VAULT_ROLE_ID", ""),
        secret_id=Secret(environment.get("VAULT_SECRET_ID", "")),
        timeout=_timeout(environment.get("VAULT_CLIENT_TIMEOUT")),
        insecure=_switch(environment, "METIS_VAULT_INSECURE"),
    )


def _timeout(text: str | None) -> float:
    """Seconds, with or without the s that Vault's command line allows."""
    match = re.fullmatch(r"([1-9][0-9]{0,3})s?", text or f"{VAULT_TIMEOUT}")
    if match is None:
        raise UsageError("VAULT_CLIENT_TIMEOUT is no time", "give whole seconds, such as 30")
    return float(match[1])


def _switch(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "0")
    if value.lower() not in _SWITCH:
        raise UsageError(f"{name} is {value!r}", "use 1 or 0")
    return _SWITCH[value.lower()]


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
