"""Who we are for a registry: a robot account from the environment, else what `docker login` has left.

oras could read Docker's file too, but would give its credential helpers our whole environment, with whatever
secrets are in it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import MetisError, UsageError
from ...machine import process
from ...secret import Secret
from .access import RegistryAccess

_HELPER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HELPER_TIME = 30.0
"""Seconds."""
_HELPER_LIMIT = 1 << 16
"""Bytes."""


def credentials(host: str, access: RegistryAccess) -> tuple[str, Secret] | None:
    """The user and password for a registry's host (with its port), None where there are none.

    Raises UsageError for a file that cannot be what Docker wrote, with nothing of what is in it.
    """
    if access.robot is not None and access.robot.host == host:
        return access.robot.user, access.robot.password
    file = access.docker_config
    config = _read(file) if file is not None else {}
    try:
        for key in (host, f"https://{host}"):
            if found := _stored(config, key):
                return found
    except (ValueError, TypeError, AttributeError, KeyError):
        raise UsageError(
            f"{file} is not as docker login leaves it", f"run `docker login {host}` again"
        ) from None
    return None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise UsageError(f"{file} cannot be read", "mend it, or set DOCKER_CONFIG") from None
    return found if isinstance(found, dict) else {}


def _stored(config: Mapping[str, Any], key: str) -> tuple[str, Secret] | None:
    """What Docker's file has under a key, in it or in the helper that it names."""
    about = config.get("auths", {}).get(key) or {}
    if text := about.get("auth"):
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
        return (user, Secret(password)) if colon and user else None
    helper = config.get("credHelpers", {}).get(key) or config.get("credsStore")
    return _asked(helper, key) if helper else None


def _asked(helper: str, key: str) -> tuple[str, Secret] | None:
    """What a credential helper says (docker/docker-credential-helpers), None where it knows nobody."""
    if not _HELPER.fullmatch(helper):
        raise ValueError(helper)
    try:
        said = process.run(
            [f"docker-credential-{helper}", "get"],
            stdin=key.encode(),
            timeout=_HELPER_TIME,
            check=False,
            limit=_HELPER_LIMIT,
        )
    except process.ToolError as error:
        raise MetisError(error.message, "install it, or take it out of Docker's config.json") from None
    if said.code != 0:
        return None
    found = json.loads(said.out)
    return str(found["Username"]), Secret(str(found["Secret"]))
