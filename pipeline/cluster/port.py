"""What a cluster shows of its nodes, and lets be changed: the port of preflight and of reconcile.

The adapter is `client`. Names are Kubernetes', as operators meet them with `kubectl`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ..errors import SourceError
from ..secret import Secret

Status = Literal["True", "False", "Unknown"]
"""Of a condition; Unknown once the node's kubelet has not spoken for a while."""

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
ETCD = "node-role.kubernetes.io/etcd"
"""The labels that k3s gives to servers, and to those with a member of its etcd."""


class ForbiddenError(SourceError):
    """The cluster knows who asks (or does not: 401), and does not let them."""


class ChangedError(SourceError):
    """The object is not the one that was looked at any more; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Handle:
    """One object in one state: a change through it is refused where it is another by then."""

    uid: str
    version: str


@dataclass(frozen=True, slots=True, order=True)
class Taint:
    """What keeps pods away from a node."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"

    @classmethod
    def parse(cls, text: str) -> Taint:
        """A taint as the inventory has it: key=value:Effect, or key:Effect."""
        pair, _, effect = text.rpartition(":")
        key, _, value = pair.partition("=")
        return cls(key, value, effect)


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the cluster has it.

    `ready` is its condition of that name, `since` when that became so, and `reason` why, in the kubelet's
    words. `heard` is when the node last spoke. `versions` have the names and the form of `targets`.
    `applied_labels` and `applied_annotations` are the keys that Metis is on record for (managedFields).
    """

    name: str
    handle: Handle
    created: datetime
    ready: Status
    since: datetime | None
    heard: datetime | None
    reason: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[Taint, ...]
    versions: Mapping[str, str]
    arch: str
    machine_id: str
    applied_labels: frozenset[str] = frozenset()
    applied_annotations: frozenset[str] = frozenset()

    @property
    def is_ready(self) -> bool:
        """Whether its kubelet says that it is."""
        return self.ready == "True"

    @property
    def is_server(self) -> bool:
        """Whether it is one of the cluster's servers."""
        return CONTROL_PLANE in self.labels or ETCD in self.labels

    @property
    def has_etcd(self) -> bool:
        """Whether it has, or had, a member of the cluster's etcd."""
        return ETCD in self.labels


@dataclass(frozen=True, slots=True)
class NodePassword:
    """What the cluster knows a node's password by: the Secret's handle, and the hash in it."""

    handle: Handle
    hash: Secret


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """A token that nodes may join with for a while; `expires` is None for one that stays.

    `is_for_joining` is false where none of its usages lets a node in.
    """

    secret: Secret
    expires: datetime | None
    is_for_joining: bool


@dataclass(frozen=True, slots=True)
class Warned:
    """What the cluster complains of about a node: the reason as one word, and how often it was so."""

    at: datetime | None
    reason: str
    message: str
    count: int = 1


class Cluster(Protocol):
    """Raises SourceError for what cannot be reached or makes no sense; ForbiddenError for what it refuses.

    What changes something raises ChangedError where the object is another by now; then nothing was changed.
    """

    name: str
    """What it is called in errors: the server's address."""

    def nodes(self) -> tuple[Node, ...]:
        """All nodes, by name."""

    def node(self, name: str) -> Node | None:
        """A node, or None where there is none of this name."""

    def warnings(self, node: str) -> tuple[Warned, ...]:
        """What events of the kind Warning say of a node, the newest first."""

    def node_password(self, node: str) -> NodePassword | None:
        """What the cluster knows of an agent's password; None where it takes the first that it is shown."""

    def bootstrap_token(self, token_id: str) -> BootstrapToken | None:
        """A token by the part before its dot."""

    def ca_bundle(self) -> bytes:
        """The certificates of who vouches for the cluster's servers, in PEM, to the byte."""

    def delete_node_password(self, node: str, handle: Handle) -> None:
        """Have the cluster take the next password that the node shows."""

    def mark_member_for_removal(self, node: Node) -> None:
        """Have k3s take the node's member out of etcd."""

    def apply(self, node: Node, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Node:
        """Make labels and annotations these, by server-side apply; what Metis once applied else goes."""

    def replace_taints(self, node: Node, taints: tuple[Taint, ...], remembered: str | None) -> Node:
        """Make the taints these and TAINTS_ANNOTATION `remembered` (None: gone), both or neither."""

    def watch(self, name: str, seconds: float) -> Iterator[Node | None]:
        """A node now and each time that it is otherwise, for so long; None while there is none.

        Who cannot be reached for a while is asked again until the time is up; if nobody ever answered,
        SourceError is raised then.
        """


TAINTS_ANNOTATION = "metis.io/taints"
"""On a Node: the taints that Metis has set, so that it takes away no others."""
FIELD_MANAGER = "metis"
"""Under which Kubernetes keeps what Metis has set (managedFields)."""
