"""Whether etcd has room for the node: enough members are left, and none is the node's old one. Pure.

A server with an empty disk joins as a new member, and one that finds an old member of its own name ends at
once (pkg/etcd/etcd.go of k3s). What k3s writes down on Nodes is said in its pkg/etcd/member_controller.go:
etcd.k3s.cattle.io/node-name is the member's name; once the member is removed, that name is moved to
removed-node-name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..amounts import counted
from .check import Check, RemoveMember, unsure
from .evidence import Evidence, Member, NoQuorum, Unseen, is_member_of, plain_addresses
from .port import Node

MEMBER, QUORUM = "etcd member", "quorum"
_ANNOTATION = "etcd.k3s.cattle.io/"
MEMBER_NAME, REMOVED_NAME, REMOVE = (
    f"{_ANNOTATION}{key}" for key in ("node-name", "removed-node-name", "remove")
)
_WAIT = "wait until k3s has done it, and look again"
_BRING_BACK = "bring other members back first; if that cannot be, restore etcd from a snapshot"
_ASK_ETCD = "ask etcd itself: name a server's certificates in ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY"


def checks(evidence: Evidence) -> tuple[Check, Check]:
    """The member, and the quorum; no removal is offered where there are too few without it."""
    if isinstance(evidence.nodes, Unseen):
        return unsure(MEMBER, evidence.nodes), unsure(QUORUM, evidence.nodes)
    quorum = _quorum(evidence)
    return _member(evidence, may_mend=quorum.verdict == "ok"), quorum


def current_member(node: Node) -> str:
    """The member that a Node still says it has; empty for one that has none, or whose was removed."""
    name = node.annotations.get(MEMBER_NAME, "")
    return "" if name == node.annotations.get(REMOVED_NAME) else name


# ------------------------------------------------------------------------------------------- member


def _member(evidence: Evidence, *, may_mend: bool) -> Check:
    if isinstance(evidence.members, tuple):
        return _by_etcd(evidence, evidence.members, may_mend=may_mend)
    said = _by_annotations(evidence, may_mend=may_mend)
    if isinstance(evidence.members, Unseen) and said.verdict != "refused":
        return unsure(MEMBER, evidence.members)
    return said


def _by_etcd(evidence: Evidence, members: Sequence[Member], *, may_mend: bool) -> Check:
    # A learner without a name is a join that did not end: k3s goes on with the one at its own address.
    old = [each for each in _old(evidence, members) if each.name or not each.is_learner]
    own = evidence.own
    if not old:
        return Check(MEMBER, "ok", f"none of this node among etcd's {counted(len(members), 'member')}")
    first = old[0]
    if own is not None and current_member(own) == first.name:
        return _stale(evidence, own, first.name, may_mend=may_mend)
    is_own = is_member_of(evidence.card.node, first.name)
    if not is_own and (other := _other(evidence, first.name)):
        return _of_another(first.name, other)
    found = (
        f"etcd still has {first.name or 'a member without a name'} ({first.id:x}), and no Node speaks of it"
    )
    return Check(MEMBER, "refused", found, f"`etcdctl member remove {first.id:x}`")


def _old(evidence: Evidence, members: Sequence[Member]) -> list[Member]:
    """Members of this node, by their name or by an address."""
    own = set(evidence.reach)
    return [
        each for each in members if is_member_of(evidence.card.node, each.name) or own & set(each.addresses)
    ]


def _other(evidence: Evidence, name: str) -> Node | None:
    """The other server whose member is called so."""
    return next((node for node in evidence.servers if _is_called(name, node)), None)


def _of_another(name: str, other: Node) -> Check:
    """What another Node speaks of may be a living member: it is never to be removed by its id."""
    found = f"etcd has {name} of the Node {other.name} at an address of this node"
    renamed = ", or delete that Node where it is this one by its former name"
    return Check(MEMBER, "refused", found, f"see whose address it is{'' if other.is_ready else renamed}")


def _by_annotations(evidence: Evidence, *, may_mend: bool) -> Check:
    own = evidence.own
    if own is None:
        if other := _at_its_address(evidence):
            return _of_another(current_member(other), other)
        return Check(MEMBER, "unsure", "a Node that was deleted may have left its member behind", _ASK_ETCD)
    if name := current_member(own):
        return _stale(evidence, own, name, may_mend=may_mend)
    if removed := own.annotations.get(REMOVED_NAME):
        return Check(MEMBER, "ok", f"k3s took {removed} out of etcd")
    if own.has_etcd:
        return Check(MEMBER, "unsure", "the Node does not say which member it had", _ASK_ETCD)
    return Check(MEMBER, "ok", "the Node had none")


def _at_its_address(evidence: Evidence) -> Node | None:
    """The Node of a member at an address of this node, as of one that was renamed: etcd has each but once."""
    others = [node for node in evidence.servers if current_member(node)]
    return next((node for node in others if set(evidence.reach) & set(plain_addresses(node.addresses))), None)


def _stale(evidence: Evidence, own: Node, name: str, *, may_mend: bool) -> Check:
    if other := _other(evidence, name):  # k3s would take that one out, alive or not
        found = f"the Node says that its member is {name}, which is that of {other.name}"
        return Check(MEMBER, "refused", found, f"see {MEMBER_NAME} of both; --fix removes neither")
    if own.annotations.get(REMOVE, "").lower() == "true" and REMOVED_NAME not in own.annotations:
        return Check(MEMBER, "refused", f"etcd still has {name}, whose removal was asked for", _WAIT)
    if not may_mend:
        advice = "bring other members back first: without a quorum none can be removed"
        return Check(MEMBER, "refused", f"etcd still has {name}", advice)
    mend = RemoveMember(own, name)
    return Check(MEMBER, "refused", f"etcd still has {name}", f"{mend}: --fix does it", mend)


# ------------------------------------------------------------------------------------------- quorum


@dataclass(frozen=True, slots=True)
class _Votes:
    """How many members there are but the node's own, how many of these are up, and how many own ones."""

    others: int
    up: int
    own: int

    @property
    def hold(self) -> bool:
        """Whether those that are up are the majority with the node's old member, and so without it."""
        return 2 * self.up > self.others + self.own

    def __str__(self) -> str:
        return f"{self.up} of {self.others + self.own} members are up without this node"


def _quorum(evidence: Evidence) -> Check:
    if isinstance(evidence.members, NoQuorum):
        return Check(QUORUM, "refused", evidence.members.why, _BRING_BACK)
    if isinstance(evidence.members, tuple):
        return _verdict(_by_members(evidence, evidence.members))
    votes = _by_nodes(evidence)
    if evidence.own is None and votes.hold and not _Votes(votes.others, votes.up, 1).hold:
        found = f"{votes}; with one that a deleted Node has left, they are too few"
        return Check(QUORUM, "unsure", found, _ASK_ETCD)
    return _verdict(votes)


def _verdict(votes: _Votes) -> Check:
    needed = (votes.others + votes.own) // 2 + 1
    if votes.hold:
        return Check(QUORUM, "ok", f"{votes}, {needed} are needed")
    return Check(QUORUM, "refused", f"{votes}, and {needed} are needed", _BRING_BACK)


def _by_members(evidence: Evidence, members: Sequence[Member]) -> _Votes:
    """By etcd's own list; a learner has no vote."""
    voters = [each for each in members if not each.is_learner]
    own = _old(evidence, voters)
    others = [each for each in voters if each not in own]
    ready = [node for node in evidence.servers if node.is_ready]
    up = [each for each in others if any(_is_of(each, node) for node in ready)]
    return _Votes(len(others), len(up), len(own))


def _is_of(member: Member, node: Node) -> bool:
    return _is_called(member.name, node) or bool(set(member.addresses) & set(plain_addresses(node.addresses)))


def _is_called(name: str, node: Node) -> bool:
    """Whether a member of this name is a Node's; one that has not started yet has none."""
    return bool(name) and (name == current_member(node) or is_member_of(node.name, name))


def _by_nodes(evidence: Evidence) -> _Votes:
    others = [node for node in evidence.servers if node.has_etcd and not _was_removed(node)]
    own = evidence.own
    counts = own is not None and own.has_etcd and not _was_removed(own)
    return _Votes(len(others), sum(node.is_ready for node in others), int(counts))


def _was_removed(node: Node) -> bool:
    return not current_member(node) and REMOVED_NAME in node.annotations
