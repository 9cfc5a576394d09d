"""`metis preflight --fix` makes the one change that it names, to what it looked at, and no other."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.cluster.check import RemoveMember
from pipeline.cluster.client import connected
from pipeline.errors import MetisError
from pipeline.lab import preflight as asking
from pipeline.machine.progress import QuietReporter
from tests.support.apiserver import ApiServer, api_server
from tests.support.apiserver_faults import Answer, Wire, loses_answer
from tests.support.kube import Object, password_secret
from tests.support.lab import Lab, Report
from tests.support.netns import Network
from tests.support.preflight import (
    ELSEWHERE,
    FIXING,
    LIVING,
    MEMBER,
    NOTE,
    OF_0C,
    RIGHTS,
    SECRET,
    SILENT,
    a_server,
    agent,
    declared,
    gone,
    has_secrets,
)
from tests.unit.test_node_password import hashed

OTHER = hashed("another")


@pytest.fixture
def server(server: ApiServer) -> ApiServer:
    """A cluster that both titan-13 and titan-0c are kept from, by what can be mended."""
    server.put(password_secret("titan-13", OTHER))
    server.put(gone())
    server.grant(RIGHTS, FIXING)
    return server


@pytest.fixture
def lab(tmp_path: Path, net: Network, server: ApiServer) -> Lab:
    return declared(tmp_path, net, server)


def fix(lab: Lab, name: str, *words: str) -> Report:
    report = lab.metis("preflight", "--node", name, "--fix", *words)
    assert "Traceback" not in report.err, report
    assert not has_secrets(report.out + report.err), report
    return report


@contextmanager
def k3s_removes(server: ApiServer) -> Iterator[None]:
    """Do with a Node that is marked what k3s does: take its member out, and write that down."""
    ended = threading.Event()

    def is_marked() -> bool:
        return ended.is_set() or f"{NOTE}remove" in server.get("Node", "titan-0c")["metadata"]["annotations"]

    def run() -> None:
        with server.store.changed:
            server.store.changed.wait_for(is_marked, 60)
            if not ended.is_set():
                server.put(without_member(server.get("Node", "titan-0c")))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        with server.store.changed:
            server.store.changed.notify_all()
        thread.join()


def without_member(item: Object) -> Object:
    notes = item["metadata"]["annotations"]
    notes[f"{NOTE}removed-node-name"] = notes.pop(f"{NOTE}node-name")
    del notes[f"{NOTE}node-address"]
    return item


# -------------------------------------------------------------------------------------- what it does


def test_a_password_that_is_lost_is_forgotten_by_the_cluster_too(lab: Lab, server: ApiServer) -> None:
    looked_at = server.get("Secret", SECRET, "kube-system")["metadata"]
    report = fix(lab, "titan-13", "--yes")
    assert report.code == 0, report
    (change,) = server.changes
    assert change.subject == f"delete secrets/{SECRET}"
    wanted = {"uid": looked_at["uid"], "resourceVersion": looked_at["resourceVersion"]}
    assert change.body["preconditions"] == wanted
    assert not server.has("Secret", SECRET, "kube-system")
    assert "takes the first that it is shown" in report.out
    assert f"done: delete the Secret kube-system/{SECRET}" in report.err


def test_an_old_member_is_taken_out_of_etcd(lab: Lab, server: ApiServer) -> None:
    looked_at = server.get("Node", "titan-0c")["metadata"]
    with k3s_removes(server):
        report = fix(lab, "titan-0c", "--yes")
    assert report.code == 0, report
    (change,) = server.changes
    assert change.subject == "patch nodes/titan-0c"
    assert change.body == {
        "metadata": {
            "uid": looked_at["uid"],
            "resourceVersion": looked_at["resourceVersion"],
            "annotations": {f"{NOTE}remove": "true"},
        }
    }
    assert f"k3s took {MEMBER} out of etcd" in report.out


def test_where_nothing_can_be_mended_nothing_is_changed(lab: Lab, server: ApiServer) -> None:
    server.put(agent("True"))
    server.put(password_secret("titan-13", "rubbish"))
    report = fix(lab, "titan-13", "--yes")
    assert report.code == 3, report
    assert not server.changes


# ------------------------------------------------------------------------------------- what it does not


@pytest.mark.parametrize("name", ["titan-13", "titan-0c"])
def test_nothing_is_changed_without_a_question(lab: Lab, server: ApiServer, name: str) -> None:
    report = fix(lab, name)
    assert report.code == 3, report
    assert "--fix would " in report.err
    assert "--yes" in report.err
    assert not server.changes


@pytest.mark.parametrize("name", ["titan-13", "titan-0c"])
@pytest.mark.parametrize("state", ["Ready", "not Ready by its own word", "alive", "unknown"])
def test_nothing_is_changed_while_the_node_may_be_alive(
    lab: Lab, server: ApiServer, name: str, state: str
) -> None:
    if state == "unknown":
        file = lab.inventory / f"nodes/{name}.yaml"
        file.write_text(re.sub("interface: eth0, address: [0-9./]+", "dhcp: true", file.read_text()))
    is_agent = name == "titan-13"
    silent = SILENT if is_agent else OF_0C
    ready = {"Ready": "True", "not Ready by its own word": "False"}.get(state, "Unknown")
    address = {"alive": LIVING, "unknown": ELSEWHERE}.get(state, silent)
    server.put(agent(ready, address) if is_agent else a_server("titan-0c", address, ready))
    report = fix(lab, name, "--yes")
    assert report.code == 3, report
    assert "nothing was changed: " in report.err
    assert not server.changes


def test_no_member_is_taken_out_where_the_quorum_is_lost(lab: Lab, server: ApiServer) -> None:
    server.put(a_server("titan-0b", "192.0.2.8", "Unknown"))
    report = fix(lab, "titan-0c", "--yes")
    assert report.code == 3, report
    assert not server.changes


@pytest.mark.parametrize("name", ["titan-13", "titan-0c"])
def test_who_may_only_read_changes_nothing(lab: Lab, server: ApiServer, name: str) -> None:
    server.grant(RIGHTS)
    report = fix(lab, name, "--yes")
    assert report.code == 5, report
    assert ("delete" if name == "titan-13" else "patch") in report.err
    assert not server.changes


def meanwhile(act: Callable[[], object]) -> Answer:
    """Somebody else is faster: then the request is answered as it should be."""

    def answer(wire: Wire) -> None:
        act()
        wire.answer(*wire.whole())

    return answer


def test_a_secret_that_was_made_anew_meanwhile_stays(lab: Lab, server: ApiServer) -> None:
    def another() -> None:
        server.remove("Secret", SECRET, "kube-system")
        server.put(password_secret("titan-13", OTHER))

    server.fail(f"delete secrets/{SECRET}", meanwhile(another), times=100)
    report = fix(lab, "titan-13", "--yes")
    assert report.code == 5, report
    assert server.has("Secret", SECRET, "kube-system")
    assert not server.changes


def test_a_node_that_came_back_meanwhile_keeps_its_member(lab: Lab, server: ApiServer) -> None:
    back = meanwhile(lambda: server.put(a_server("titan-0c", OF_0C)))
    server.fail("patch nodes/titan-0c", back, times=100)
    report = fix(lab, "titan-0c", "--yes")
    assert report.code == 5, report
    assert f"{NOTE}remove" not in server.get("Node", "titan-0c")["metadata"]["annotations"]
    assert not server.changes


def test_a_cluster_that_dies_meanwhile_is_told_and_a_later_run_completes(lab: Lab, server: ApiServer) -> None:
    server.fail(f"delete secrets/{SECRET}", loses_answer)
    first = fix(lab, "titan-13", "--yes")
    assert first.code in {0, 5}, first
    assert fix(lab, "titan-13", "--yes").code == 0
    assert [change.subject for change in server.changes] == [f"delete secrets/{SECRET}"]


def test_a_removal_that_k3s_does_not_do_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "REMOVED_WITHIN", 0.5)
    with api_server() as server:
        server.put(gone())
        client = connected({"KUBECONFIG": str(server.kubeconfig(tmp_path))})
        assert client is not None
        node = client.node("titan-0c")
        assert node is not None
        with pytest.raises(MetisError, match=f"k3s has not taken {MEMBER} out of etcd within 0.5 s"):
            asking.mend(client, RemoveMember(node, MEMBER), QuietReporter())
