"""How registries are reached, as the environment says: who asks, by whose certificates, plainly or not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...secret import Secret


@dataclass(frozen=True, slots=True)
class Robot:
    """An account of one registry, by the host that it is for, which no other is told."""

    host: str
    user: str
    password: Secret


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How registries are reached: whose certificates count, and which may be asked in plain HTTP.

    Without a `robot` for a host, what `docker login` has left in the file `docker_config` counts.
    """

    authority: Path | None = None
    insecure: frozenset[str] = frozenset()
    robot: Robot | None = None
    docker_config: Path | None = None


def registry_access(environment: Mapping[str, str], folder: Path) -> RegistryAccess:
    """Read what the environment says of registries; relative paths count from `folder`.

    Raises UsageError for an account that is not said in whole.
    """
    names = [f"METIS_REGISTRY{part}" for part in ("", "_USER", "_PASSWORD")]
    host, user, password = (environment.get(name, "") for name in names)
    if any((host, user, password)) and not all((host, user, password)):
        raise UsageError(
            f"only some of {', '.join(names)} are set",
            "set all three: a registry's host, and an account of it",
        )
    authority = environment.get("METIS_REGISTRY_CA")
    docker = environment.get("DOCKER_CONFIG")
    home = environment.get("HOME")
    return RegistryAccess(
        authority=folder / authority if authority else None,
        insecure=frozenset(re.split(r"[\s,]+", environment.get("METIS_INSECURE_REGISTRY", ""))) - {""},
        robot=Robot(host, user, Secret(password)) if host else None,
        docker_config=folder / docker / "config.json"
        if docker
        else Path(home, ".docker/config.json")
        if home
        else None,
    )
