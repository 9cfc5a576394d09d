"""The part of a node's secrets that nobody but Metis needs to choose: made once, where it is missing.

It is stored before anything is built from it, and what is stored already wins: all who share a source end
with one identity.
"""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..errors import MetisError
from ..model import SecretRef
from . import ssh_keys
from .forms import SALT, Given, needs_salt
from .secret import Secret
from .source import ConflictError, NodeSecrets, SecretSource

TRIES = 20
"""Each conflict means that somebody else got on: more of them is no race any more."""


def complete(source: SecretSource, node: str, refs: Sequence[SecretRef]) -> NodeSecrets:
    """A node's secrets as they are now, after what is missing of its identity was made and stored.

    `refs` are what the node's manifest needs. Raises MetisError, with nothing made, where something is
    missing that only an operator has.
    """
    for _ in range(TRIES):
        found = source.read(node)
        absent = missing(node, refs, found.values)
        unknown = [name for name in absent if name not in MAKERS]
        if unknown:
            raise no_such(unknown, node, source)
        if not absent:
            return found
        try:
            source.add(node, {name: Secret(MAKERS[name]()) for name in absent}, found.version)
        except ConflictError:
            continue
    raise MetisError(f"the secrets of {node} change all the time", "run again")


def missing(node: str, refs: Iterable[SecretRef], values: Mapping[str, Secret]) -> tuple[str, ...]:
    """The names of secrets that are needed and not there, each once."""
    wanted: dict[str, None] = {}
    for ref in refs:
        if not ref.optional:
            wanted[ref.name] = None
        if ref.form == "password-hash" and needs_salt(Given(node, ref.name, values)):
            wanted[SALT] = None
    return tuple(name for name in wanted if name not in values)


def no_such(names: Iterable[str], node: str, source: SecretSource) -> MetisError:
    """The error for secrets that only an operator has."""
    return MetisError(f"{node} has no {', '.join(names)}", f"put it into {source.place(node)}")


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
