"""Whether a server's card finds the cluster that the inventory speaks of, and comes alone. Pure."""

from __future__ import annotations

from ..wording import few
from .check import Check, Verdict, unsure
from .evidence import Evidence, Unseen, plain_addresses

DATASTORE, PEER, ONE, RESTORE = "datastore", "peer", "one at a time", "restore"


def datastore(evidence: Evidence) -> Check:
    """Refused where the cluster keeps its state elsewhere than the inventory says."""
    declared, servers = evidence.card.datastore, evidence.servers
    with_etcd = [node.name for node in servers if node.has_etcd]
    if isinstance(evidence.nodes, Unseen):
        return unsure(DATASTORE, evidence.nodes)
    if not servers and declared != "sqlite":
        advice = "see that KUBECONFIG is of the right cluster"
        return Check(DATASTORE, "unsure", "the cluster shows no other server", advice)
    advice = "see that KUBECONFIG is of the right cluster, or correct k3s.datastore in cluster.yaml"
    if declared == "etcd" and not with_etcd:
        found = f"the inventory says etcd, and none of the servers has it: {few(_names(evidence))}"
        return Check(DATASTORE, "refused", found, advice)
    if declared != "etcd" and with_etcd:
        found = f"the inventory says {declared}, and servers have etcd: {few(with_etcd)}"
        return Check(DATASTORE, "refused", found, advice)
    if declared == "sqlite" and servers:
        found = (
            f"the inventory says sqlite, which one server has, and there are others: {few(_names(evidence))}"
        )
        return Check(DATASTORE, "refused", found, advice)
    return Check(DATASTORE, "ok", f"{declared}, as the inventory says")


def _names(evidence: Evidence) -> list[str]:
    return [node.name for node in evidence.servers]


def restore(evidence: Evidence) -> Check:
    """Refused where the only server of a cluster would come back with an empty database."""
    if evidence.card.restores:
        return Check(RESTORE, "ok", "the card brings the cluster's database")
    found = "the only server's card brings no database, and would found a new cluster"
    return Check(RESTORE, "refused", found, "name a copy of its state.db in k3s.restore")


def peer(evidence: Evidence) -> Check:
    """Refused where nobody is there whom the card could join; unsure for an agent, which waits for them."""
    if isinstance(evidence.nodes, Unseen):
        return unsure(PEER, evidence.nodes)
    host, servers, is_agent = evidence.card.server, evidence.servers, evidence.card.role == "agent"
    behind = next((node for node in servers if host in {node.name, *plain_addresses(node.addresses)}), None)
    ready = [node.name for node in servers if node.is_ready]
    fault: Verdict = "unsure" if is_agent else "refused"
    if not ready:
        return Check(PEER, fault, f"no {'' if is_agent else 'other '}server is Ready", "bring one up first")
    if behind is not None and not behind.is_ready:
        found = f"k3s.server is {host}, and {behind.name} there is not Ready"
        return Check(PEER, fault, found, f"bring it up, or name another in k3s.server: {few(ready)}")
    others = [] if is_agent else [node.name for node in servers if not node.is_ready]
    if others:
        found = f"{few(ready)} Ready, {few(others)} not"
        return Check(PEER, "unsure", found, "see why; whether enough are left is told by the quorum")
    where = f"k3s.server is {behind.name}" if behind else f"{host or 'k3s.server'} is no Node's address"
    return Check(PEER, "ok", f"{few(ready)} Ready; {where}")


def one_at_a_time(evidence: Evidence) -> Check:
    """Refused while another server that was burned has not come back.

    Two servers that join at once may cost the cluster its quorum. One that became NotReady after its burn
    had come back, and is a matter of the quorum.
    """
    if isinstance(evidence.nodes, Unseen):
        return unsure(ONE, evidence.nodes)
    by_name = {node.name: node for node in evidence.servers}
    away = []
    for name, at in sorted(evidence.burned.items()):
        node = by_name.get(name)
        if node is None or not (node.is_ready or (node.since is not None and node.since > at)):
            away.append(f"{name} (burned {at:%Y-%m-%d %H:%M} UTC)")
    if not away:
        return Check(ONE, "ok", "no other server's card is on its way")
    advice = (
        "wait until it is Ready (`metis reconcile --wait`), or take out of the inventory what will not come"
    )
    return Check(ONE, "refused", f"not back yet: {few(away)}", advice)
