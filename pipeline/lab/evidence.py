"""What preflight judges by, collected: from the inventory, the secrets, the cluster, etcd and the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ..cluster.ca_hash import ca_hash
from ..cluster.desired import name_in_cluster
from ..cluster.evidence import Card, Evidence, Member, NoQuorum, Reach, Unseen, plain_addresses, to_ask
from ..cluster.faults import UnreachableError
from ..cluster.join_token import parse
from ..cluster.port import BootstrapToken, Cluster, ForbiddenError, Node
from ..cluster.versions import in_source
from ..errors import MetisError, SourceError
from ..model import ResolvedNode
from ..render import k3s_state, k3s_units
from ..render.k3s import role_of
from ..render.links import addresses
from ..secret import Secret
from ..steps.burned import last_burns
from .lab import Lab

T = TypeVar("T")
RIGHTS = "grant what deploy/kubernetes/rights/preflight names"


def evidence(lab: Lab, cluster: Cluster, name: str, now: datetime) -> Evidence:
    """All that is to be known of a node that has a role in the cluster.

    What the cluster does not let be seen, and secrets that cannot be reached, are parts that were not seen.
    Raises ForbiddenError where it lets nothing be seen, as it does not know who asks, and SourceError where
    it cannot be reached, but for one whose only server the node is.
    """
    node = lab.live_composer.node(name)
    card = card_of(node, _secrets(lab, name))
    nodes = _nodes(cluster, card)
    if isinstance(nodes, Unseen):
        cluster.ca_bundle()  # who may not see that either has no account there, or none for this
    known = nodes if isinstance(nodes, tuple) else ()
    reach = _reach(to_ask(card.addresses, card.node, known))
    is_agent, is_up = card.role == "agent", nodes is not None
    return Evidence(
        card=card,
        nodes=nodes,
        reach=reach,
        members=None if is_agent or card.datastore != "etcd" else _members(card, known),
        password=_seen(lambda: cluster.node_password(card.node)) if is_agent else None,
        bootstrap=_seen(lambda: _bootstrap(cluster, card.token)) if is_up else None,
        ca_hash=_seen(lambda: _ca_hash(cluster)) if is_up else Unseen("the cluster's API does not answer"),
        burned={} if is_agent else dict(_burned(lab, name)),
        now=now,
    )


def _seen(ask: Callable[[], T]) -> T | Unseen:
    try:
        return ask()
    except ForbiddenError as error:
        return Unseen(error.message, RIGHTS)


# ---------------------------------------------------------------------------------------------- card


def card_of(node: ResolvedNode, secrets: Mapping[str, Secret] | Unseen) -> Card:
    """What the inventory and the secrets make of a node's card."""
    k3s = node.settings["k3s"]

    def secret(name: str) -> Secret | Unseen | None:
        return secrets if isinstance(secrets, Unseen) else secrets.get(name)

    return Card(
        node=name_in_cluster(node),
        role="server" if role_of(node) == "server" else "agent",
        datastore=k3s_state.datastore(node),
        server=_host(k3s.get("server", "")),
        restores="restore" in k3s,
        version=_version(node),
        addresses=plain_addresses(map(str, addresses(node))),
        password=secret("extra.node_password"),
        token=secret("k3s_token"),
    )


def _secrets(lab: Lab, name: str) -> Mapping[str, Secret] | Unseen:
    """The node's secrets as they are; nothing is made of what is missing."""
    try:
        return lab.keyring.read(name).values
    except SourceError as error:
        return Unseen(str(error))


def _host(server: str) -> str:
    host = urlsplit(server).hostname or ""
    return (*plain_addresses([host]), host)[0]


def _version(node: ResolvedNode) -> str:
    """The k3s that the class puts on the card, by its release's address; else what the targets name."""
    sources = [file.source for file in node.klass.files if file.path == k3s_units.PROGRAM]
    return next(filter(None, map(in_source, sources)), str(node.settings.get("targets", {}).get("k3s", "")))


# ------------------------------------------------------------------------------------------- cluster


def _nodes(cluster: Cluster, card: Card) -> tuple[Node, ...] | Unseen | None:
    try:
        return _seen(cluster.nodes)
    except UnreachableError:  # any other answer is one of a living server
        if card.role == "server" and card.datastore == "sqlite":
            return None
        raise


def _bootstrap(cluster: Cluster, token: Secret | Unseen | None) -> BootstrapToken | None:
    if not isinstance(token, Secret):
        return None
    try:
        token_id = parse(token).bootstrap_id
    except ValueError:
        return None
    return cluster.bootstrap_token(token_id) if token_id else None


def _ca_hash(cluster: Cluster) -> str | Unseen:
    try:
        return ca_hash(cluster.ca_bundle())
    except ValueError as error:
        return Unseen(f"the cluster's certificates cannot be read: {error}")


def _reach(addresses: tuple[str, ...]) -> Mapping[str, Reach]:
    from ..cluster.probe import answers

    return {each.address: each.state for each in answers(addresses)}


def _members(card: Card, nodes: tuple[Node, ...]) -> tuple[Member, ...] | NoQuorum | Unseen | None:
    """What etcd says itself, at the endpoints that the environment names, else at the other servers."""
    from ..cluster.etcd import access, members
    from ..cluster.etcd_rpc import NoQuorumError

    given = access(os.environ, Path.cwd())
    if given is None:
        return None
    others = sorted(
        (not node.is_ready, node.addresses) for node in nodes if node.has_etcd and node.name != card.node
    )
    endpoints = given.endpoints or plain_addresses(each for _, addresses in others for each in addresses)
    try:
        return members(endpoints, given)
    except NoQuorumError as error:
        return NoQuorum(str(error))
    except SourceError as error:
        return Unseen(f"etcd could not be asked: {error}")


def _burned(lab: Lab, name: str) -> Iterator[tuple[str, datetime]]:
    """When the last good burn of each other server was; only nodes that were burned are resolved."""
    for other, burned in last_burns(lab.artifacts.burns).items():
        if other == name or other not in lab.nodes:
            continue
        with suppress(MetisError):  # what others make no sense of is no fault of this node
            node = lab.live_composer.node(other)
            if burned.when is not None and role_of(node) == "server":
                yield name_in_cluster(node), burned.when
