"""Objects of a cluster that was never there, made from the whole ones in tests/cases/cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from pipeline.cluster.port import Taint

CASES = Path(__file__).parents[1] / "cases/cluster"
CREATED = datetime(2026, 2, 11, 18, 4, 31, tzinfo=UTC)
SINCE = datetime(2026, 11, 20, 6, 0, 9, tzinfo=UTC)
HEARD = datetime(2026, 11, 29, 2, 19, 42, tzinfo=UTC)
JOINING = "system:bootstrappers:k3s:default-node-token"
Object = dict[str, Any]


def case(name: str) -> Object:
    """One of the recorded objects, by its file's name."""
    read: Object = json.loads((CASES / f"{name}.json").read_text())
    return read


def node(
    name: str,
    *,
    ready: Literal["True", "False", "Unknown"] = "True",
    role: Literal["agent", "server"] = "agent",
    version: str = "v1.31.4+k3s1",
    address: str = "192.0.2.13",
    etcd_member: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    taints: Iterable[Taint] = (),
    created: datetime = CREATED,
    since: datetime = SINCE,
    heard: datetime = HEARD,
) -> Object:
    """A Node. A server has an etcd member where `etcd_member` names it, as `titan-0a-1c9e44b0`."""
    recorded = case("node-server" if role == "server" else "node-agent")
    was, address_was = recorded["metadata"]["name"], recorded["status"]["addresses"][0]["address"]
    text = json.dumps(recorded).replace(was, name).replace(address_was, address)
    made: Object = json.loads(text.replace(recorded["status"]["nodeInfo"]["kubeletVersion"], version))
    metadata = made["metadata"]
    for key in ("uid", "resourceVersion", "managedFields"):
        del metadata[key]
    metadata["creationTimestamp"] = _time(created)
    for key in ("hardware", "node-role.kubernetes.io/worker"):  # Metis has set them on the recorded one
        metadata["labels"].pop(key, None)
    metadata["annotations"].pop("node.longhorn.io/default-node-tags", None)
    if role == "server":
        _member(metadata, etcd_member, address)
    metadata["labels"].update(labels or {})
    metadata["annotations"].update(annotations or {})
    if taints := list(taints):
        made["spec"]["taints"] = [_taint(each) for each in taints]
    _ready(made["status"]["conditions"], ready, since, heard)
    return made


def _member(metadata: Object, member: str | None, address: str) -> None:
    told = {"node-name": member, "node-address": address if member else None}
    for key, value in told.items():
        metadata["annotations"].pop(f"etcd.k3s.cattle.io/{key}")
        if value:
            metadata["annotations"][f"etcd.k3s.cattle.io/{key}"] = value
    if not member:
        del metadata["labels"]["node-role.kubernetes.io/etcd"]


def _taint(taint: Taint) -> Object:
    return {"key": taint.key, **({"value": taint.value} if taint.value else {}), "effect": taint.effect}


def _ready(conditions: list[Object], ready: str, since: datetime, heard: datetime) -> None:
    said = {
        "True": ("KubeletReady", "kubelet is posting ready status"),
        "False": ("KubeletNotReady", "container runtime network not ready: cni plugin not initialized"),
        "Unknown": ("NodeStatusUnknown", "Kubelet stopped posting node status."),
    }
    for each in conditions:
        each["lastHeartbeatTime"] = _time(heard)
        if each["type"] == "Ready":
            reason, message = said[ready]
            each |= {
                "status": ready,
                "reason": reason,
                "message": message,
                "lastTransitionTime": _time(since),
            }


def password_secret(node_name: str, hashed: str) -> Object:
    """What the cluster knows a node's password by; `hashed` as k3s writes it ($1:salt:15:8:1:hash)."""
    made = _anew("node-password", f"{node_name.lower()}.node-password.k3s")
    made["metadata"]["ownerReferences"][0]["name"] = node_name
    made["data"]["hash"] = _packed(hashed)
    return made


def bootstrap_token_secret(
    token_id: str, secret: str, expires: datetime | None, /, **data: str | None
) -> Object:
    """A token that nodes join with; of `data` each replaces a key (`_` for `-`), None leaves one out."""
    made = _anew("bootstrap-token", f"bootstrap-token-{token_id}")
    wanted: dict[str, str | None] = {
        "token-id": token_id,
        "token-secret": secret,
        "expiration": _time(expires) if expires else None,
        **{key.replace("_", "-"): value for key, value in data.items()},
    }
    for key, value in wanted.items():
        made["data"].pop(key, None)
        if value is not None:
            made["data"][key] = _packed(value)
    return made


def root_ca(pem: str) -> Object:
    """Who vouches for the cluster's servers, as every namespace has it."""
    made = _anew("kube-root-ca", "kube-root-ca.crt")
    made["data"]["ca.crt"] = pem
    return made


def event(
    node_name: str,
    reason: str,
    message: str,
    at: datetime,
    type: Literal["Warning", "Normal"] = "Warning",  # noqa: A002 - as the API calls it
    count: int = 1,
) -> Object:
    """An event about a node, last seen at `at`."""
    made = _anew("event-node-not-ready", f"{node_name}.{crc32(f'{reason} {message} {at}'.encode()):016x}")
    made["involvedObject"]["name"] = node_name
    made |= {"reason": reason, "message": message, "type": type, "count": count, "lastTimestamp": _time(at)}
    return made


def _anew(recorded: str, name: str) -> Object:
    made = case(recorded)
    for key in ("uid", "resourceVersion", "managedFields"):
        made["metadata"].pop(key, None)
    made["metadata"]["name"] = name
    return made


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
