"""What preflight says of each state of a node and its cluster: the verdict, the advice, and the mend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster.check import Check, ForgetPassword, RemoveMember
from pipeline.cluster.evidence import Card, Evidence, Member, Unseen, to_ask
from pipeline.cluster.port import CONTROL_PLANE, ETCD, BootstrapToken, Handle, Node, NodePassword, Status
from pipeline.cluster.preflight import checks, refusal
from pipeline.cluster.preflight_show import to_data, to_text
from pipeline.cluster.versions import in_source, minor_of
from pipeline.secret import Secret

from .test_node_password import hashed

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=3)
HASH = "ab" * 32
ADDRESS = "192.0.2.13"
ETCD_NOTE = "etcd.k3s.cattle.io/"
FORBIDDEN = Unseen("it is forbidden", "grant it")


def node(
    name: str,
    ready: Status = "True",
    *,
    version: str = "v1.31.4+k3s1",
    etcd: bool | None = None,
    address: str = "",
    since: datetime | None = EARLIER,
    **notes: str,
) -> Node:
    """A Node; `etcd` is None for an agent, false for a server whose state is elsewhere."""
    labels = {} if etcd is None else {CONTROL_PLANE: "true"} | ({ETCD: "true"} if etcd else {})
    return Node(
        name=name,
        handle=Handle(f"uid of {name}", "7"),
        created=EARLIER,
        ready=ready,
        since=since,
        heard=EARLIER,
        reason="",
        addresses=(address,) if address else (),
        labels=labels,
        annotations={ETCD_NOTE + key.replace("_", "-"): value for key, value in notes.items()},
        taints=(),
        versions={"k3s": version},
        arch="arm64",
        machine_id="",
    )


def server(name: str, ready: Status = "True", member: str | None = None, **more: Any) -> Node:
    """A server with a member of etcd."""
    return node(name, ready, **{"etcd": True, "node_name": member or f"{name}-0a1b2c3d", **more})


def member(name: str, number: int = 1, address: str = "", *, is_learner: bool = False) -> Member:
    return Member(number, name, (address,) if address else (), is_learner)


AGENT = Card(
    "titan-13",
    "agent",
    "etcd",
    "192.0.2.7",
    restores=False,
    version="v1.31.4+k3s1",
    addresses=(ADDRESS,),
    password=Secret("word"),
    token=Secret(f"K10{HASH}::node:word"),
)
SERVER = replace(AGENT, node="titan-0c", role="server", token=Secret(f"K10{HASH}::server:word"))
LONE = replace(SERVER, datastore="sqlite", server="", restores=True)
A, B, C = (
    server(name, address=f"192.0.2.{at}") for at, name in enumerate(["titan-0a", "titan-0b", "titan-0c"], 7)
)
GONE = server("titan-0c", "Unknown", address=ADDRESS)
REMOVED = node("titan-0c", "Unknown", etcd=True, removed_node_name="titan-0c-0a1b2c3d", remove="true")
HANDLE = Handle("uid of secret", "3")


def evidence(card: Card = AGENT, **changes: Any) -> Evidence:
    """All as it should be for a card, but for the changes."""
    own = {"agent": node("titan-13", "Unknown", address=ADDRESS), "server": REMOVED}[card.role]
    given: dict[str, Any] = {
        "nodes": None if card.datastore == "sqlite" else (A, B, own),
        "reach": {ADDRESS: "silent"},
        "members": None,
        "password": None,
        "bootstrap": None,
        "ca_hash": HASH,
        "burned": {},
        "now": NOW,
    }
    return Evidence(card=card, **{**given, **changes})


def verdicts(found: Evidence) -> dict[str, str]:
    return {check.name: check.verdict for check in checks(found)}


def one(found: Evidence, name: str) -> Check:
    (check,) = (each for each in checks(found) if each.name == name)
    return check


@pytest.mark.parametrize(
    ("card", "names"),
    [
        (AGENT, ["twin", "node password", "peer", "version", "token", "CA"]),
        (
            SERVER,
            "twin datastore quorum etcd_member peer one_at_a_time version token CA".replace("_", " "),
        ),
        (LONE, ["twin", "restore"]),
        (
            replace(SERVER, datastore="external"),
            ["twin", "datastore", "one at a time", "version", "token", "CA"],
        ),
    ],
    ids="agent etcd sqlite external".split(),
)
def test_each_kind_of_card_has_its_checks_and_passes_them(card: Card, names: list[str] | str) -> None:
    nodes = (node("titan-0a", etcd=False), node("titan-0c", "Unknown", etcd=False))
    found = evidence(card, nodes=nodes) if card.datastore == "external" else evidence(card)
    told = checks(found)
    assert {check.verdict for check in told} == {"ok"}, told
    called = [check.name for check in told]
    assert (called if isinstance(names, list) else " ".join(called)) == names
    assert refusal("titan-13", told) is None


# --------------------------------------------------------------------------------------------- twin


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"nodes": (A, node("titan-13"))}, "refused", "the Node is Ready"),
        ({"nodes": (A, node("titan-13", "False"))}, "refused", "not Ready since 2026-11-29 09:00 UTC, which"),
        ({"nodes": (A, node("titan-13", "Unknown"))}, "ok", "the Node is not Ready since 2026-11-29 09:00"),
        ({"nodes": (A, node("titan-13", "Unknown", since=None))}, "ok", "the Node is not Ready, and"),
        ({"nodes": (A, B)}, "ok", "the cluster has no such Node, and nobody answers at 192.0.2.13"),
        ({"nodes": (A, B), "reach": {ADDRESS: "alive"}}, "refused", "a machine answers at 192.0.2.13"),
        ({"reach": {ADDRESS: "alive"}}, "refused", "the Node is not Ready since"),
        ({"reach": {ADDRESS: "silent", "198.51.100.1": "alive"}}, "refused", "answers at 198.51.100.1"),
        ({"reach": {ADDRESS: "silent", "198.51.100.1": "unreachable"}}, "ok", "nobody answers at 192.0.2.13"),
        ({"reach": {ADDRESS: "unreachable"}}, "unsure", "192.0.2.13 cannot be tried from here"),
        ({"reach": {}}, "unsure", "an address that nobody knows"),
        ({"nodes": FORBIDDEN}, "unsure", "nobody answers at 192.0.2.13, but it is forbidden"),
        ({"nodes": FORBIDDEN, "reach": {ADDRESS: "alive"}}, "refused", "a machine answers at 192.0.2.13"),
    ],
)
def test_a_twin_is_refused_wherever_it_shows(changes: dict[str, Any], verdict: str, words: str) -> None:
    check = one(evidence(**changes), "twin")
    assert check.verdict == verdict
    assert words in check.found
    assert bool(check.advice) == (verdict != "ok")


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "ok", "the cluster's API does not answer, and nobody answers at 192.0.2.13"),
        ({"reach": {ADDRESS: "alive"}}, "refused", "a machine answers"),
        ({"nodes": ()}, "refused", "the cluster's API answers, and this is its only server"),
        ({"nodes": FORBIDDEN}, "refused", "the cluster's API answers"),
    ],
)
def test_the_api_of_a_lone_server_is_itself(changes: dict[str, Any], verdict: str, words: str) -> None:
    check = one(evidence(LONE, **changes), "twin")
    assert check.verdict == verdict
    assert words in check.found


@pytest.mark.parametrize(
    ("declared", "nodes", "asked"),
    [
        (["192.0.2.13"], (), ("192.0.2.13",)),
        (["192.0.2.13"], (node("titan-13", address="192.0.2.13"),), ("192.0.2.13",)),
        ([], (node("titan-13", "Unknown", address="192.0.2.44"),), ("192.0.2.44",)),
        ([], (node("titan-13", "Unknown", address="titan-13.example"),), ()),
        ([], (node("titan-13", address="192.0.2.44"), node("other", address="192.0.2.44")), ()),
        (
            [],
            (node("titan-13", address="192.0.2.44"), node("other", "Unknown", address="192.0.2.44")),
            ("192.0.2.44",),
        ),
        (["192.0.2.13"], (node("other", address="192.0.2.13"),), ("192.0.2.13",)),
        (["2001:DB8::0:1"], (node("titan-13", address="2001:db8::1"),), ("2001:db8::1",)),
    ],
)
def test_a_twin_is_looked_for_at_its_own_addresses(
    declared: list[str], nodes: tuple[Node, ...], asked: tuple[str, ...]
) -> None:
    assert to_ask(declared, "titan-13", nodes) == asked


# ---------------------------------------------------------------------------------------- the agent

KNOWN = NodePassword(HANDLE, Secret(hashed("word", n=10)))
FORGET = ForgetPassword("titan-13", HANDLE)


@pytest.mark.parametrize(
    ("known", "own", "verdict", "words", "mend"),
    [
        (None, Secret("word"), "ok", "takes the first", None),
        (None, None, "ok", "takes the first", None),
        (KNOWN, Secret("word"), "ok", "the one that the secrets have", None),
        (KNOWN, Secret("other"), "refused", "another than the secrets have", FORGET),
        (KNOWN, None, "refused", "a new one would be made", FORGET),
        (KNOWN, Unseen("Vault is down"), "unsure", "Vault is down", None),
        (FORBIDDEN, Secret("word"), "unsure", "it is forbidden", None),
        (NodePassword(HANDLE, Secret("$9:x")), Secret("word"), "unsure", "cannot be compared", None),
    ],
)
def test_an_agents_password_is_the_one_that_the_cluster_knows(
    known: NodePassword | Unseen | None, own: Secret | Unseen | None, verdict: str, words: str, mend: object
) -> None:
    check = one(evidence(replace(AGENT, password=own), password=known), "node password")
    assert (check.verdict, check.mend) == (verdict, mend)
    assert words in check.found
    if mend:
        assert check.advice == "delete the Secret kube-system/titan-13.node-password.k3s: --fix does it"


@pytest.mark.parametrize(
    ("own", "servers", "verdict"),
    [
        ("v1.31.4+k3s1", ["v1.31.1+k3s2"], "ok"),
        ("v1.28.9+k3s1", ["v1.31.4+k3s1"], "ok"),
        ("v1.27.9+k3s1", ["v1.31.4+k3s1"], "refused"),
        ("v1.32.0+k3s1", ["v1.31.4+k3s1"], "refused"),
        ("v1.32.0+k3s1", ["v1.31.4+k3s1", "v1.32.0+k3s1"], "unsure"),
        ("v2.31.4+k3s1", ["v1.31.4+k3s1"], "refused"),
        ("", ["v1.31.4+k3s1"], "unsure"),
        ("v1.31.4+k3s1", [], "unsure"),
        ("v1.31.4+k3s1", ["\x1b[2J"], "unsure"),
    ],
)
def test_an_agent_is_no_newer_than_its_servers(own: str, servers: list[str], verdict: str) -> None:
    nodes = tuple(server(f"s{at}", version=version) for at, version in enumerate(servers))
    assert one(evidence(replace(AGENT, version=own), nodes=nodes), "version").verdict == verdict


# --------------------------------------------------------------------------------------- the server


@pytest.mark.parametrize(
    ("own", "servers", "verdict"),
    [
        ("v1.31.4+k3s1", ["v1.31.1+k3s2", "v1.30.1+k3s2"], "ok"),
        ("v1.30.4+k3s1", ["v1.31.1+k3s2"], "ok"),
        ("v1.32.4+k3s1", ["v1.31.1+k3s2"], "ok"),
        ("v1.33.4+k3s1", ["v1.31.1+k3s2"], "refused"),
        ("v1.29.4+k3s1", ["v1.30.1+k3s1", "v1.31.1+k3s2"], "refused"),
        ("", ["v1.31.1+k3s2"], "unsure"),
    ],
)
def test_servers_are_one_minor_version_apart_at_most(own: str, servers: list[str], verdict: str) -> None:
    nodes = tuple(server(f"s{at}", version=version) for at, version in enumerate(servers))
    assert one(evidence(replace(SERVER, version=own), nodes=nodes), "version").verdict == verdict


@pytest.mark.parametrize("card", [AGENT, SERVER], ids=["agent", "server"])
def test_what_a_dead_server_once_ran_keeps_nobody_out(card: Card) -> None:
    old, dead = (server(f"s{state}", state, version="v1.27.1+k3s1") for state in ("True", "Unknown"))
    assert one(evidence(card, nodes=(A, dead)), "version").verdict == "ok"
    assert one(evidence(SERVER, nodes=(A, old)), "version").verdict == "refused"
    assert one(evidence(SERVER, nodes=(dead,)), "version").verdict == "refused"


MEMBERS = (member("titan-0a-0a1b2c3d", 1), member("titan-0b-0a1b2c3d", 2))
OLD = member("titan-0c-0a1b2c3d", 0xBEEF)
MARK = RemoveMember(GONE, "titan-0c-0a1b2c3d")
ASKED = server("titan-0c", "Unknown", remove="true")
RESET = server("titan-0c", "Unknown", remove="false")
REJOINED = server("titan-0c", "Unknown", removed_node_name="titan-0c-ffffffff", remove="true")
B_DOWN = replace(B, ready="Unknown")


@pytest.mark.parametrize(
    ("nodes", "members", "verdict", "words", "mend"),
    [
        ((A, B, REMOVED), None, "ok", "k3s took titan-0c-0a1b2c3d out of etcd", None),
        ((A, B, GONE), None, "refused", "etcd still has titan-0c-0a1b2c3d", MARK),
        ((A, B, RESET), None, "refused", "etcd still has", RemoveMember(RESET, "titan-0c-0a1b2c3d")),
        ((A, B, REJOINED), None, "refused", "etcd still has", RemoveMember(REJOINED, "titan-0c-0a1b2c3d")),
        ((A, B, ASKED), None, "refused", "whose removal was asked for", None),
        ((A, B), None, "unsure", "a Node that was deleted", None),
        ((A, B, node("titan-0c", "Unknown", etcd=True)), None, "unsure", "does not say which member", None),
        ((A, B, node("titan-0c", "Unknown")), None, "ok", "the Node had none", None),
        ((A, B), MEMBERS, "ok", "none of this node among etcd's 2 members", None),
        ((A, B, REMOVED), MEMBERS, "ok", "none of this node", None),
        ((A, B, GONE), (*MEMBERS, OLD), "refused", "etcd still has titan-0c-0a1b2c3d", MARK),
        ((A, B, ASKED), (*MEMBERS, OLD), "refused", "whose removal was asked for", None),
        ((A, B), (*MEMBERS, OLD), "refused", "titan-0c-0a1b2c3d (beef), and no Node", None),
        ((A, B, REMOVED), (*MEMBERS, OLD), "refused", "(beef), and no Node speaks of it", None),
        ((A, B), (*MEMBERS, member("", 0xBEEF, ADDRESS)), "refused", "a member without a name (beef)", None),
        ((A, B), (*MEMBERS, member("", 3, ADDRESS, is_learner=True)), "ok", "none of this node among", None),
        ((A, B), (*MEMBERS, replace(OLD, is_learner=True)), "refused", "(beef), and no Node", None),
        ((A, B), (*MEMBERS, member("titan-0c-1-0a1b2c3d", 3)), "ok", "none of this node among", None),
        ((A, B), (*MEMBERS, member("titan-0cc-0a1b2c3d", 3)), "ok", "none of this node among", None),
        ((A, B, REMOVED), FORBIDDEN, "unsure", "it is forbidden", None),
        ((A, B, GONE), FORBIDDEN, "refused", "etcd still has titan-0c-0a1b2c3d", MARK),
        ((A, B_DOWN, GONE), None, "refused", "etcd still has titan-0c-0a1b2c3d", None),
        (FORBIDDEN, MEMBERS, "unsure", "it is forbidden", None),
    ],
)
def test_an_old_member_of_the_node_must_go(
    nodes: Any, members: Any, verdict: str, words: str, mend: object
) -> None:
    check = one(evidence(SERVER, nodes=nodes, members=members), "etcd member")
    assert (check.verdict, check.mend) == (verdict, mend)
    assert words in check.found
    assert (
        bool(check.advice) == (check.verdict != "ok" and nodes is not FORBIDDEN) or check.advice == "grant it"
    )
    if "beef" in words:
        assert check.advice == "`etcdctl member remove beef`"


AT_ITS_ADDRESS = member("titan-0b-0a1b2c3d", 2, ADDRESS)


@pytest.mark.parametrize(
    ("other", "may_be_deleted"),
    [
        (B, False),
        (B_DOWN, True),
        (node("titan-0b", etcd=True), False),
        (node("former", "Unknown", etcd=True, node_name="titan-0b-0a1b2c3d"), True),
    ],
)
def test_no_member_of_another_node_is_ever_to_be_removed_by_its_id(other: Node, may_be_deleted: bool) -> None:
    found = evidence(SERVER, nodes=(A, other, REMOVED), members=(MEMBERS[0], AT_ITS_ADDRESS))
    check = one(found, "etcd member")
    assert (check.verdict, check.mend) == ("refused", None)
    assert f"titan-0b-0a1b2c3d of the Node {other.name}" in check.found
    assert "member remove" not in check.advice
    assert ("delete that Node" in check.advice) == may_be_deleted


@pytest.mark.parametrize("members", [None, (*MEMBERS, member("titan-0c-ffffffff", 3, ADDRESS))])
@pytest.mark.parametrize("claimed", ["titan-0b-0a1b2c3d", "titan-0b-ffffffff"])
def test_no_member_of_another_server_is_taken_out_whatever_the_node_says(members: Any, claimed: str) -> None:
    liar = server("titan-0c", "Unknown", member=claimed, address=ADDRESS)
    check = one(evidence(SERVER, nodes=(A, B, liar), members=members), "etcd member")
    assert (check.verdict, check.mend) == ("refused", None)


def test_a_member_may_be_called_by_a_name_that_its_node_had_before() -> None:
    renamed = server("titan-0c", "Unknown", member="former-0a1b2c3d", address=ADDRESS)
    check = one(evidence(SERVER, nodes=(A, B, renamed)), "etcd member")
    assert check.mend == RemoveMember(renamed, "former-0a1b2c3d")


@pytest.mark.parametrize("ready", ["True", "Unknown"])
@pytest.mark.parametrize("members", [None, FORBIDDEN])
def test_a_server_that_was_renamed_is_told_by_its_address(ready: Status, members: Unseen | None) -> None:
    former = server("former", ready, address=ADDRESS)
    check = one(evidence(SERVER, nodes=(A, B, former), members=members), "etcd member")
    assert (check.verdict, check.mend) == ("refused", None)
    assert "etcd has former-0a1b2c3d of the Node former at an address of this node" in check.found
    assert ("delete that Node" in check.advice) == (ready == "Unknown")


@pytest.mark.parametrize("other", [node("former", "Unknown", address=ADDRESS), server("former", "Unknown")])
def test_who_has_no_member_or_another_address_was_not_renamed(other: Node) -> None:
    assert one(evidence(SERVER, nodes=(A, B, other)), "etcd member").verdict == "unsure"


D, E = server("titan-0d"), server("titan-0e")
D_DOWN = replace(D, ready="False")
ALL = tuple(member(f"{name}-0a1b2c3d", at) for at, name in enumerate(["titan-0a", "titan-0b", "titan-0d"], 1))


@pytest.mark.parametrize(
    ("nodes", "members", "verdict", "words"),
    [
        ((A, B, GONE), None, "ok", "2 of 3 members are up without this node, 2 are needed"),
        ((A, B, REMOVED), None, "ok", "2 of 2 members are up without this node, 2 are needed"),
        ((A, B_DOWN, GONE), None, "refused", "1 of 3 members are up without this node, and 2 are needed"),
        ((A, B_DOWN, REMOVED), None, "refused", "1 of 2 members are up"),
        ((A, GONE), None, "refused", "1 of 2 members are up without this node, and 2 are needed"),
        ((A, REMOVED), None, "ok", "1 of 1 members are up"),
        ((A, B), None, "ok", "2 of 2 members are up"),
        ((A,), None, "unsure", "with one that a deleted Node has left, they are too few"),
        ((A, B, D_DOWN), None, "unsure", "2 of 3 members are up without this node; with one"),
        ((A, B, D_DOWN, GONE), None, "refused", "2 of 4 members are up"),
        ((A, B, D, E, GONE), None, "ok", "4 of 5 members are up"),
        ((A, B, node("titan-0d", "Unknown", etcd=True, removed_node_name="x"), GONE), None, "ok", "2 of 3"),
        ((A, B), (*MEMBERS, OLD), "ok", "2 of 3 members are up without this node, 2 are needed"),
        ((A, B), MEMBERS, "ok", "2 of 2 members"),
        ((A, B_DOWN), MEMBERS, "refused", "1 of 2 members"),
        ((A, B), (*ALL, OLD), "refused", "2 of 4 members"),
        ((A, B), (*MEMBERS, member("titan-0d-0a1b2c3d", 4, is_learner=True)), "ok", "2 of 2 members"),
        ((A, B), (MEMBERS[0], member("renamed", 2, "192.0.2.8")), "ok", "2 of 2 members"),
        ((), (), "refused", "0 of 0 members"),
        (FORBIDDEN, None, "unsure", "it is forbidden"),
    ],
)
def test_a_quorum_must_hold_with_the_old_member_and_without(
    nodes: Any, members: Any, verdict: str, words: str
) -> None:
    check = one(evidence(SERVER, nodes=nodes, members=members), "quorum")
    assert check.verdict == verdict
    assert words in check.found


@pytest.mark.parametrize(
    ("host", "nodes", "verdict", "words"),
    [
        ("192.0.2.7", (A, B), "ok", "titan-0a, titan-0b Ready; k3s.server is titan-0a"),
        ("titan-0b", (A, B), "ok", "k3s.server is titan-0b"),
        ("k3s.example", (A, B), "ok", "k3s.example is no Node's address"),
        ("2001:db8::7", (replace(A, addresses=("2001:DB8:0::7",)),), "ok", "k3s.server is titan-0a"),
        ("192.0.2.8", (A, B_DOWN), "refused", "k3s.server is 192.0.2.8, and titan-0b there is not Ready"),
        ("192.0.2.7", (A, B_DOWN), "unsure", "titan-0a Ready, titan-0b not"),
        ("192.0.2.7", (B_DOWN,), "refused", "no other server is Ready"),
        ("192.0.2.7", (node("titan-13"),), "refused", "no other server is Ready"),
        ("192.0.2.7", FORBIDDEN, "unsure", "it is forbidden"),
    ],
)
def test_somebody_must_be_there_to_join(host: str, nodes: Any, verdict: str, words: str) -> None:
    check = one(evidence(replace(SERVER, server=host), nodes=nodes), "peer")
    assert check.verdict == verdict
    assert words in check.found


@pytest.mark.parametrize(
    ("host", "nodes", "verdict", "words"),
    [
        ("192.0.2.7", (A, B_DOWN), "ok", "titan-0a Ready; k3s.server is titan-0a"),
        ("192.0.2.8", (A, B_DOWN), "unsure", "k3s.server is 192.0.2.8, and titan-0b there is not Ready"),
        ("192.0.2.8", (B_DOWN,), "unsure", "no server is Ready"),
        ("192.0.2.7", FORBIDDEN, "unsure", "it is forbidden"),
    ],
)
def test_an_agent_waits_for_the_server_that_it_is_to_join(
    host: str, nodes: Any, verdict: str, words: str
) -> None:
    check = one(evidence(replace(AGENT, server=host), nodes=nodes), "peer")
    assert check.verdict == verdict
    assert words in check.found


@pytest.mark.parametrize(
    ("burned", "nodes", "verdict"),
    [
        ({}, (A, B), "ok"),
        ({"titan-0b": EARLIER}, (A, B), "ok"),
        ({"titan-0b": NOW}, (A, B), "ok"),
        ({"titan-0b": NOW}, (A, B_DOWN), "refused"),
        ({"titan-0b": EARLIER}, (A, B_DOWN), "refused"),
        ({"titan-0b": EARLIER - timedelta(days=300)}, (A, B_DOWN), "ok"),
        ({"titan-0b": EARLIER}, (A,), "refused"),
        ({"titan-0b": EARLIER}, (A, replace(B_DOWN, since=None)), "refused"),
        ({"titan-0b": NOW}, FORBIDDEN, "unsure"),
    ],
)
def test_servers_come_back_one_at_a_time(burned: Mapping[str, datetime], nodes: Any, verdict: str) -> None:
    check = one(evidence(SERVER, nodes=nodes, burned=burned), "one at a time")
    assert check.verdict == verdict
    if verdict == "refused":
        assert "titan-0b (burned 2026-11-29" in check.found


PLAIN = node("titan-0a", etcd=False)


@pytest.mark.parametrize(
    ("declared", "nodes", "verdict", "words"),
    [
        ("etcd", (A, B), "ok", "etcd, as the inventory says"),
        ("etcd", (PLAIN,), "refused", "the inventory says etcd, and none of the servers has it: titan-0a"),
        ("etcd", (PLAIN, B), "ok", "etcd"),
        ("etcd", (node("titan-13"),), "unsure", "the cluster shows no other server"),
        ("external", (PLAIN,), "ok", "external"),
        ("external", (A, PLAIN), "refused", "the inventory says external, and servers have etcd: titan-0a"),
        ("sqlite", (A,), "refused", "the inventory says sqlite, and servers have etcd"),
        ("sqlite", (PLAIN,), "refused", "which one server has, and there are others: titan-0a"),
        ("sqlite", (node("titan-0c", "Unknown", etcd=False),), "ok", "sqlite"),
        ("etcd", FORBIDDEN, "unsure", "it is forbidden"),
    ],
)
def test_the_clusters_datastore_is_the_declared_one(
    declared: str, nodes: Any, verdict: str, words: str
) -> None:
    check = one(evidence(replace(SERVER, datastore=declared), nodes=nodes), "datastore")
    assert check.verdict == verdict
    assert words in check.found


def test_a_lone_server_without_its_database_is_refused() -> None:
    assert one(evidence(replace(LONE, restores=False)), "restore").verdict == "refused"


# -------------------------------------------------------------------------------------------- token

BOOTSTRAP = Secret(f"K10{HASH}::abc123.0123456789abcdef")
KNOWN_TOKEN = BootstrapToken(Secret("0123456789abcdef"), NOW + timedelta(days=1), is_for_joining=True)


@pytest.mark.parametrize(
    ("token", "known", "verdict", "words"),
    [
        (AGENT.token, None, "ok", "does not expire"),
        (BOOTSTRAP, KNOWN_TOKEN, "ok", "expires 2026-11-30 12:00 UTC"),
        (BOOTSTRAP, replace(KNOWN_TOKEN, expires=None), "ok", "a bootstrap token that does not expire"),
        (BOOTSTRAP, replace(KNOWN_TOKEN, expires=NOW + timedelta(minutes=40)), "ok", "in 40 minutes"),
        (BOOTSTRAP, replace(KNOWN_TOKEN, expires=NOW), "refused", "expired 2026-11-29 12:00 UTC"),
        (BOOTSTRAP, replace(KNOWN_TOKEN, is_for_joining=False), "refused", "lets no node in"),
        (BOOTSTRAP, replace(KNOWN_TOKEN, secret=Secret("0" * 16)), "refused", "another in the cluster"),
        (BOOTSTRAP, None, "refused", "does not know any more"),
        (BOOTSTRAP, FORBIDDEN, "unsure", "it is forbidden"),
        (None, None, "refused", "the secrets have no k3s_token"),
        (Secret("K10x::y"), None, "refused", "no token that k3s reads"),
        (Unseen("Vault is down"), None, "unsure", "Vault is down"),
    ],
)
def test_the_token_must_be_accepted(token: Any, known: Any, verdict: str, words: str) -> None:
    check = one(evidence(replace(AGENT, token=token), bootstrap=known), "token")
    assert check.verdict == verdict
    assert words in check.found
    assert "0123456789abcdef" not in check.found + check.advice


@pytest.mark.parametrize("credentials", ["node:word", "abc123.0123456789abcdef", "word"])
@pytest.mark.parametrize("datastore", ["etcd", "external"])
def test_a_server_joins_with_no_agents_token(credentials: str, datastore: str) -> None:
    card = replace(SERVER, datastore=datastore, token=Secret(f"K10{HASH}::{credentials}"))
    check = one(evidence(card, nodes=(A, B), bootstrap=KNOWN_TOKEN), "token")
    assert check.verdict == "refused"
    assert credentials not in check.found + check.advice


@pytest.mark.parametrize(
    ("token", "ca_hash", "verdict"),
    [
        (AGENT.token, HASH, "ok"),
        (AGENT.token, "cd" * 32, "refused"),
        (AGENT.token, FORBIDDEN, "unsure"),
        (Secret("node:word"), HASH, "refused"),
    ],
)
def test_the_token_must_be_of_this_cluster(token: Secret, ca_hash: str | Unseen, verdict: str) -> None:
    assert one(evidence(replace(AGENT, token=token), ca_hash=ca_hash), "CA").verdict == verdict


# ------------------------------------------------------------------------------------------- showing


def test_a_refusal_names_all_that_refuses() -> None:
    error = refusal("titan-0c", checks(evidence(SERVER, nodes=(A, B_DOWN, GONE))))
    assert error is not None
    assert error.exit_code == 3
    assert str(error).startswith("titan-0c must not come back into its cluster yet: quorum, etcd member: ")


def test_a_table_shows_words_of_others_as_they_are_and_obeys_none() -> None:
    said = to_text([Check("twin", "ok", "\x1b[2Jfound"), Check("token", "unsure", "b", "do\nthis")])
    assert said.splitlines() == [
        "check          found         what to do",
        "twin   ok      \\x1b[2Jfound",
        "token  unsure  b             do this",
    ]


def test_a_members_name_of_a_stranger_fills_no_terminal() -> None:
    hostile = server("titan-0c", "Unknown", member="\x1b[2J" + "x" * 100_000)
    found = checks(evidence(SERVER, nodes=(A, B, hostile)))
    (mend,) = (check.mend for check in found if check.mend)
    for said in (str(mend), to_text(found)):
        assert "\x1b" not in said
    assert max(map(len, [str(mend), *to_text(found).splitlines()])) < 1000


def test_data_for_machines_says_what_would_be_mended() -> None:
    said = to_data("titan-0c", checks(evidence(SERVER, nodes=(A, B, GONE))))
    assert said["refused"] is True
    assert said["node"] == "titan-0c"
    (mended,) = (each for each in said["checks"] if each["mend"])
    assert mended["check"] == "etcd member"
    assert mended["mend"] == str(MARK)


def test_nothing_that_is_found_is_changed_by_looking() -> None:
    frozen = replace(GONE, annotations=MappingProxyType(dict(GONE.annotations)))
    assert verdicts(evidence(SERVER, nodes=(A, B, frozen)))["etcd member"] == "refused"


# ----------------------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("v1.31.4+k3s1", (1, 31)),
        ("1.31", (1, 31)),
        ("v1.31.4-rc1+k3s1", (1, 31)),
        ("v1", None),
        ("1.31x", None),
        ("v1.99999.1", None),
        ("", None),
        ("k3s v1.31.4", None),
    ],
)
def test_a_version_has_a_minor_one(text: str, minor: tuple[int, int] | None) -> None:
    assert minor_of(text) == minor


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("https://github.com/k3s-io/k3s/releases/download/v1.31.4%2Bk3s1/k3s-arm64", "v1.31.4+k3s1"),
        ("https://files.example/k3s/v1.31.4+k3s12/k3s", "v1.31.4+k3s12"),
        ("https://files.example/v1.32.0-rc2%2Bk3s1/k3s", "v1.32.0-rc2+k3s1"),
        ("https://files.example/k3s-arm64", ""),
        ("https://files.example/v1.31.4/k3s", ""),
        ("file:k3s", ""),
    ],
)
def test_a_release_is_told_by_its_address(source: str, version: str) -> None:
    assert in_source(source) == version


def test_versions_that_cannot_be_seen_are_unsure() -> None:
    assert one(evidence(nodes=FORBIDDEN), "version") == Check(
        "version", "unsure", "it is forbidden", "grant it"
    )


@given(st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_a_quorum_with_the_old_member_is_one_without_it(up: int, down: int, has_old: bool) -> None:
    names = [f"s{at}" for at in range(up + down)]
    nodes = [server(name, "True" if at < up else "Unknown") for at, name in enumerate(names)]
    own = (GONE,) if has_old else (REMOVED,)
    check = one(evidence(SERVER, nodes=(*nodes, *own)), "quorum")
    assert (check.verdict == "ok") == (2 * up > up + down + has_old)
    if check.verdict == "ok":
        assert 2 * up > up + down
