"""Whether the node is still alive: two machines that are one node write over each other's state. Pure.

Source: https://kubernetes.io/docs/reference/node/node-status: a condition that nobody has spoken of for a
while (50 s by default) becomes Unknown, so one that is True or False is a living kubelet's.
"""

from __future__ import annotations

from ..wording import few
from .check import Check, unsure
from .evidence import Evidence, Unseen

NAME = "twin"
SHUT_DOWN = "shut the node down, and keep its card out of it"
LOOK_LATER = "where it is off already, the cluster knows that after a minute: look again"


def twin(evidence: Evidence) -> Check:
    """Refused where the cluster hears the node, or a machine answers at one of its addresses."""
    own, nodes = evidence.own, evidence.nodes
    if evidence.card.datastore == "sqlite" and evidence.card.role == "server" and nodes is not None:
        found = "the cluster's API answers, and this is its only server"
        return Check(NAME, "refused", found, SHUT_DOWN)
    if own is not None and own.ready != "Unknown":
        found = "the Node is Ready" if own.is_ready else f"{_state(evidence)}, which its kubelet says itself"
        return Check(NAME, "refused", found, f"{SHUT_DOWN} (`kubectl drain` it first); {LOOK_LATER}")
    alive = [address for address, reach in evidence.reach.items() if reach == "alive"]
    if alive:
        found = f"{_state(evidence)}, and a machine answers at {few(alive)}"
        return Check(NAME, "refused", found, f"{SHUT_DOWN}, or see who has its address")
    silent = [address for address, reach in evidence.reach.items() if reach == "silent"]
    if not silent:
        where = few(list(evidence.reach)) or "an address that nobody knows"
        found = f"{_state(evidence)}; {where} cannot be tried from here"
        return Check(NAME, "unsure", found, "see that the node is off, and its old card out of it")
    if isinstance(nodes, Unseen):
        return unsure(NAME, Unseen(f"nobody answers at {few(silent)}, but {nodes.why}", nodes.advice))
    return Check(NAME, "ok", f"{_state(evidence)}, and nobody answers at {few(silent)}")


def _state(evidence: Evidence) -> str:
    if isinstance(evidence.nodes, Unseen):
        return evidence.nodes.why
    if evidence.nodes is None:
        return "the cluster's API does not answer"
    own = evidence.own
    if own is None:
        return "the cluster has no such Node"
    since = f" since {own.since:%Y-%m-%d %H:%M} UTC" if own.since else ""
    return f"the Node is not Ready{since}"
