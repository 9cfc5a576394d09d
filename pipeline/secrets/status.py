"""What is kept of a node's secrets, where, of which version and how old: read, and nothing made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from ..errors import MetisError
from ..model import SecretRef
from . import identity
from .keyring import Keyring, NodeSecrets
from .report import Kept, NodeReport, Row
from .source import CLUSTER, NOTHING, Stored
from .survey import not_checked, states

READERS = 16
"""So many documents are asked for at once: a source may be far away."""


def reports(
    keyring: Keyring, needs: Mapping[str, Sequence[SecretRef]], now: datetime
) -> tuple[NodeReport, ...]:
    """A report on each node, by the secrets that it needs; what cannot be read is an error in it."""
    with ThreadPoolExecutor(READERS) as pool:
        found = tuple(pool.map(partial(_read, keyring), needs))
    return tuple(
        _report(keyring, node, refs, of_node, now)
        for (node, refs), of_node in zip(needs.items(), found, strict=True)
    )


def _read(keyring: Keyring, node: str) -> NodeSecrets | MetisError:
    try:
        return keyring.read(node)
    except MetisError as error:
        return error


def _report(
    keyring: Keyring,
    node: str,
    refs: Sequence[SecretRef],
    found: NodeSecrets | MetisError,
    now: datetime,
) -> NodeReport:
    source = keyring.source
    if isinstance(found, MetisError):
        # The error is said once, and not of each secret.
        rows = tuple(Row(replace(state, detail=""), None) for state in not_checked(refs, found))
        own, shared = (Kept(source.place(owner), "") for owner in (node, CLUSTER))
        return NodeReport(node, source.name, own, shared, rows, error=found)
    values = found.values
    used = identity.names(node, refs, values)
    return NodeReport(
        node,
        source.name,
        _kept(source.place(node), found.own, now),
        _kept(source.place(CLUSTER), found.shared, now),
        tuple(
            Row(state, _owner(state.name, found), _is_in_both(state.name, found))
            for state in states(keyring, node, refs, found)
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
