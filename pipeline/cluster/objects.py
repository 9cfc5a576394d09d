"""What the API says of its objects, in the words of the port. Pure.

All of it is a stranger's word: what is of another type than Kubernetes would send raises ValueError, which
names the field and never its value; texts may hold what a terminal would obey. The fields are those of
kubernetes.io/docs/reference/kubernetes-api.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ..errors import cut
from ..secret import Secret
from .port import FIELD_MANAGER, BootstrapToken, Handle, Node, NodePassword, Status, Taint, Warned

LONGEST = 1000
"""Characters of a text that is shown; events and conditions may have more."""
_STATUSES: Mapping[str, Status] = {"True": "True", "False": "False", "Unknown": "Unknown"}
_TOKEN = "bootstrap.kubernetes.io/token"  # noqa: S105 - a type of Secrets
_GROUPS = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_HASH, _CERTIFICATES = "hash", "ca.crt"
_CONTAINERD = "containerd://"
_Map = Mapping[str, Any]


def handle(item: _Map) -> Handle:
    """Which object it is, in which state."""
    metadata = _map(item, "metadata")
    return Handle(_needed(metadata, "uid"), _needed(metadata, "resourceVersion"))


def name(item: _Map) -> str:
    """What an object is called."""
    return _needed(_map(item, "metadata"), "name")


def node(item: _Map) -> Node:
    """A Node."""
    metadata, status = _map(item, "metadata"), _map(item, "status")
    about = _map(status, "nodeInfo")
    ready = next((each for each in _maps(status, "conditions") if _text(each, "type") == "Ready"), {})
    created = _time(metadata, "creationTimestamp")
    if created is None:
        raise ValueError("creationTimestamp")
    return Node(
        name=_needed(metadata, "name"),
        handle=handle(item),
        created=created,
        ready=_STATUSES.get(_text(ready, "status"), "Unknown"),
        since=_time(ready, "lastTransitionTime"),
        heard=_time(ready, "lastHeartbeatTime"),
        reason=cut(": ".join(filter(None, (_text(ready, "reason"), _text(ready, "message")))), LONGEST),
        addresses=tuple(
            _text(each, "address")
            for each in _maps(status, "addresses")
            if _text(each, "type") in {"InternalIP", "ExternalIP"}
        ),
        labels=_texts(metadata, "labels"),
        annotations=_texts(metadata, "annotations"),
        taints=tuple(map(taint, taints(item))),
        versions=MappingProxyType(dict(_versions(about))),
        arch=_text(about, "architecture"),
        machine_id=_text(about, "machineID"),
        applied_labels=frozenset(_applied(metadata, "f:labels")),
        applied_annotations=frozenset(_applied(metadata, "f:annotations")),
    )


def taints(item: _Map) -> tuple[_Map, ...]:
    """The taints of a Node as they are, with what they have beside."""
    return tuple(_maps(_map(item, "spec"), "taints"))


def taint(item: _Map) -> Taint:
    """One taint; what else it has, as the time of NoExecute, is left out."""
    return Taint(_needed(item, "key"), _text(item, "value"), _needed(item, "effect"))


def _versions(about: _Map) -> Iterator[tuple[str, str]]:
    """As `targets` and the sentinel have them: containerd with the v of its module in Go, which CRI omits."""
    for named, key in (("k3s", "kubeletVersion"), ("kernel", "kernelVersion")):
        if version := _text(about, key):
            yield named, version
    runtime = _text(about, "containerRuntimeVersion")
    if version := runtime.removeprefix(_CONTAINERD) if runtime.startswith(_CONTAINERD) else "":
        yield "containerd", f"v{version}" if version[0].isdigit() else version


def _applied(metadata: _Map, kind: str) -> Iterator[str]:
    """The keys that our manager is on record for by server-side apply (FieldsV1 of meta/v1)."""
    for entry in _maps(metadata, "managedFields"):
        if (_text(entry, "manager"), _text(entry, "operation")) == (FIELD_MANAGER, "Apply"):
            owned = _map(_map(_map(entry, "fieldsV1"), "f:metadata"), kind)
            yield from (key.removeprefix("f:") for key in owned if key.startswith("f:"))


# ------------------------------------------------------------------------------------------ events


def warned(item: _Map) -> Warned:
    """An Event of either API: newer ones count in `series`, and have no last time but that and their own."""
    series = _map(item, "series")
    at = next(filter(None, _times(item, series)), None)
    count = series.get("count") or item.get("count") or 1
    if type(count) is not int or count < 1:
        raise ValueError("count")
    return Warned(at, cut(_text(item, "reason"), LONGEST), cut(_text(item, "message"), LONGEST), count)


def _times(item: _Map, series: _Map) -> Iterator[datetime | None]:
    yield _time(series, "lastObservedTime")
    for key in ("lastTimestamp", "eventTime", "firstTimestamp"):
        yield _time(item, key)


# ----------------------------------------------------------------------------------------- secrets


def node_password(item: _Map) -> NodePassword:
    """A Secret of k3s with a node's password, hashed (`pkg/nodepassword/nodepassword.go` of k3s)."""
    return NodePassword(handle(item), Secret(_data(item, _HASH)))


def bootstrap_token(item: _Map, token_id: str) -> BootstrapToken:
    """A bootstrap token (`plugin/pkg/auth/authenticator/token/bootstrap/bootstrap.go` of Kubernetes).

    It lets in where its Secret is of that type and not being deleted, names its own id, may be used for
    authentication, and has no groups but `system:bootstrappers:…`. Which of those does not matter: k3s takes
    nodes from `system:bootstrappers`, where each token is (`pkg/server/handlers/router.go`).
    A time that cannot be read is as good as over, there and here.
    """
    groups = _data(item, "auth-extra-groups", needed=False)
    is_for_joining = (
        _text(item, "type") == _TOKEN
        and not _map(item, "metadata").get("deletionTimestamp")
        and _data(item, "token-id", needed=False) == token_id
        and _data(item, "usage-bootstrap-authentication", needed=False) == "true"
        and (not groups or all(map(_GROUPS.fullmatch, groups.split(","))))
    )
    until = _data(item, "expiration", needed=False)
    try:
        expires = _moment(until) if until else None
    except ValueError:
        expires = datetime.min.replace(tzinfo=UTC)
    return BootstrapToken(Secret(_data(item, "token-secret")), expires, is_for_joining)


def _data(item: _Map, key: str, *, needed: bool = True) -> str:
    """A text of a Secret's `data`, which the API has in base64."""
    packed = _text(_map(item, "data"), key)
    try:
        text = base64.b64decode(packed, validate=True).decode()
    except ValueError:
        raise ValueError(key) from None  # the cause would show it
    if needed and not text:
        raise ValueError(key)
    return text


def ca_bundle(item: _Map) -> bytes:
    """The certificates in a ConfigMap kube-root-ca.crt (its controller is in kube-controller-manager)."""
    return _needed(_map(item, "data"), _CERTIFICATES).encode()


# ------------------------------------------------------------------------------------------- values


def _map(item: _Map, key: str) -> _Map:
    value = item.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(key)
    return value


def _maps(item: _Map, key: str) -> Iterator[_Map]:
    value = item.get(key)
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError(key)
    yield from value


def _texts(item: _Map, key: str) -> Mapping[str, str]:
    value = _map(item, key)
    if not all(isinstance(each, str) for each in value.values()):
        raise ValueError(key)
    return MappingProxyType(dict(value))


def _text(item: _Map, key: str) -> str:
    value = item.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(key)
    return value


def _needed(item: _Map, key: str) -> str:
    value = _text(item, key)
    if not value:
        raise ValueError(key)
    return value


def _time(item: _Map, key: str) -> datetime | None:
    """A time of the API (RFC 3339), None where there is none."""
    text = _text(item, key)
    try:
        return _moment(text) if text else None
    except ValueError:
        raise ValueError(key) from None


def _moment(text: str) -> datetime:
    """A time with its zone, as UTC; raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time before or after all others") from None
