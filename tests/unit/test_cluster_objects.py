"""Objects of the API in the words of the port, from whole ones as a cluster of k3s gives them."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.cluster import objects
from pipeline.cluster.port import ETCD, Handle, Taint, Warned
from tests.support import kube

PARSERS: Mapping[str, Callable[[Any], object]] = {
    "node-agent": objects.node,
    "node-server": objects.node,
    "node-password": objects.node_password,
    "bootstrap-token": lambda item: objects.bootstrap_token(item, "exampl"),
    "kube-root-ca": objects.ca_bundle,
    "event-node-not-ready": objects.warned,
    "event-node-password": objects.warned,
    "event-invalid-disk-capacity": objects.warned,
}


def stored(item: dict[str, Any]) -> dict[str, Any]:
    """An object as it is once the API has taken it."""
    item["metadata"] |= {"uid": "6b1f3c6e", "resourceVersion": "1"}
    return item


def test_an_agent_is_read() -> None:
    node = objects.node(kube.case("node-agent"))
    assert (node.name, node.handle) == (
        "titan-13",
        Handle("6b1f3c6e-2f0d-4a55-9f1e-0a1b2c3d4e13", "48213377"),
    )
    assert node.created == kube.CREATED
    assert (node.ready, node.since, node.heard) == ("True", kube.SINCE, kube.HEARD)
    assert node.reason == "KubeletReady: kubelet is posting ready status"
    assert node.addresses == ("192.0.2.13",)
    assert node.labels["hardware"] == "rpi4"
    assert node.arch == "arm64"
    assert node.machine_id == "3f1c5a0e9d7b4c2685a1f0e3d2c4b6a8"
    assert not node.is_server
    assert not node.taints


def test_a_server_is_read() -> None:
    node = objects.node(kube.case("node-server"))
    assert node.is_server
    assert node.has_etcd
    assert node.annotations["etcd.k3s.cattle.io/node-name"] == "titan-0a-1c9e44b0"


def test_versions_are_named_and_written_as_targets_and_snapshots_have_them() -> None:
    assert objects.node(kube.case("node-agent")).versions == {
        "k3s": "v1.31.4+k3s1",
        "kernel": "6.12.58-current-bcm2711",
        "containerd": "v1.7.23-k3s2",
    }


def test_what_metis_has_applied_is_told_from_what_others_have_set() -> None:
    node = objects.node(kube.case("node-agent"))
    assert node.applied_labels == {"hardware", "node-role.kubernetes.io/worker"}
    assert node.applied_annotations == {"node.longhorn.io/default-node-tags"}


@pytest.mark.parametrize("changed", [{"operation": "Update"}, {"manager": "metis2"}])
def test_what_others_or_other_operations_have_set_is_not_applied(changed: dict[str, str]) -> None:
    item = kube.case("node-agent")
    next(each for each in item["metadata"]["managedFields"] if each["manager"] == "metis").update(changed)
    assert not objects.node(item).applied_labels


def test_taints_are_read() -> None:
    taints = (Taint("dedicated", "storage", "NoSchedule"), Taint("sealed", "", "NoExecute"))
    item = stored(kube.node("titan-13", taints=taints))
    item["spec"]["taints"][1]["timeAdded"] = "2026-11-29T01:00:00Z"
    assert objects.node(item).taints == taints


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_node_that_is_not_ready_says_why(status: Any) -> None:
    node = objects.node(stored(kube.node("titan-13", ready=status)))
    assert node.ready == status
    assert node.reason.startswith(("KubeletNotReady: ", "NodeStatusUnknown: "))


def test_a_node_that_has_not_said_anything_yet_is_unknown() -> None:
    item = stored(kube.node("titan-13"))
    del item["status"]["conditions"]
    node = objects.node(item)
    assert (node.ready, node.since, node.heard, node.reason) == ("Unknown", None, None, "")


def test_a_server_that_was_made_for_a_test_is_one() -> None:
    node = objects.node(stored(kube.node("titan-0b", role="server", etcd_member="titan-0b-00112233")))
    assert node.has_etcd
    assert node.annotations["etcd.k3s.cattle.io/node-name"] == "titan-0b-00112233"
    assert ETCD not in objects.node(stored(kube.node("titan-0b", role="server"))).labels


# ------------------------------------------------------------------------------------------ the rest


def test_a_node_password_is_read_and_shown_to_nobody() -> None:
    password = objects.node_password(stored(kube.password_secret("titan-13", "$1:salt:15:8:1:hash")))
    assert password.hash.reveal() == "$1:salt:15:8:1:hash"
    assert "salt" not in repr(password)


EXPIRES = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "joins"),
    [
        ({}, True),
        ({"auth_extra_groups": None}, True),
        ({"auth_extra_groups": "system:bootstrappers:kubeadm:default-node-token"}, True),
        ({"auth_extra_groups": "system:masters"}, False),
        ({"auth_extra_groups": "system:bootstrappers:ok,system:masters"}, False),
        ({"usage_bootstrap_authentication": None}, False),
        ({"usage_bootstrap_authentication": "false"}, False),
        ({"usage_bootstrap_authentication": "True"}, False),
        ({"usage_bootstrap_signing": None}, True),
        ({"token_id": "others"}, False),
        ({"token_id": None}, False),
    ],
    ids=str,
)
def test_a_bootstrap_token_lets_nodes_in_as_kubernetes_and_k3s_have_it(
    changes: dict[str, str | None], joins: bool
) -> None:
    item = kube.bootstrap_token_secret("exampl", "0123456789abcdef", EXPIRES)
    changed = kube.bootstrap_token_secret("exampl", "0123456789abcdef", EXPIRES, **changes)
    assert objects.bootstrap_token(item, "exampl").secret.reveal() == "0123456789abcdef"
    assert objects.bootstrap_token(changed, "exampl").is_for_joining is joins


@pytest.mark.parametrize(
    "change", [{"type": "Opaque"}, {"metadata": {"deletionTimestamp": "2026-11-29T02:00:00Z"}}]
)
def test_a_secret_of_another_type_or_that_goes_lets_nobody_in(change: dict[str, Any]) -> None:
    item = kube.bootstrap_token_secret("exampl", "0123456789abcdef", EXPIRES) | change
    assert not objects.bootstrap_token(item, "exampl").is_for_joining


@pytest.mark.parametrize(
    ("written", "expires"),
    [
        (None, None),
        ("2026-12-01T09:00:00Z", EXPIRES),
        ("2026-12-01T10:00:00+01:00", EXPIRES),
        ("tomorrow", datetime.min.replace(tzinfo=UTC)),
        ("2026-12-01T09:00:00", datetime.min.replace(tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_when_a_bootstrap_token_ends_is_read_and_is_over_where_it_cannot_be(
    written: str | None, expires: datetime | None
) -> None:
    item = kube.bootstrap_token_secret("exampl", "0123456789abcdef", None, expiration=written)
    assert objects.bootstrap_token(item, "exampl").expires == expires


def test_the_certificates_are_given_to_the_byte() -> None:
    assert objects.ca_bundle(kube.root_ca("-----BEGIN…\r\n\n")) == "-----BEGIN…\r\n\n".encode()


def test_an_event_is_read() -> None:
    assert objects.warned(kube.case("event-node-password")) == Warned(
        datetime(2026, 11, 29, 2, 10, 30, tzinfo=UTC),
        "NodePasswordValidationFailed",
        "Deferred node password secret validation failed: hash does not match",
        31,
    )


def test_an_event_of_the_newer_kind_is_read_by_its_series() -> None:
    item = kube.case("event-node-not-ready")
    item |= {
        "firstTimestamp": None,
        "lastTimestamp": None,
        "count": None,
        "eventTime": "2026-11-29T01:00:00.5Z",
    }
    assert objects.warned(item).at == datetime(2026, 11, 29, 1, 0, 0, 500_000, tzinfo=UTC)
    item["series"] = {"count": 7, "lastObservedTime": "2026-11-29T02:00:00.000000Z"}
    found = objects.warned(item)
    assert (found.at, found.count) == (datetime(2026, 11, 29, 2, 0, tzinfo=UTC), 7)


def test_a_message_without_end_is_cut() -> None:
    item = kube.case("event-node-not-ready") | {"message": "x" * 100_000}
    assert len(objects.warned(item).message) == objects.LONGEST


# ----------------------------------------------------------------------------------- hostile objects


@pytest.mark.parametrize(
    ("recorded", "path", "value", "field"),
    [
        ("node-agent", "metadata.name", None, "name"),
        ("node-agent", "metadata.name", "", "name"),
        ("node-agent", "metadata.uid", 7, "uid"),
        ("node-agent", "metadata.resourceVersion", None, "resourceVersion"),
        ("node-agent", "metadata.creationTimestamp", None, "creationTimestamp"),
        ("node-agent", "metadata.creationTimestamp", "yesterday", "creationTimestamp"),
        ("node-agent", "metadata.creationTimestamp", "2026-01-01T00:00:00", "creationTimestamp"),
        ("node-agent", "metadata.creationTimestamp", "9999-12-31T23:59:59-14:00", "creationTimestamp"),
        ("node-agent", "metadata.labels", ["a"], "labels"),
        ("node-agent", "metadata.labels", {"a": 1}, "labels"),
        ("node-agent", "metadata.managedFields", {"a": 1}, "managedFields"),
        ("node-agent", "spec", "x", "spec"),
        ("node-agent", "spec.taints", [{"key": "a"}], "effect"),
        ("node-agent", "spec.taints", ["a=b:NoSchedule"], "taints"),
        ("node-agent", "status.nodeInfo.kubeletVersion", ["v1"], "kubeletVersion"),
        ("node-password", "data.hash", None, "hash"),
        ("node-password", "data.hash", "§", "hash"),
        ("node-password", "data.hash", base64.b64encode(b"\xff").decode(), "hash"),
        ("bootstrap-token", "data.token-secret", None, "token-secret"),
        ("kube-root-ca", "data", None, "ca.crt"),
        ("event-node-not-ready", "count", "many", "count"),
        ("event-node-not-ready", "count", True, "count"),
        ("event-node-not-ready", "count", -1, "count"),
    ],
)
def test_what_kubernetes_would_not_send_is_refused_by_the_name_of_its_field(
    recorded: str, path: str, value: object, field: str
) -> None:
    item = kube.case(recorded)
    *way, last = path.split(".")
    inner = item
    for step in way:
        inner = inner[step]
    inner[last] = value
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its text is all that there is
        PARSERS[recorded](item)
    assert str(raised.value) == field


values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("recorded", PARSERS)
@given(data=some.data())
def test_whatever_is_put_anywhere_is_understood_or_refused(recorded: str, data: some.DataObject) -> None:
    item = copy.deepcopy(kube.case(recorded))
    inner: Any = item
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(some.sampled_from(keys))
        if not isinstance(inner[key], dict | list) or not inner[key] or data.draw(some.booleans()):
            break
        inner = inner[key]
    inner[key] = data.draw(values)
    with suppress(ValueError):
        PARSERS[recorded](item)
