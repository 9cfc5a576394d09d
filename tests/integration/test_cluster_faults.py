"""Whatever the API of a cluster does: a clear line, nothing done twice, and the token is in no text."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster import transport, watching
from pipeline.cluster.client import connected
from pipeline.cluster.faults import UnreachableError
from pipeline.cluster.port import TAINTS_ANNOTATION, ChangedError, Cluster, ForbiddenError, Node, Taint
from pipeline.errors import MetisError, SourceError, UsageError
from tests.support import apiserver_faults as faults
from tests.support import kube
from tests.support.apiserver import ApiServer, api_server

NODE = "titan-13"
TAINT = Taint("dedicated", "storage", "NoSchedule")


@dataclass
class Bench:
    """A cluster with one agent, and how long was waited between tries."""

    server: ApiServer
    cluster: Cluster
    waited: list[float] = field(default_factory=list)

    def node(self) -> Node:
        node = self.cluster.node(NODE)
        assert node is not None
        return node

    def asked(self, verb: str) -> int:
        return sum(request.verb == verb for request in self.server.requests)


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: Any
) -> Iterator[Bench]:
    """Nothing is printed or logged in a test of it, whatever goes wrong."""
    caplog.set_level(logging.WARNING)
    with api_server() as server:
        server.put(kube.node(NODE))
        cluster = connected({"KUBECONFIG": str(server.kubeconfig(tmp_path))})
        assert cluster is not None
        made = Bench(server, cluster)
        monkeypatch.setattr(transport, "sleep", made.waited.append)
        yield made
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def said(bench: Bench, error: MetisError) -> str:
    """What an error says, once it is sure that it is one line and shows no token, nor does its cause."""
    assert len(str(error).splitlines()) == 1
    assert error.__suppress_context__ or error.__context__ is None
    token = bench.server.token()
    for secret in (token, base64.b64encode(token.encode()).decode()):
        assert secret not in f"{error!s} {error!r}"
    return str(error)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is silent is not waited for for long."""
    monkeypatch.setattr(transport, "SILENCE", 1.0)


PASSING = [
    pytest.param(faults.fails(500), "a fault of its own (500)", id="500"),
    pytest.param(faults.fails(503), "a fault of its own (503)", id="503"),
    pytest.param(faults.fails(429), "fewer requests (429)", id="429"),
    pytest.param(faults.closes, "the connection was cut", id="closes"),
    pytest.param(faults.closes_midway, "the connection was cut", id="closes-midway"),
    pytest.param(faults.silent, "did not answer in time", id="silent"),
]
LASTING = [
    pytest.param(faults.fails(401), ForbiddenError, "does not know who asks", id="401"),
    pytest.param(
        faults.fails(403, "User x cannot get"), ForbiddenError, "(403): User x cannot get", id="403"
    ),
    pytest.param(faults.says(b"<html>", 403), ForbiddenError, "(403): give", id="403-of-a-proxy"),
    pytest.param(faults.fails(400, "so\x1b[31m not"), SourceError, r"(400): so\x1b[31m not", id="400"),
    pytest.param(
        faults.says(b"", 302, Location="http://192.0.2.1/"), SourceError, "none of Kubernetes'", id="302"
    ),
    pytest.param(faults.HTML, SourceError, "none of Kubernetes'", id="html"),
    pytest.param(faults.says(b"null"), SourceError, "none of Kubernetes'", id="null"),
    pytest.param(faults.says(b"[" * 100_000), SourceError, "none of Kubernetes'", id="deep"),
    pytest.param(faults.says(b'{"kind": "\\udc80"}'), SourceError, "none of Kubernetes'", id="half"),
    pytest.param(faults.says(b"\xff{}"), SourceError, "none of Kubernetes'", id="no-text"),
    pytest.param(faults.endless, SourceError, "more than 16 MiB", id="endless"),
    pytest.param(
        faults.says({"metadata": {"name": NODE}}), SourceError, 'see its "creationTimestamp"', id="part"
    ),
]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("fault", "words"), PASSING)
def test_what_may_pass_is_waited_for(bench: Bench, fault: faults.Answer, words: str) -> None:
    bench.server.fail("get nodes/*", fault, times=transport.TRIES - 1)
    assert bench.node().name == NODE
    assert bench.waited == [0.25, 0.5, 1.0]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("fault", "words"), PASSING)
def test_what_does_not_pass_ends_in_a_line(bench: Bench, fault: faults.Answer, words: str) -> None:
    bench.server.fail("get nodes/*", fault, times=100)
    with pytest.raises(UnreachableError) as raised:
        bench.node()
    assert words in said(bench, raised.value)
    assert f"{bench.server.url} cannot be asked for GET /api/v1/nodes/{NODE}" in said(bench, raised.value)
    assert bench.asked("get") == transport.TRIES


@pytest.mark.parametrize(("fault", "kind", "words"), LASTING)
def test_what_will_not_pass_ends_in_a_line_at_once(
    bench: Bench, fault: faults.Answer, kind: type[MetisError], words: str
) -> None:
    bench.server.fail("get nodes/*", fault, times=100)
    with pytest.raises(SourceError) as raised:
        bench.node()
    assert type(raised.value) is kind
    assert raised.value.exit_code == 5
    assert words in said(bench, raised.value)
    assert bench.server.url in said(bench, raised.value)
    assert bench.asked("get") == 1


@pytest.mark.parametrize(
    ("asked", "waited"), [("3", 3.0), ("86400", 10.0), ("Fri, 31 Dec", 0.25), ("-1", 0.25)]
)
def test_a_busy_server_says_how_long_to_wait_within_bounds(bench: Bench, asked: str, waited: float) -> None:
    bench.server.fail("get nodes/*", faults.fails(429, retry_after=asked))
    assert bench.node().name == NODE
    assert bench.waited == [waited]


@pytest.mark.parametrize("code", [400, 401, 403, 422])
def test_a_server_that_repeats_our_token_does_not_make_us_say_it(bench: Bench, code: int) -> None:
    bench.server.fail("get nodes/*", faults.fails(code, f"Authorization: Bearer {bench.server.token()}"))
    with pytest.raises(SourceError) as raised:
        bench.node()
    assert "Bearer" not in said(bench, raised.value)


def test_a_server_that_is_gone_is_named(bench: Bench) -> None:
    bench.server.stop()
    with pytest.raises(UnreachableError) as raised:
        bench.node()
    assert "nothing answers there" in said(bench, raised.value)


def test_a_server_that_came_back_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.node()
    bench.server.stop()
    monkeypatch.setattr(transport, "sleep", lambda _: bench.server.start())
    assert bench.node().name == NODE


def test_a_server_of_another_authority_is_shown_no_token(bench: Bench, tmp_path: Path) -> None:
    with api_server() as other:
        wrong = bench.server.kubeconfig(tmp_path).read_text().replace(bench.server.url, other.url)
        file = tmp_path / "wrong"
        file.write_text(wrong)
        cluster = connected({"KUBECONFIG": str(file)})
        assert cluster is not None
        with pytest.raises(SourceError, match="cannot be verified") as raised:
            cluster.nodes()
        assert not other.requests
    said(bench, raised.value)


def test_who_is_not_known_is_told_so(bench: Bench, tmp_path: Path) -> None:
    file = bench.server.kubeconfig(tmp_path, "stranger")
    file.write_text(file.read_text().replace(bench.server.token("stranger"), "of-old"))
    cluster = connected({"KUBECONFIG": str(file)})
    assert cluster is not None
    with pytest.raises(ForbiddenError, match="does not know who asks for GET /api/v1/nodes"):
        cluster.nodes()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a,b", "a b", "-a", "a?x", "a%2f", "x" * 300, "ä", "a\n"]
)
def test_what_is_no_name_is_not_asked_for(bench: Bench, name: str) -> None:
    with pytest.raises(UsageError):
        bench.cluster.node(name)
    assert not bench.server.requests


# ------------------------------------------------------------------------------------------ other objects


def test_an_agents_password_is_known_by_its_hash_until_it_is_deleted(bench: Bench) -> None:
    assert bench.cluster.node_password("Titan-13") is None
    bench.server.put(kube.password_secret(NODE, "$1:salt:15:8:1:hash"))
    password = bench.cluster.node_password("Titan-13")
    assert password is not None
    assert password.hash.reveal() == "$1:salt:15:8:1:hash"
    bench.cluster.delete_node_password("Titan-13", password.handle)
    assert bench.cluster.node_password(NODE) is None
    (change,) = bench.server.changes
    assert (change.verb, change.namespace, change.name) == (
        "delete",
        "kube-system",
        f"{NODE}.node-password.k3s",
    )


@pytest.mark.parametrize("anew", [True, False])
def test_a_password_that_is_another_by_now_is_not_deleted(bench: Bench, anew: bool) -> None:
    bench.server.put(kube.password_secret(NODE, "$1:salt:15:8:1:hash"))
    password = bench.cluster.node_password(NODE)
    assert password is not None
    bench.server.remove("Secret", f"{NODE}.node-password.k3s", "kube-system")
    if anew:
        bench.server.put(kube.password_secret(NODE, "$1:salt:15:8:1:other"))
    with pytest.raises(ChangedError, match="the node password of titan-13"):
        bench.cluster.delete_node_password(NODE, password.handle)
    assert not bench.server.changes


def test_a_bootstrap_token_is_known_by_its_first_part(bench: Bench) -> None:
    expires = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    bench.server.put(kube.bootstrap_token_secret("exampl", "0123456789abcdef", expires))
    token = bench.cluster.bootstrap_token("exampl")
    assert token is not None
    assert (token.secret.reveal(), token.expires, token.is_for_joining) == ("0123456789abcdef", expires, True)
    assert bench.cluster.bootstrap_token("others") is None


def test_the_certificates_of_the_cluster_are_given_to_the_byte(bench: Bench) -> None:
    bench.server.put(kube.root_ca("-----BEGIN…\n\n"))
    assert bench.cluster.ca_bundle() == "-----BEGIN…\n\n".encode()


def test_a_cluster_without_its_certificates_is_no_cluster(bench: Bench) -> None:
    with pytest.raises(SourceError, match="has no kube-root-ca"):
        bench.cluster.ca_bundle()


def test_warnings_of_a_node_are_told_and_nothing_else(bench: Bench) -> None:
    at = datetime(2026, 11, 29, 2, 0, tzinfo=UTC)
    bench.server.put(kube.event(NODE, "NodeNotReady", "older", at))
    bench.server.put(kube.event(NODE, "NodeNotReady", "newer", at + timedelta(minutes=1), count=3))
    bench.server.put(kube.event(NODE, "Starting", "fine", at, type="Normal"))
    bench.server.put(kube.event("titan-14", "NodeNotReady", "another's", at))
    found = [(each.message, each.count) for each in bench.cluster.warnings(NODE)]
    assert found == [("newer", 3), ("older", 1)]


def test_a_long_list_is_read_page_by_page(bench: Bench) -> None:
    for number in range(250):
        bench.server.put(kube.node(f"node-{number:03}"))
    assert len(bench.cluster.nodes()) == 251
    assert bench.asked("list") == 3


def test_a_list_whose_pages_are_forgotten_is_begun_again(bench: Bench) -> None:
    for number in range(150):
        bench.server.put(kube.node(f"node-{number:03}"))
    bench.server.fail(lambda request: "continue" in request.query, faults.fails(410))
    assert len(bench.cluster.nodes()) == 151


def test_a_list_that_is_always_forgotten_ends_in_a_line(bench: Bench) -> None:
    for number in range(150):
        bench.server.put(kube.node(f"node-{number:03}"))
    bench.server.fail(lambda request: "continue" in request.query, faults.fails(410), times=100)
    with pytest.raises(SourceError, match="forgets GET /api/v1/nodes"):
        bench.cluster.nodes()


@pytest.mark.parametrize(
    "page",
    [
        {"metadata": {"continue": "again"}, "items": []},
        {"metadata": {}, "items": {}},
        {"metadata": {}, "items": ["node"]},
        {"metadata": {}},
    ],
    ids=str,
)
def test_a_list_that_is_none_or_never_ends_ends_in_a_line(bench: Bench, page: object) -> None:
    bench.server.fail("list nodes/*", faults.says(page), times=1000)
    with pytest.raises(SourceError, match="none of Kubernetes'"):
        bench.cluster.nodes()


# ------------------------------------------------------------------------------------------------ changes


def remembered(bench: Bench, node: Node) -> Node:
    return bench.cluster.replace_taints(node, (TAINT,), "dedicated")


def applied(bench: Bench, node: Node) -> Node:
    return bench.cluster.apply(node, {"hardware": "rpi4"}, {TAINTS_ANNOTATION: "dedicated"})


def marked(bench: Bench, node: Node) -> Node:
    bench.cluster.mark_member_for_removal(node)
    return bench.node()


CHANGES = pytest.mark.parametrize("change", [remembered, applied, marked])


@CHANGES
@pytest.mark.parametrize(
    "fault",
    [faults.loses_answer, faults.closes_midway, faults.closes, faults.fails(500), faults.fails(429)],
    ids=["loses-answer", "closes-midway", "closes", "500", "429"],
)
def test_a_change_is_made_once_whatever_becomes_of_its_answer(
    bench: Bench, change: Any, fault: faults.Answer
) -> None:
    node = bench.node()
    bench.server.fail("patch nodes/*", fault)
    after = change(bench, node)
    (made,) = bench.server.changes
    assert made.query["fieldManager"] == "metis"
    assert after == bench.node()
    assert after.handle.version != node.handle.version


@CHANGES
def test_a_change_whose_fate_is_not_known_is_told_as_such(bench: Bench, change: Any) -> None:
    node = bench.node()
    bench.server.fail("patch nodes/*", faults.closes, times=100)
    with pytest.raises(UnreachableError, match="whether it was done is not known") as raised:
        change(bench, node)
    said(bench, raised.value)


@CHANGES
def test_a_node_that_others_change_while_the_answer_is_lost_is_looked_at_again(
    bench: Bench, change: Any
) -> None:
    node = bench.node()
    anew = kube.node(NODE, labels={"example.com/other": "1"})

    def changes_instead(wire: faults.Wire) -> None:
        bench.server.remove("Node", NODE)
        bench.server.put(anew)
        wire.hang_up()

    bench.server.fail("patch nodes/*", changes_instead)
    with pytest.raises(ChangedError):
        change(bench, node)
    assert not bench.server.changes


@pytest.mark.parametrize(
    "fault", [faults.loses_answer, faults.closes_midway, faults.closes, faults.fails(500)]
)
def test_a_password_is_deleted_once_whatever_becomes_of_the_answer(
    bench: Bench, fault: faults.Answer
) -> None:
    bench.server.put(kube.password_secret(NODE, "$1:salt:15:8:1:hash"))
    password = bench.cluster.node_password(NODE)
    assert password is not None
    bench.server.fail("delete secrets/*", fault)
    bench.cluster.delete_node_password(NODE, password.handle)
    assert len(bench.server.changes) == 1
    assert not bench.server.has("Secret", f"{NODE}.node-password.k3s", "kube-system")


def test_taints_and_what_is_remembered_of_them_are_one_change_of_that_state(bench: Bench) -> None:
    node = bench.node()
    remembered(bench, node)
    (change,) = bench.server.changes
    assert change.content_type == "application/merge-patch+json"
    assert change.body == {
        "metadata": {
            "uid": node.handle.uid,
            "resourceVersion": node.handle.version,
            "annotations": {TAINTS_ANNOTATION: "dedicated"},
        },
        "spec": {"taints": [{"key": "dedicated", "value": "storage", "effect": "NoSchedule"}]},
    }


def test_applying_the_same_again_changes_nothing(bench: Bench) -> None:
    first = applied(bench, bench.node())
    assert applied(bench, first) == first
    assert len(bench.server.changes) == 1


def test_a_change_that_is_refused_says_why(bench: Bench) -> None:
    node = bench.node()
    bench.server.fail("patch nodes/*", faults.fails(422, 'Node "titan-13" is invalid: metadata.labels: x'))
    with pytest.raises(SourceError, match=r"refuses PATCH .* \(422\): Node .* is invalid") as raised:
        applied(bench, node)
    assert not isinstance(raised.value, ChangedError)


# -------------------------------------------------------------------------------------------------- watch


@pytest.fixture
def quick(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The same with real pauses, which are short."""
    monkeypatch.undo()
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(watching, name, 0.01)
    monkeypatch.setattr(transport, "PAUSE", 0.01)
    return bench


def ready(node: Node | None) -> str:
    return node.ready if node else "absent"


@pytest.mark.parametrize(
    "fault",
    [
        faults.watch_breaks(),
        faults.watch_breaks(1),
        faults.watch_error(410),
        faults.watch_error(500),
        faults.watch_says(),
        faults.watch_says(rest=b"{half a line"),
        faults.fails(410),
        faults.fails(500),
        faults.fails(429),
        faults.closes,
    ],
    ids="breaks breaks-later 410 500-within empty half-a-line gone 500 429 closes".split(),
)
def test_a_watch_goes_on_whatever_ends_it(quick: Bench, fault: faults.Answer) -> None:
    watch = quick.cluster.watch(NODE, 60)
    assert ready(next(watch)) == "True"
    quick.server.fail("watch nodes/*", fault)
    quick.server.put(kube.node(NODE, ready="False"))
    assert ready(next(watch)) == "False"
    quick.server.put(kube.node(NODE, ready="True"))
    assert ready(next(watch)) == "True"


def test_a_watch_goes_on_when_the_server_comes_back(quick: Bench) -> None:
    watch = quick.cluster.watch(NODE, 60)
    assert ready(next(watch)) == "True"
    quick.server.stop()
    quick.server.put(kube.node(NODE, ready="Unknown"))
    quick.server.fail("get nodes/*", faults.fails(503), times=10)
    quick.server.start()
    assert ready(next(watch)) == "Unknown"


def test_a_server_that_vanishes_without_a_word_is_not_waited_for_for_ever(
    quick: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "WATCH", 0.2)
    monkeypatch.setattr(watching, "CONNECT", 0.1)
    watch = quick.cluster.watch(NODE, 60)
    assert ready(next(watch)) == "True"
    quick.server.fail("watch nodes/*", faults.silent)
    quick.server.put(kube.node(NODE, ready="False"))
    assert ready(next(watch)) == "False"


def test_a_line_that_comes_in_pieces_is_one(quick: Bench) -> None:
    watch = quick.cluster.watch(NODE, 60)
    node = next(watch)
    quick.server.put(kube.node(NODE, ready="False"))
    event = {"type": "MODIFIED", "object": quick.server.get("Node", NODE)}
    text = json.dumps(event, ensure_ascii=False).encode() + b"\n\n" + b'{"type":"BOOKMARK","object":{}}\n'

    def in_pieces(wire: faults.Wire) -> None:
        wire.begin(200, {"Connection": "close"})
        for start in range(0, len(text), 97):
            wire.say(text[start : start + 97])
        wire.until_gone()

    quick.server.fail("watch nodes/*", in_pieces)
    assert node != next(watch)
    assert quick.asked("get") == 1


def test_a_watch_from_what_the_server_has_forgotten_is_begun_anew(quick: Bench) -> None:
    watch = quick.cluster.watch(NODE, 60)
    assert ready(next(watch)) == "True"
    quick.server.put(kube.node(NODE, ready="False"))
    quick.server.compact()
    assert ready(next(watch)) == "False"


def test_a_node_that_nobody_can_say_anything_of_ends_in_a_line_when_time_is_up(quick: Bench) -> None:
    quick.server.stop()
    with pytest.raises(UnreachableError, match="nothing answers there") as raised:
        list(quick.cluster.watch(NODE, 0.3))
    said(quick, raised.value)


def test_a_server_that_goes_after_it_has_answered_ends_a_watch_without_an_error(quick: Bench) -> None:
    watch = quick.cluster.watch(NODE, 2)
    assert ready(next(watch)) == "True"
    quick.server.stop()
    assert list(watch) == []


@pytest.mark.parametrize("when", ["get nodes/*", "watch nodes/*"])
def test_who_may_not_watch_is_told_so_at_once(quick: Bench, when: str) -> None:
    quick.server.fail(when, faults.fails(403, "no"), times=100)
    with pytest.raises(ForbiddenError):
        list(quick.cluster.watch(NODE, 60))


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"[]",
        b'{"type":"MODIFIED"}',
        b'{"type":"MODIFIED","object":[]}',
        b'{"type":"SOLD","object":{}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"titan-13"}}}',
        b" " * (transport.LONGEST_LINE + (1 << 20)),
    ],
    ids="html list nothing no-object unknown part endless".split(),
)
def test_a_watch_of_nonsense_ends_in_a_line(quick: Bench, line: bytes) -> None:
    quick.server.fail("watch nodes/*", faults.watch_says(line), times=100)
    with pytest.raises(SourceError) as raised:
        list(quick.cluster.watch(NODE, 60))
    said(quick, raised.value)
    assert not isinstance(raised.value, UnreachableError)


def test_the_node_of_another_name_is_nobodys_business(quick: Bench) -> None:
    watch = quick.cluster.watch(NODE, 60)
    next(watch)
    other = b'{"type":"DELETED","object":{"metadata":{"name":"titan-14"}}}'
    quick.server.fail("watch nodes/*", faults.watch_says(other))
    quick.server.put(kube.node(NODE, ready="False"))
    assert ready(next(watch)) == "False"
