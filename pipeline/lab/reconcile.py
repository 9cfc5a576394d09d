"""Finishes a node's return: waits for it, sees that it is the one, and sets what only the API can."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..cluster.desired import Desired, desired, name_in_cluster
from ..cluster.difference import Change, after, changes, writes
from ..cluster.port import ChangedError, Cluster, Node
from ..errors import MetisError, MismatchError, SourceError, UsageError, known, one_line
from ..facts.drift import target_drift
from ..facts.finding import Finding
from ..history.rejoins import Rejoin
from ..model import ResolvedNode, SecretRef
from ..render.k3s import unit_of
from ..steps.burned import last_burns
from .rejoining import Keeper, awaited, complaint, in_utc, not_back

if TYPE_CHECKING:
    from .lab import Lab

TRIES = 5
"""How often a node is written that others change meanwhile."""
NO_CLUSTER = "it is in no cluster by its k3s.role, nothing to do"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of one node.

    `ready_since` is None for a node that is in no cluster. `notes` say what was left out and why, `rejoin`
    is what the history has of this return.
    """

    node: str
    ready_since: str | None = None
    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    rejoin: Rejoin | None = None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def cluster_of(environment: Mapping[str, str]) -> Cluster:
    """The cluster that the environment leads to; raises UsageError where it leads to none."""
    from ..cluster.client import connected

    cluster = connected(environment)
    if cluster is None:
        raise UsageError("there is no cluster to ask", "name a kubeconfig in KUBECONFIG")
    return cluster


def reconcile(
    lab: Lab, connect: Callable[[], Cluster], name: str, waits: float | None, *, dry_run: bool = False
) -> Reconciled:
    """Bring a node's object to what the inventory says; in a dry run only say what would change.

    `waits` are the seconds that the node has to come back, None for one look. `connect` is called for a node
    that is in a cluster. Raises MetisError where it is not back, MismatchError where another machine has its
    name, SourceError where the cluster fails; what was written till then is not written again.
    """
    node = lab.live_composer.node(name)
    if unit_of(node) is None:
        return Reconciled(name, notes=(NO_CLUSTER,))
    cluster, called, burned = connect(), name_in_cluster(node), _burned(lab, name)
    until = None if waits is None else time.monotonic() + waits
    machine_id, notes = _machine_id(lab, name)
    history = Keeper(lab.artifacts.history, name, burned)

    def meet(found: Node) -> None:
        _refuse_others(node, machine_id, found)
        if not dry_run:
            history.saw(found)

    looks = (cluster.node(called),) if waits is None else cluster.watch(called, waits)
    found, state = awaited(name, looks, burned, meet, lab.reporter)
    if found is None or not state.is_back:
        raise not_back(name, state, waits, "" if waits is None else complaint(cluster, called))
    if machine_id and not found.machine_id:
        notes += ("machine-id not compared: the cluster has none of it",)
    wanted = desired(node)
    now = after(found, wanted) if dry_run else _written(cluster, found, wanted, until)
    return Reconciled(
        name,
        in_utc(found.since or datetime.now(UTC)),
        changes(found, now, wanted),
        target_drift(name, found.versions, node.settings.get("targets", {})),
        notes,
        history.rejoin,
    )


# --------------------------------------------------------------------------------------------- before


def _burned(lab: Lab, name: str) -> datetime | None:
    """When the node's last card was burned, where its receipt is here."""
    burned = last_burns(lab.artifacts.burns).get(name)
    return burned.when if burned else None


def _machine_id(lab: Lab, name: str) -> tuple[str, tuple[str, ...]]:
    """The machine-id in the node's secrets; empty, and why, where they cannot be read."""
    try:
        reveal = lab.keyring.as_they_are(name)
        return reveal(SecretRef("extra.machine_id", "machine-id")).decode().strip(), ()
    except (MetisError, OSError) as error:
        return "", (f"machine-id not compared: {one_line(str(known(error)))}",)


def _refuse_others(node: ResolvedNode, machine_id: str, found: Node) -> None:
    """Raise MismatchError, without either value, where another machine has joined by the node's name."""
    if found.arch and found.arch != node.klass.arch:
        what = f"of another architecture than its class {node.klass.name}"
        hint = "see which machine has its name, and that its card is of the right class"
    elif machine_id and found.machine_id and found.machine_id.lower() != machine_id:
        what = "one whose machine-id is not that of its secrets"
        hint = (
            "see which machine has its name, and that METIS_SECRETS is the place that its card was made with"
        )
    else:
        return
    raise MismatchError(f"{node.name}: the node of this name in the cluster is {what}", hint)


# -------------------------------------------------------------------------------------------- writing


def _written(cluster: Cluster, node: Node, wanted: Desired, until: float | None) -> Node:
    """The node once all is written; where somebody else changes it meanwhile, it is looked at again."""
    for _ in range(TRIES):
        try:
            return _write(cluster, node, wanted)
        except ChangedError:
            if until is not None and time.monotonic() >= until:
                break
        node = _again(cluster, node)
    raise SourceError(f"{node.name} is changed by others all the time: not all of it is written", "run again")


def _write(cluster: Cluster, node: Node, wanted: Desired) -> Node:
    """Labels and annotations, then taints; each only where it is needed."""
    if writes(node, wanted).applies:
        node = cluster.apply(node, wanted.labels, wanted.annotations)
    needed = writes(node, wanted)
    if needed.taints is not None:
        node = cluster.replace_taints(node, needed.taints, needed.remembered)
    return node


def _again(cluster: Cluster, node: Node) -> Node:
    """The node as it is now; raises MetisError where it is another object: nobody has seen who that is."""
    found = cluster.node(node.name)
    if found is None or found.handle.uid != node.handle.uid:
        raise MetisError(f"{node.name} was removed from the cluster meanwhile", "run again, with --wait")
    return found
