"""All that is found out before a burn: what the card will be, what the cluster shows, who answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ..secret import Secret
from .addresses import parsed
from .port import BootstrapToken, Node, NodePassword

Reach = Literal["alive", "silent", "unreachable"]
"""Whether a machine answers at an address; unreachable where that cannot be tried from here."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A part that could not be looked at: why, and what helps."""

    why: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of etcd, as etcd has it, which may be long dead; a learner has no vote yet.

    `name` is `<node>-<8 hex>` in k3s, and empty before its first start. `addresses` are those in the URLs
    for its peers and clients, as `ipaddress` writes them; names of hosts are left out.
    """

    id: int
    name: str
    addresses: tuple[str, ...]
    is_learner: bool


@dataclass(frozen=True, slots=True)
class NoQuorum:
    """What etcd said where its members do not agree on anything any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Card:
    """What the inventory and the secrets make of the card.

    `node` is the name in the cluster, `server` the host that the card joins. `version` is that of its k3s,
    empty where nobody knows it. A password or token is None where the secrets have none.
    """

    node: str
    role: Literal["agent", "server"]
    datastore: str
    server: str
    restores: bool
    version: str
    addresses: tuple[str, ...]
    password: Secret | Unseen | None
    token: Secret | Unseen | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checks judge by.

    `nodes` is None where the cluster's only server is to be burned, and its API is down with it. `reach` says
    of each address of the node who is there. `members` is None where nobody gave certificates to ask etcd
    with. `burned` has the last burn of each of the inventory's other servers, by its name in the cluster.
    """

    card: Card
    nodes: tuple[Node, ...] | Unseen | None
    reach: Mapping[str, Reach]
    members: tuple[Member, ...] | NoQuorum | Unseen | None
    password: NodePassword | Unseen | None
    bootstrap: BootstrapToken | Unseen | None
    ca_hash: str | Unseen
    burned: Mapping[str, datetime]
    now: datetime

    @property
    def known(self) -> tuple[Node, ...]:
        """The nodes, none where they could not be looked at."""
        return self.nodes if isinstance(self.nodes, tuple) else ()

    @property
    def own(self) -> Node | None:
        """The node itself as the cluster has it."""
        return next((node for node in self.known if node.name == self.card.node), None)

    @property
    def servers(self) -> tuple[Node, ...]:
        """The cluster's other servers."""
        return tuple(node for node in self.known if node.is_server and node.name != self.card.node)


def is_member_of(node: str, name: str) -> bool:
    """Whether a member is called as k3s calls one of this node: `<node>-<8 hex>` (its pkg/etcd/etcd.go)."""
    return bool(re.fullmatch(re.escape(node) + "-[0-9a-f]{8}", name))


def plain_addresses(words: Iterable[str]) -> tuple[str, ...]:
    """Those of the words that are addresses, in their usual spelling, each once."""
    return tuple(dict.fromkeys(str(address) for word in words if (address := parsed(word))))


def to_ask(declared: Sequence[str], name: str, nodes: Iterable[Node]) -> tuple[str, ...]:
    """Where a twin of a node would answer: its declared addresses, and those that the cluster knows it by.

    What DHCP gave it once may be another node's by now; that one's answer says nothing.
    """
    known = tuple(nodes)
    taken = {each for node in known if node.is_ready and node.name != name for each in node.addresses}
    own = [each for node in known if node.name == name for each in node.addresses if each not in taken]
    return plain_addresses([*declared, *own])
