"""`metis reconcile` as an operator runs it, by the real client, against a stand-in for the API server.

That judges every request by the roles in deploy/, so what they do not allow fails here.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from kubernetes import client, config

from pipeline.cli import main
from pipeline.cluster.client import connected
from pipeline.cluster.port import FIELD_MANAGER, TAINTS_ANNOTATION
from pipeline.steps.burn import SAME
from tests.support.apiserver import ApiServer, api_server
from tests.support.apiserver_faults import Answer, Wire, closes, fails, watch_breaks, watch_error
from tests.support.apiserver_requests import Request
from tests.support.kube import HEARD, SINCE, event, node
from tests.support.lab import Lab

ROLES = Path(__file__).parents[2] / "deploy/kubernetes/rights/reconcile/reconcile.yaml"
NAME = "titan-13"
MACHINE_ID = node(NAME)["status"]["nodeInfo"]["machineID"]
LABELS = {"node-role.kubernetes.io/worker": "true", "hardware": "rpi4"}
RACK = {"example.org/rack": "7"}
STORAGE = {"key": "dedicated", "value": "storage", "effect": "NoSchedule"}
WHOLE: dict[str, Any] = {
    "api_labels": LABELS,
    "annotations": RACK,
    "labels": {"node.longhorn.io/create-default-disk": "config"},
    "taints": ["dedicated=storage:NoSchedule"],
}
DISK = {"uuid": "0a1b2c3d-0000-4000-8000-123456789abc", "path": "/mnt/longhorn", "tags": ["hdd"]}
LONGHORN = {"tags": ["storage"], "disks": [DISK]}
SET = [
    "label hardware=rpi4 set",
    "label node-role.kubernetes.io/worker=true set",
    "annotation example.org/rack set",
    "annotation node.longhorn.io/default-disks-config set",
    "annotation node.longhorn.io/default-node-tags set",
    "taint dedicated=storage:NoSchedule set",
]


REAL = os.environ.get("METIS_TEST_KUBECONFIG", "")
"""A cluster in which a Node may come and go, for who has one."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What was told of the node, without the line that says since when it is ready."""
        return [line.strip() for line in self.out.splitlines()[1:] if "seen " not in line]


@dataclass(frozen=True)
class Desk:
    """An operator's lab beside a cluster."""

    lab: Lab
    server: ApiServer
    _capsys: pytest.CaptureFixture[str]

    def wants(self, longhorn: dict[str, Any] | None = None, more: str = "", **k3s: Any) -> None:
        """Say in the inventory what the node is to have."""
        about = {"role": "agent", "server": "https://192.0.2.7:6443", **k3s}
        text = yaml.safe_dump({"class": "pi", "k3s": about, **({"longhorn": longhorn} if longhorn else {})})
        self.lab.write(f"nodes/{NAME}.yaml", text + more)

    def __call__(self, *words: str) -> Ended:
        self._capsys.readouterr()
        code = 0
        try:
            main(["reconcile", "--node", NAME, *words])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = self._capsys.readouterr()
        assert "canary" not in said.out + said.err
        assert "Traceback" not in said.err
        return Ended(code, said.out, said.err)

    @property
    def node(self) -> dict[str, Any]:
        return self.server.get("Node", NAME)

    @property
    def taints(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.node["spec"].get("taints", [])
        return found

    def others(self, change: Callable[[dict[str, Any]], object], manager: str = "kubectl") -> None:
        """Somebody else changes the node."""
        item = self.node
        change(item)
        self.server.put(item, manager)

    @property
    def writes(self) -> list[Request]:
        """All requests that are not for reading, whatever came of them."""
        return [each for each in self.server.requests if each.verb not in {"get", "list", "watch"}]

    def burned(self, at: str) -> None:
        """Leave the receipt of a burn that ended well."""
        about = {"node": NAME, "at": at, "verdict": SAME, "image": {"id": "ab"}}
        folder = self.lab.artifacts / "burns"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{NAME}-20261101T000000Z.json").write_text(json.dumps(about))

    @property
    def rejoins(self) -> list[tuple[str | None, ...]]:
        file = self.lab.artifacts / "history.sqlite3"
        if not file.exists():
            return []
        with closing(sqlite3.connect(file)) as opened:
            return opened.execute("SELECT node, burned_at, ready_at FROM rejoins").fetchall()


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as started:
        started.grant(ROLES)
        yield started


@pytest.fixture
def desk(
    tmp_path: Path, server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    lab = Lab(tmp_path)
    lab.write("classes/pi.yaml", "arch: arm64\nos: debian\n")
    lab.write_secrets(NAME, f"extra: {{machine_id: {MACHINE_ID}}}\n")
    for name, value in (lab.variables({}) | {"KUBECONFIG": str(server.kubeconfig(tmp_path))}).items():
        monkeypatch.setenv(name, value)
    made = Desk(lab, server, capsys)
    made.wants(LONGHORN, **WHOLE)
    server.put(node(NAME))
    return made


# -------------------------------------------------------------------------------------------- writing


def test_what_is_wanted_is_there_afterwards_and_told_a_line_each(desk: Desk) -> None:
    ended = desk()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{NAME}: ready since 2026-11-20T06:00:09Z\n")
    assert ended.lines == SET
    metadata = desk.node["metadata"]
    assert LABELS.items() <= metadata["labels"].items()
    assert metadata["annotations"]["node.longhorn.io/default-node-tags"] == '["storage"]'
    assert json.loads(metadata["annotations"]["node.longhorn.io/default-disks-config"]) == [
        {"path": "/mnt/longhorn", "allowScheduling": True, "tags": ["hdd"]}
    ]
    assert desk.taints == [STORAGE]
    ours = [each["operation"] for each in metadata["managedFields"] if each["manager"] == FIELD_MANAGER]
    assert ours == ["Apply", "Update"]


def test_the_second_run_writes_nothing(desk: Desk) -> None:
    desk()
    before = desk.node
    desk.server.requests.clear()
    ended = desk()
    assert (ended.code, ended.lines) == (0, ["nothing to change"])
    assert (desk.writes, desk.server.changes, desk.node) == ([], [], before)


def test_nothing_wanted_writes_nothing(desk: Desk) -> None:
    desk.wants()
    assert desk().lines == ["nothing to change"]
    assert desk.writes == []


OF_OTHERS = {"key": "maintenance", "effect": "NoExecute"}


def theirs(item: dict[str, Any]) -> None:
    item["metadata"]["labels"] |= {"theirs": "1"}
    item["metadata"]["annotations"] |= {"theirs": "2"}
    item["spec"]["taints"] = [*item["spec"].get("taints", []), OF_OTHERS]


@pytest.mark.parametrize("early", [True, False], ids=["before the first run", "after it"])
def test_what_somebody_else_has_set_stays(desk: Desk, early: bool) -> None:
    if early:
        desk.others(theirs)
        desk()
    else:
        desk()
        desk.others(theirs)
    desk.wants(annotations={"example.org/other": "x"})
    assert desk().code == 0
    metadata = desk.node["metadata"]
    assert (metadata["labels"]["theirs"], metadata["annotations"]["theirs"]) == ("1", "2")
    assert desk.taints == [OF_OTHERS]
    assert desk().lines == ["nothing to change"]


def test_what_is_wanted_no_more_goes(desk: Desk) -> None:
    found = desk.node
    desk()
    desk.wants()
    assert desk().lines == [
        "label hardware removed",
        "label node-role.kubernetes.io/worker removed",
        "annotation example.org/rack removed",
        "annotation node.longhorn.io/default-disks-config removed",
        "annotation node.longhorn.io/default-node-tags removed",
        "taint dedicated:NoSchedule removed",
    ]
    assert desk.node["metadata"]["labels"] == found["metadata"]["labels"]
    assert desk.node["metadata"]["annotations"] == found["metadata"]["annotations"]
    assert desk.taints == []
    assert desk().lines == ["nothing to change"]


def a_role(folder: Path, *verbs: str) -> Path:
    """A role by which these may be done with nodes."""
    rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": list(verbs)}
    file = folder / "role.yaml"
    file.write_text(yaml.safe_dump({"kind": "ClusterRole", "metadata": {"name": "x"}, "rules": [rule]}))
    return file


@pytest.fixture(params=["stand-in", *(["real"] if REAL else [])])
def anew(desk: Desk, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Node that is no machine, made and removed by somebody else, in each cluster that there is."""
    kubeconfig = REAL if request.param == "real" else str(desk.server.kubeconfig(desk.lab.root, "somebody"))
    name = f"metis-test-{uuid4().hex[:12]}"
    item: Any = node(name, labels={"theirs": "1"})
    del item["metadata"]["finalizers"]
    desk.server.grant(ROLES, a_role(desk.lab.root, "create", "delete"))
    settings = client.Configuration()
    config.load_kube_config(kubeconfig, client_configuration=settings)
    with client.ApiClient(settings) as api:
        somebody = client.CoreV1Api(api)
        somebody.create_node(item)
        monkeypatch.setenv("KUBECONFIG", kubeconfig)
        yield name
        somebody.delete_node(name)


def test_what_was_set_is_gone_once_it_is_wanted_no_more(desk: Desk, anew: str) -> None:
    cluster = connected(os.environ)
    assert cluster is not None
    key = "metis-test.example/round"
    (desk.lab.secrets / f"{NAME}.yaml").unlink()
    desk.lab.write("classes/pi.yaml", f"arch: arm64\nos: debian\nhostname: {anew}\n")
    desk.wants(api_labels={key: "1"}, annotations={key: "two\nlines"}, taints=[f"{key}:PreferNoSchedule"])
    changed = [f"label {key}=1", f"annotation {key}", f"taint {key}:PreferNoSchedule"]
    assert desk().lines[:3] == [f"{each} set" for each in changed]
    assert desk().lines[0] == "nothing to change"
    desk.wants()
    assert desk().lines[:3] == [f"{each.removesuffix('=1')} removed" for each in changed]
    found = cluster.node(anew)
    assert found is not None
    assert (found.labels["theirs"], key in found.labels, key in found.annotations) == ("1", False, False)
    assert key not in {taint.key for taint in found.taints}
    assert TAINTS_ANNOTATION not in found.annotations


def test_what_is_wanted_no_more_stays_where_metis_did_not_set_it(desk: Desk) -> None:
    """The inventory never said it, or somebody else sets it too."""
    desk.others(lambda item: item["metadata"]["labels"].update(hardware="rpi4", other="x"))
    desk()
    desk.wants()
    lines = desk().lines
    assert "label hardware=rpi4 left to others" in lines
    labels = desk.node["metadata"]["labels"]
    assert (labels["hardware"], labels["other"]) == ("rpi4", "x")
    assert desk().lines == ["nothing to change"]


def test_what_somebody_else_set_to_another_value_is_set_back(desk: Desk) -> None:
    def change(item: dict[str, Any]) -> None:
        item["metadata"]["labels"]["hardware"] = "rpi9"
        item["metadata"]["annotations"]["example.org/rack"] = "9"
        item["spec"]["taints"][0]["value"] = "nine"

    desk()
    desk.others(change)
    assert desk().lines == [
        "label hardware=rpi4 set",
        "annotation example.org/rack set",
        "taint dedicated=storage:NoSchedule set",
    ]
    assert desk().lines == ["nothing to change"]


def test_a_taint_that_the_card_brought_is_taken_over(desk: Desk) -> None:
    desk.others(lambda item: item["spec"].update(taints=[STORAGE]), "k3s")
    assert "taint dedicated=storage:NoSchedule taken over" in desk().lines
    desk.wants()
    desk()
    assert desk.taints == []


def test_a_hostile_memory_of_taints_takes_none_away(desk: Desk) -> None:
    unreachable = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}

    def change(item: dict[str, Any]) -> None:
        item["metadata"]["annotations"][TAINTS_ANNOTATION] = '["node.kubernetes.io/unreachable:NoExecute"]'
        item["spec"]["taints"] = [unreachable]

    desk.others(change)
    assert desk().code == 0
    assert desk.taints == [unreachable, STORAGE]


def test_a_dry_run_says_the_same_and_does_nothing(desk: Desk) -> None:
    before = desk.node
    ended = desk("--dry-run")
    assert (ended.code, ended.lines) == (0, SET)
    assert "--dry-run" in ended.out.splitlines()[0]
    assert (desk.writes, desk.node, desk.rejoins) == ([], before, [])


def test_json_is_for_machines(desk: Desk) -> None:
    data = json.loads(desk("--json").out)
    assert (data["node"], data["ready_since"]) == (NAME, "2026-11-20T06:00:09Z")
    assert data["changes"][0] == {"kind": "label", "name": "hardware=rpi4", "became": "set"}
    assert json.loads(desk("--json").out)["changes"] == []


# ------------------------------------------------------------------------------------------ conflicts


def interferes(desk: Desk, change: Callable[[dict[str, Any]], object]) -> Answer:
    """Somebody else is faster, and then it is answered as it should be."""

    def answer(wire: Wire) -> None:
        desk.others(change)
        wire.answer(*wire.whole())

    return answer


def is_of_taints(request: Request) -> bool:
    return request.verb == "patch" and "merge" in request.content_type


def test_a_conflict_is_tried_again_and_loses_nothing(desk: Desk) -> None:
    desk.server.fail(is_of_taints, interferes(desk, theirs), 2)
    ended = desk()
    assert (ended.code, ended.err) == (0, "")
    assert ended.lines == SET
    assert STORAGE in desk.taints
    assert OF_OTHERS in desk.taints
    assert desk.node["metadata"]["labels"]["theirs"] == "1"


def test_who_always_is_faster_wins_in_the_end(desk: Desk) -> None:
    counted = iter(range(1000))
    change = interferes(desk, lambda item: item["metadata"]["labels"].update(theirs=str(next(counted))))
    desk.server.fail(is_of_taints, change, 1000)
    ended = desk()
    assert (ended.code, ended.out) == (5, "")
    words = f"{NAME} is changed by others all the time: not all of it is written: run again"
    assert ended.err == f"metis: {words}\n"
    assert next(counted) < 20


def test_a_node_that_joins_anew_in_between_is_not_written(desk: Desk) -> None:
    def answer(wire: Wire) -> None:
        desk.server.remove("Node", NAME)
        desk.server.put(node(NAME))
        wire.answer(*wire.whole())

    desk.server.fail("patch *", answer)
    ended = desk()
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "run again" in ended.err
    assert "hardware" not in desk.node["metadata"]["labels"]


# ------------------------------------------------------------------------------------------- failures


def test_a_server_that_dies_in_the_middle_is_one_line_and_a_later_run_completes(desk: Desk) -> None:
    desk.server.fail(is_of_taints, lambda _: desk.server.stop())
    ended = desk()
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (5, "", 1)
    assert "hardware" in desk.node["metadata"]["labels"]
    assert desk.taints == []
    desk.server.start()
    assert desk().lines == ["taint dedicated=storage:NoSchedule set"]
    assert desk().lines == ["nothing to change"]


@pytest.mark.parametrize(
    ("answer", "code"), [(fails(500), 5), (fails(401), 5), (closes, 5)], ids=["500", "401", "closes"]
)
@pytest.mark.parametrize("when", ["get *", "patch *"])
def test_a_server_that_fails_is_one_line(desk: Desk, when: str, answer: Answer, code: int) -> None:
    desk.server.fail(when, answer, 1000)
    ended = desk()
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)


@pytest.mark.parametrize(("may", "right"), [((), "get"), (("get",), "patch")], ids=["nothing", "look"])
def test_who_may_not_is_told_which_right_is_missing(
    desk: Desk, tmp_path: Path, may: tuple[str, ...], right: str
) -> None:
    desk.server.grant(a_role(tmp_path, *may))
    ended = desk()
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (5, "", 1)
    assert right in ended.err
    assert "nodes" in ended.err


def test_the_role_allows_what_is_asked_and_no_more(desk: Desk) -> None:
    """Of a node that comes and is written, and of one that is waited for in vain."""
    desk.server.put(node(NAME, ready="False"))
    desk("--wait", "--timeout", "0m")
    arrives(desk, node(NAME))
    assert desk("--wait").lines == SET
    asked = {(each.resource, each.verb) for each in desk.server.requests}
    rules = [rule for each in yaml.safe_load_all(ROLES.read_text()) for rule in each.get("rules", ())]
    allowed = {(what, verb) for rule in rules for what in rule["resources"] for verb in rule["verbs"]}
    assert asked == allowed


# -------------------------------------------------------------------------------------------- waiting


def arrives(desk: Desk, *states: dict[str, Any]) -> None:
    """Once somebody watches, the node takes these states, one after another."""
    left = list(states)

    def seen(request: Request) -> bool:
        if request.verb == "watch":
            while left:
                desk.server.put(left.pop(0))
        return False

    desk.server.fail(seen, closes)


@pytest.mark.parametrize("there", [False, True], ids=["new to the cluster", "known to it"])
def test_who_waits_sees_a_node_come(desk: Desk, there: bool) -> None:
    if there:
        desk.server.put(node(NAME, ready="Unknown"))
    else:
        desk.server.remove("Node", NAME)
    later = HEARD + timedelta(minutes=1)
    arrives(desk, node(NAME, ready="False", since=HEARD, heard=HEARD), node(NAME, since=later, heard=later))
    ended = desk("--wait")
    assert (ended.code, ended.lines) == (0, SET)
    assert ended.out.startswith(f"{NAME}: ready since 2026-11-29T02:20:42Z\n")


@pytest.mark.parametrize(
    "answer", [watch_breaks(), watch_error(), fails(503), closes], ids=["breaks", "expires", "503", "closes"]
)
def test_who_waits_goes_on_through_what_passes(desk: Desk, answer: Answer) -> None:
    desk.server.put(node(NAME, ready="False"))
    desk.server.fail("watch *", answer)
    arrives(desk, node(NAME))
    assert desk("--wait").lines == SET


@pytest.mark.parametrize("state", [None, "False", "Unknown"])
def test_without_waiting_a_node_that_is_not_back_is_one_line(desk: Desk, state: Any) -> None:
    if state is None:
        desk.server.remove("Node", NAME)
    else:
        desk.server.put(node(NAME, ready=state))
    ended = desk()
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert "--wait" in ended.err
    assert ("not in the cluster yet" if state is None else "NotReady since 2026-11-20T06:00:09Z") in ended.err
    assert desk.writes == []


def test_who_waits_in_vain_is_told_what_the_cluster_complains_of(desk: Desk) -> None:
    desk.server.put(node(NAME, ready="False"))
    desk.server.put(event(NAME, "OldThing", "is old", HEARD - timedelta(hours=1)))
    desk.server.put(event(NAME, "InvalidDiskCapacity", "invalid capacity 0\x1b[2J on\nimage fs", HEARD))
    ended = desk("--wait", "--timeout", "0m")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert "cni plugin not initialized" in ended.err
    assert "InvalidDiskCapacity: invalid capacity 0\\x1b[2J on image fs" in ended.err
    assert "OldThing" not in ended.err


def test_who_may_not_see_events_is_told_of_the_node_all_the_same(desk: Desk, tmp_path: Path) -> None:
    desk.server.grant(a_role(tmp_path, "get", "watch"))
    desk.server.put(node(NAME, ready="False"))
    ended = desk("--wait", "--timeout", "0m")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "cni plugin not initialized; its events cannot be read" in ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--timeout", "5m"], "--wait"),
        (["--wait", "--timeout", "soon"], "'soon'"),
        (["--node", "x"], "no node x"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_asked(desk: Desk, words: list[str], said: str) -> None:
    ended = desk(*words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert desk.server.requests == []


# -------------------------------------------------------------------------------------- who came back


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("machineID", "f" * 32, "machine-id"),
        ("machineID", "\x1b[2J", "machine-id"),
        ("architecture", "amd64", "another architecture than its class pi"),
    ],
)
@pytest.mark.parametrize("ready", ["True", "False"])
def test_another_machine_by_the_same_name_is_not_written(
    desk: Desk, key: str, value: str, words: str, ready: Any
) -> None:
    item = node(NAME, ready=ready)
    item["status"]["nodeInfo"][key] = value
    desk.server.put(item)
    ended = desk("--wait")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (4, "", 1)
    assert words in ended.err
    assert value not in ended.err
    assert MACHINE_ID not in ended.err
    assert (desk.writes, desk.rejoins) == ([], [])


def test_secrets_that_cannot_be_read_are_not_compared(desk: Desk) -> None:
    (desk.lab.secrets / f"{NAME}.yaml").chmod(0o644)
    ended = desk()
    assert (ended.code, ended.lines[:-1]) == (0, SET)
    assert ended.lines[-1].startswith("machine-id not compared: ")


def test_versions_other_than_the_targets_are_told_as_drift(desk: Desk) -> None:
    desk.wants(more="targets: {k3s: v1.33.1+k3s1, kernel: 6.12.58-current-bcm2711, packages: {curl: '8'}}\n")
    assert desk().lines == [
        "nothing to change",
        f"warning  {NAME}  k3s: expected v1.33.1+k3s1, found v1.31.4+k3s1: bring it to v1.33.1+k3s1, or "
        "rebuild its image and burn it again",
    ]


@pytest.mark.parametrize("role", ["k3s: {role: none}\n", ""])
def test_a_node_of_no_cluster_needs_none(desk: Desk, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG")
    desk.lab.write(f"nodes/{NAME}.yaml", f"class: pi\n{role}")
    ended = desk()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{NAME}: it is in no cluster by its k3s.role, nothing to do\n"


def test_without_a_cluster_it_is_said_how_one_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    ended = desk()
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert "KUBECONFIG" in ended.err


def test_a_node_is_found_by_its_host_name_in_lower_case(desk: Desk) -> None:
    desk.server.remove("Node", NAME)
    desk.server.put(node("titan-xiii"))
    desk.wants(more="hostname: Titan-XIII\n", **WHOLE)
    assert desk().code == 0
    assert LABELS.items() <= desk.server.get("Node", "titan-xiii")["metadata"]["labels"].items()


def test_one_node_that_is_not_back_keeps_no_other_from_it(desk: Desk) -> None:
    desk.lab.write("nodes/titan-15.yaml", "class: pi\nk3s: {role: agent, server: 'https://192.0.2.7:6443'}\n")
    ended = desk("--node", "titan-15")
    assert (ended.code, ended.lines) == (1, SET)
    assert ended.err == "metis: titan-15 is not in the cluster yet: wait for it with --wait\n"


# ------------------------------------------------------------------------------------------- history


def test_a_return_is_kept_once_for_a_burn(desk: Desk) -> None:
    desk.burned("2026-11-20T05:00:00+00:00")
    for _ in range(2):
        ended = desk()
        assert ended.code == 0
        assert "burned 2026-11-20T05:00:00Z, seen " in ended.out
    assert desk.rejoins == [(NAME, "2026-11-20T05:00:00Z", "2026-11-20T06:00:09Z")]


def test_a_node_that_died_since_is_not_taken_for_back(desk: Desk) -> None:
    """The cluster calls it Ready for a while yet, by what it said before its card was burned."""
    desk.burned((HEARD + timedelta(seconds=10)).isoformat())
    ended = desk()
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert "not heard of since its card was burned" in ended.err
    assert (desk.writes, desk.rejoins) == ([], [])


def test_a_card_that_was_burned_for_later_is_no_return(desk: Desk) -> None:
    desk.burned((SINCE + timedelta(hours=1)).isoformat())
    assert desk().code == 0
    assert desk.rejoins == []


def test_a_node_that_is_seen_but_not_ready_is_kept_and_filled_in_later(desk: Desk) -> None:
    desk.burned("2026-11-20T05:00:00+00:00")
    desk.server.put(node(NAME, ready="False"))
    assert desk().code == 1
    assert desk.rejoins == [(NAME, "2026-11-20T05:00:00Z", None)]
    desk.server.put(node(NAME))
    assert desk().code == 0
    assert desk.rejoins == [(NAME, "2026-11-20T05:00:00Z", "2026-11-20T06:00:09Z")]
