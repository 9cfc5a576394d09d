"""Whether a node's card may come back into its cluster, asked before it is burned; and what can be mended."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from ..cluster.check import Check, ForgetPassword, Mend, RemoveMember, plain
from ..cluster.membership import current_member
from ..cluster.port import Cluster
from ..cluster.preflight import checks, refusal
from ..cluster.preflight_show import to_text
from ..errors import MetisError, SourceError
from ..machine.progress import Reporter
from ..render.k3s import role_of
from .evidence import evidence
from .lab import Lab

REMOVED_WITHIN = 120.0
"""Seconds that k3s has for taking a member out of etcd; it does so within a few."""


def has_role(lab: Lab, name: str) -> bool:
    """Whether a node is part of a cluster; raises UsageError for one that nobody declared."""
    lab.refuse_unknown(name)
    return role_of(lab.live_composer.node(name)) != "none"


def preflight(lab: Lab, cluster: Cluster, name: str) -> tuple[Check, ...]:
    """What a node's card would find in its cluster now; nothing is changed by asking."""
    return checks(evidence(lab, cluster, name, datetime.now(UTC)))


def before_burn(lab: Lab, name: str) -> None:
    """Raise RefusedError where a card must not be made yet; say so where no cluster is named, and none asked.

    Raises SourceError where the cluster does not answer: nobody knows then whether the node is alive.
    """
    from ..cluster.client import connected

    if not has_role(lab, name):
        return
    cluster = connected(os.environ)
    if cluster is None:  # it may have been, before sudo
        lab.reporter.note(
            f"{name}: its cluster is not asked whether it may come back, as KUBECONFIG names none"
        )
        return
    try:
        found = preflight(lab, cluster, name)
    except SourceError as error:
        raise SourceError(str(error), "--no-preflight burns without asking the cluster") from None
    for line in to_text(found).splitlines():
        lab.reporter.note(line)
    if refused := refusal(name, found):
        raise refused


def mend(cluster: Cluster, what: Mend, reporter: Reporter) -> None:
    """Make one change, and wait until it has come about.

    Raises ChangedError where the object is another than the one that was looked at; nothing is changed then.
    """
    if isinstance(what, ForgetPassword):
        cluster.delete_node_password(what.node, what.handle)
    else:
        cluster.mark_member_for_removal(what.node)
        _wait(cluster, what, reporter)


def _wait(cluster: Cluster, what: RemoveMember, reporter: Reporter) -> None:
    with reporter.step(plain(f"waiting for k3s to take {what.member} out of etcd")):
        for node in cluster.watch(what.node.name, REMOVED_WITHIN):
            if node is None or current_member(node) != what.member:
                return
    raise MetisError(
        plain(f"k3s has not taken {what.member} out of etcd within {REMOVED_WITHIN:g} s"),
        "see the servers' log; `metis preflight` tells when it is done",
    )
