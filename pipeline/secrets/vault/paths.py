"""Where in Vault, or OpenBao, each owner's document is."""

from __future__ import annotations

from ..source import CLUSTER

MOUNT = "kv"
NODES = "atlas/nodes"
SHARED = "atlas/cluster"


def path_of(owner: str) -> str:
    """An owner's path below MOUNT."""
    return SHARED if owner == CLUSTER else f"{NODES}/{owner}"


def full_path(owner: str) -> str:
    """The path as `vault kv` shows it."""
    return f"{MOUNT}/{path_of(owner)}"
