"""The part of a node's secrets that nobody but Metis needs to choose: made once, where it is missing.

It is stored before anything is built from it, and what is stored already wins: all who share a source end
with one identity.
"""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable, Iterable, Mapping

from ..errors import SecretError
from ..model import SecretRef
from ..secret import Secret
from . import ssh_keys
from .given import Given
from .password import SALT, needs_salt
from .source import SecretSource


def names(node: str, refs: Iterable[SecretRef], values: Mapping[str, Secret]) -> tuple[str, ...]:
    """The names of all secrets that references come to, there or not, each once."""
    return tuple(name for name, _ in _wanted(node, refs, values))


def missing(node: str, refs: Iterable[SecretRef], values: Mapping[str, Secret]) -> tuple[str, ...]:
    """The names of secrets that are needed and not there, each once."""
    return tuple(name for name, needed in _wanted(node, refs, values) if needed and name not in values)


def _wanted(node: str, refs: Iterable[SecretRef], values: Mapping[str, Secret]) -> Iterable[tuple[str, bool]]:
    """Each name, and whether the node cannot do without."""
    wanted: dict[str, bool] = {}
    for ref in refs:
        wanted[ref.name] = wanted.get(ref.name, False) or not ref.optional
        if ref.form == "password-hash" and needs_salt(Given(node, ref.name, values)):
            wanted[SALT] = True
    return wanted.items()


def no_such(names: Iterable[str], node: str, source: SecretSource) -> SecretError:
    """The error for secrets that only an operator has."""
    names = tuple(names)
    name = names[0] if len(names) == 1 else "NAME"
    return SecretError(
        f"{node} has no {', '.join(names)}",
        f"put it into {source.place(node)} with `metis secrets set --node {node} {name}`",
    )


def _salt() -> str:
    """16 characters of the 64 that crypt(5) has."""
    return base64.b64encode(os.urandom(12), b"./").decode()


MAKERS: Mapping[str, Callable[[], str]] = {
    "extra.machine_id": lambda: uuid.uuid4().hex,  # machine-id(5) asks for a UUID of version 4
    "extra.node_password": lambda: os.urandom(16).hex(),  # as k3s makes it, in pkg/agent/config
    "extra.ssh_host_ed25519_key": ssh_keys.new_ed25519,
    "extra.ssh_host_ecdsa_key": ssh_keys.new_ecdsa,
    "extra.ssh_host_rsa_key": ssh_keys.new_rsa,
    "extra.iscsi_initiator": lambda: f"iqn.1993-08.org.debian:01:{os.urandom(6).hex()}",
    SALT: _salt,
}
