"""The stand-in API server does to the real client what Kubernetes would: what other tests lean on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from kubernetes import client, config

from tests.support import apiserver_fields as fields
from tests.support import kube
from tests.support.apiserver import ApiServer, api_server

APPLY = {"field_manager": "metis", "_content_type": "application/apply-patch+yaml"}
MERGE = {"field_manager": "kubectl-label", "_content_type": "application/merge-patch+json"}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as server:
        server.put(kube.node("titan-13", labels={"a": "1"}))
        yield server


@pytest.fixture
def api(server: ApiServer, tmp_path: Path) -> Iterator[Any]:
    settings = client.Configuration()
    config.load_kube_config(str(server.kubeconfig(tmp_path)), client_configuration=settings)
    with client.ApiClient(settings) as connection:
        yield client.CoreV1Api(connection)


def refusal(raised: pytest.ExceptionInfo[client.ApiException]) -> tuple[int, str]:
    body = told(raised)
    assert (body["kind"], body["status"], body["code"]) == ("Status", "Failure", raised.value.status)
    return body["code"], body["message"]


def told(raised: pytest.ExceptionInfo[client.ApiException]) -> Any:
    return json.loads(raised.value.body or "")


def labels(**found: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "titan-13", "labels": found}}


def managers(node: Any) -> set[tuple[str, str]]:
    return {(each.manager, each.operation) for each in node.metadata.managed_fields}


def test_applying_what_others_have_otherwise_is_a_conflict_unless_it_is_forced(api: Any) -> None:
    with pytest.raises(client.ApiException) as raised:
        api.patch_node("titan-13", labels(a="2"), **APPLY)
    assert refusal(raised) == (
        409,
        'Apply failed with 1 conflict: conflict with "k3s" using v1: .metadata.labels.a',
    )
    assert api.patch_node("titan-13", labels(a="2"), force=True, **APPLY).metadata.labels["a"] == "2"


def test_what_two_have_alike_is_of_both_and_stays_when_one_drops_it(api: Any) -> None:
    api.patch_node("titan-13", labels(a="1", b="1"), **APPLY)
    node = api.patch_node("titan-13", labels(c="1"), **APPLY)
    assert (node.metadata.labels["a"], node.metadata.labels["c"]) == ("1", "1")
    assert "b" not in node.metadata.labels


def test_who_patches_a_field_owns_it_alone(api: Any) -> None:
    api.patch_node("titan-13", labels(b="1"), **APPLY)
    node = api.patch_node("titan-13", {"metadata": {"labels": {"b": "2"}}}, **MERGE)
    assert ("kubectl-label", "Update") in managers(node)
    assert ("metis", "Apply") not in managers(node)


def test_a_patch_that_changes_nothing_makes_no_version(api: Any, server: ApiServer) -> None:
    before = server.get("Node", "titan-13")
    api.patch_node("titan-13", {"metadata": {"labels": {"a": "1"}}}, **MERGE)
    assert server.get("Node", "titan-13") == before
    assert not server.changes


@pytest.mark.parametrize("kind", [APPLY, MERGE], ids=["apply", "merge"])
def test_a_patch_for_another_uid_is_invalid(api: Any, kind: dict[str, str]) -> None:
    with pytest.raises(client.ApiException) as raised:
        api.patch_node("titan-13", {**labels(a="1"), "metadata": {"uid": "other"}}, **kind)
    assert refusal(raised)[0] == 422
    assert told(raised)["details"]["causes"][0]["field"] == "metadata.uid"


def test_a_patch_of_an_older_state_is_a_conflict(api: Any, server: ApiServer) -> None:
    body = {"metadata": {"resourceVersion": "1", "labels": {"a": "2"}}}
    with pytest.raises(client.ApiException) as raised:
        api.patch_node("titan-13", body, **MERGE)
    assert refusal(raised)[0] == 409
    assert server.get("Node", "titan-13")["metadata"]["labels"]["a"] == "1"


def test_what_is_selected_by_a_field_that_is_none_is_refused(api: Any) -> None:
    with pytest.raises(client.ApiException) as raised:
        api.list_node(field_selector="status.phase=Ready")
    assert refusal(raised) == (400, "field label not supported: status.phase")


def test_only_what_is_granted_is_allowed(api: Any, server: ApiServer, tmp_path: Path) -> None:
    role = tmp_path / "role.yaml"
    rules = '[{apiGroups: [""], resources: [nodes], verbs: [get, watch]}]'
    role.write_text(f"kind: ClusterRole\nmetadata: {{name: looks}}\nrules: {rules}\n")
    server.grant(role)
    assert api.read_node("titan-13").metadata.name == "titan-13"
    with pytest.raises(client.ApiException) as raised:
        api.patch_node("titan-13", {"metadata": {"labels": {"a": "2"}}}, **MERGE)
    what = 'nodes "titan-13" is forbidden: User "metis" cannot patch resource "nodes"'
    assert refusal(raised) == (403, f'{what} in API group "" at the cluster scope')
    with pytest.raises(client.ApiException) as raised:
        api.read_namespaced_secret("one", "kube-system")
    assert refusal(raised)[1].endswith('in the namespace "kube-system"')
    assert not server.changes


# ------------------------------------------------------------------------------------ fields, in general

texts = some.dictionaries(some.sampled_from("abcd"), some.sampled_from("123"), max_size=4)


def item(found: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "x", **({"labels": found} if found else {})}}


@given(
    start=texts,
    steps=some.lists(some.tuples(some.sampled_from(["k3s", "metis", "kubectl"]), texts), max_size=6),
)
def test_what_is_applied_is_there_and_what_nobody_holds_is_not(
    start: dict[str, str], steps: list[tuple[str, dict[str, str]]]
) -> None:
    live = item(start)
    fields.updated(None, live, "creator", "t")
    for manager, wanted in steps:
        fields.apply_to(live, item(wanted), manager, "t")
        now = live["metadata"].get("labels", {})
        assert wanted.items() <= now.items()
        held = {path[-1] for paths in fields.owners_of(live).values() for path in paths}
        assert now.keys() <= held
        assert not fields.conflicts(live, item(wanted), manager)


@given(before=texts, after=texts)
def test_who_changes_a_field_holds_it(before: dict[str, str], after: dict[str, str]) -> None:
    old, new = item(before), item(after)
    fields.updated(None, old, "first", "t")
    fields.updated(old, new, "second", "t")
    changed = {key for key, value in after.items() if before.get(key) != value}
    owners = fields.owners_of(new)
    assert {path[-1] for path in owners.get(("second", "Update", ""), set())} - {"."} == changed
