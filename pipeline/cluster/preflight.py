"""All that is checked before a card is burned, in the order in which an operator would ask. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RefusedError
from . import membership, servers
from .admission import admission
from .check import Check
from .evidence import Evidence
from .node_password import node_password
from .skew import version
from .twin import twin


def checks(evidence: Evidence) -> tuple[Check, ...]:
    """What is to be known of a card of this role, and of a cluster with this datastore."""
    card = evidence.card
    if card.role == "agent":
        joining: tuple[Check, ...] = (node_password(evidence), servers.peer(evidence))
    elif card.datastore == "sqlite":
        is_up = evidence.nodes is not None
        return (twin(evidence), *([servers.datastore(evidence)] if is_up else []), servers.restore(evidence))
    elif card.datastore == "etcd":
        member, quorum = membership.checks(evidence)
        peers = (servers.peer(evidence), servers.one_at_a_time(evidence))
        joining = (servers.datastore(evidence), quorum, member, *peers)
    else:
        joining = (servers.datastore(evidence), servers.one_at_a_time(evidence))
    return (twin(evidence), *joining, version(evidence), *admission(evidence))


def refusal(node: str, found: Sequence[Check]) -> RefusedError | None:
    """The one line that names what refuses the card, if anything does."""
    names = [check.name for check in found if check.verdict == "refused"]
    if not names:
        return None
    return RefusedError(
        f"{node} must not come back into its cluster yet: {', '.join(names)}",
        f"see what `metis preflight --node {node}` says to do",
    )
