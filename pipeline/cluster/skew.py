"""Whether the card's k3s may join what the cluster runs. Pure.

Source: https://kubernetes.io/releases/version-skew-policy. API servers are at most one minor version apart.
A kubelet is never newer than a server that it speaks with, and at most three minor versions older.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..wording import few
from .check import Check, unsure
from .evidence import Evidence, Unseen
from .versions import Minor, apart, minor_of

NAME = "version"
SERVERS_APART = 1
KUBELETS_OLDER = 3


@dataclass(frozen=True, slots=True)
class Server:
    """A server by its name, and the k3s that it runs."""

    name: str
    version: str
    minor: Minor


def version(evidence: Evidence) -> Check:
    """Refused where the card's k3s and the servers' do not go together."""
    card = evidence.card
    if isinstance(evidence.nodes, Unseen):
        return unsure(NAME, evidence.nodes)
    own = minor_of(card.version)
    if own is None:
        advice = "name it in the class's targets.k3s"
        return Check(NAME, "unsure", "nobody knows which k3s the card will have", advice)
    # What a dead server ran when it was last heard of keeps no other one out.
    running = [node for node in evidence.servers if node.is_ready] or evidence.servers
    servers = [
        Server(node.name, text, minor)
        for node in running
        if (minor := minor_of(text := node.versions.get("k3s", "")))
    ]
    if not servers:
        return Check(NAME, "unsure", f"the card has {card.version}; no other server says what it runs")
    return (_of_server if card.role == "server" else _of_agent)(card.version, own, servers)


def _of_server(version: str, own: Minor, servers: Sequence[Server]) -> Check:
    farthest = max(servers, key=lambda server: abs(apart(own, server.minor)))
    if abs(apart(own, farthest.minor)) > SERVERS_APART:
        found = f"the card has {version}, and {farthest.name} runs {farthest.version}"
        advice = "servers may be one minor version apart: bring the class's k3s or the cluster to that"
        return Check(NAME, "refused", found, advice)
    return Check(NAME, "ok", _found(version, servers))


def _of_agent(version: str, own: Minor, servers: Sequence[Server]) -> Check:
    found, minors = _found(version, servers), [server.minor for server in servers]
    if apart(own, max(minors)) > 0:
        advice = "an agent is never newer than its servers: upgrade these first, or take an older k3s"
        return Check(NAME, "refused", found, advice)
    if apart(max(minors), own) > KUBELETS_OLDER:
        advice = (
            f"an agent is at most {KUBELETS_OLDER} minor versions older than its servers: take a newer k3s"
        )
        return Check(NAME, "refused", found, advice)
    if apart(own, min(minors)) > 0:
        return Check(NAME, "unsure", found, "it is newer than one of them: upgrade that first")
    return Check(NAME, "ok", found)


def _found(version: str, servers: Sequence[Server]) -> str:
    return f"the card has {version}, and the servers run {few(sorted({each.version for each in servers}))}"
