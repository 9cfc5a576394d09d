"""How Vault is reached, as the environment says: where it is, who asks, and by whose certificates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...machine.environment import switch
from ...secret import Secret

VAULT_TIMEOUT = 10
"""Seconds for one request, unless VAULT_CLIENT_TIMEOUT says otherwise."""


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


def vault_access(environment: Mapping[str, str], folder: Path) -> VaultAccess:
    """Read what the environment says of Vault; relative paths count from `folder`.

    Which credentials there must be is known to whoever asks Vault: most runs do not.
    """
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
        insecure=switch(environment, "METIS_VAULT_INSECURE"),
    )


def _timeout(text: str | None) -> float:
    """Seconds, with or without the s that Vault's command line allows."""
    match = re.fullmatch(r"([1-9][0-9]{0,3})s?", text or f"{VAULT_TIMEOUT}")
    if match is None:
        raise UsageError("VAULT_CLIENT_TIMEOUT is no time", "give whole seconds, such as 30")
    return float(match[1])
