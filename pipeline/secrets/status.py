"""What is kept of a node's secrets, where, of which version and how old: read, and nothing made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from ..errors import MetisError
from ..model import SecretRef
from ..secrets_report import Kept, NodeReport, Row
from . import identity
from .keyring import Keyring, NodeSecrets
from .source import CLUSTER, NOTHING, Stored
from .survey import not_checked, states


def status(keyring: Keyring, node: str, refs: Sequence[SecretRef], now: datetime) -> NodeReport:
    """The report on one node; what cannot be read is an error in it."""
    source = keyring.source
    try:
        found = keyring.read(node)
    except MetisError as error:
        rows = tuple(Row(state, None) for state in not_checked(refs, error))
        own, shared = (Kept(source.place(owner), "") for owner in (node, CLUSTER))
        return NodeReport(node, source.name, own, shared, rows, error=error)
    values = found.values
    used = identity.names(node, refs, values)
    return NodeReport(
        node,
        source.name,
        _kept(source.place(node), found.own, now),
        _kept(source.place(CLUSTER), found.shared, now),
        tuple(
            Row(state, _owner(state.name, found), _is_in_both(state.name, found))
            for state in states(keyring, node, refs, values)
        ),
        unused=tuple(sorted(found.own.values.keys() - set(used))),
    )


def _owner(name: str, found: NodeSecrets) -> Literal["node", "cluster"] | None:
    if name in found.own.values:
        return "node"
    return "cluster" if name in found.shared.values else None


def _is_in_both(name: str, found: NodeSecrets) -> bool:
    return name in found.own.values and name in found.shared.values


def _kept(place: str, stored: Stored, now: datetime) -> Kept:
    if stored == NOTHING or stored.changed is None:
        return Kept(place, stored.version)
    changed = stored.changed.astimezone(UTC)
    age = max(0.0, round((now - changed).total_seconds()))
    return Kept(place, stored.version, changed.isoformat(timespec="seconds"), age)
