"""The cluster behind a kubeconfig or the account of a pod, by Kubernetes' own REST paths.

A change bears to be asked for twice: each names the object's uid, and all but server-side apply, which gives
the same whenever it is done, the version that was looked at too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from ..errors import SourceError, UsageError
from ..wording import shown
from . import objects
from .asking import got, listed, read, whole
from .kubeconfig import ACCOUNT, access
from .membership import REMOVE
from .port import (
    FIELD_MANAGER,
    TAINTS_ANNOTATION,
    BootstrapToken,
    ChangedError,
    Cluster,
    Handle,
    Node,
    NodePassword,
    Taint,
    Warned,
)
from .transport import Reply, Transport, Value
from .watching import watched

_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SYSTEM = "/api/v1/namespaces/kube-system"
_EVENTS = "/api/v1/namespaces/default/events"
"""Where those of nodes are, which are in no namespace themselves."""
_NODES = "/api/v1/nodes"
_Read = TypeVar("_Read")


def connected(environment: Mapping[str, str], account: Path = ACCOUNT) -> Cluster | None:
    """The cluster that the environment says, or None where it says none; it is not asked yet.

    Raises UsageError and RefusedError as `access` does.
    """
    found = access(environment, account)
    return None if found is None else KubernetesCluster(Transport(found))


class KubernetesCluster:
    """The port, by requests to an API server."""

    def __init__(self, transport: Transport) -> None:
        self.name = transport.name
        self._transport = transport

    # ------------------------------------------------------------------------------------- reading

    def nodes(self) -> tuple[Node, ...]:
        """All nodes, by name."""
        found = [self._read(objects.node, item, "a node") for item in listed(self._transport, _NODES, {})]
        return tuple(sorted(found, key=lambda node: node.name))

    def node(self, name: str) -> Node | None:
        """A node by its name."""
        item = self._got(f"{_NODES}/{_named(name)}")
        return None if item is None else self._read(objects.node, item, f"the node {name}")

    def warnings(self, node: str) -> tuple[Warned, ...]:
        """What events warn of, the newest first."""
        fields = f"involvedObject.kind=Node,involvedObject.name={_named(node)},type=Warning"
        items = listed(self._transport, _EVENTS, {"fieldSelector": fields})
        found = [self._read(objects.warned, item, "an event") for item in items]
        return tuple(sorted(found, key=lambda each: each.at.timestamp() if each.at else 0.0, reverse=True))

    def node_password(self, node: str) -> NodePassword | None:
        """What is known of an agent's password."""
        item = self._got(_password_path(node))
        return None if item is None else self._read(objects.node_password, item, "a node password")

    def bootstrap_token(self, token_id: str) -> BootstrapToken | None:
        """A token by the part before its dot."""
        item = self._got(f"{_SYSTEM}/secrets/bootstrap-token-{_named(token_id)}")
        if item is None:
            return None
        return self._read(lambda each: objects.bootstrap_token(each, token_id), item, "a bootstrap token")

    def ca_bundle(self) -> bytes:
        """What kube-root-ca.crt has in kube-system, which Kubernetes puts into each namespace."""
        path = f"{_SYSTEM}/configmaps/kube-root-ca.crt"
        item = self._got(path)
        if item is None:
            what = f"{self.name} has no kube-root-ca.crt in kube-system"
            raise SourceError(what, "see whether its kube-controller-manager runs")
        return self._read(objects.ca_bundle, item, "a kube-root-ca.crt")

    # ------------------------------------------------------------------------------------ changing

    def delete_node_password(self, node: str, handle: Handle) -> None:
        """Delete that one Secret."""
        meant = {"uid": handle.uid, "resourceVersion": handle.version}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": meant}
        reply = self._transport.ask("DELETE", _password_path(node), body=body)
        if not self._is_changed(reply, f"DELETE {_password_path(node)}"):
            return
        now = self.node_password(node) if reply.repeated else None
        if not reply.repeated or (now is not None and now.handle.uid == handle.uid):
            raise self._changed(f"the node password of {node}")

    def mark_member_for_removal(self, node: Node) -> None:
        """Set the annotation that k3s waits for."""
        metadata = {**_meant(node), "annotations": {REMOVE: "true"}}
        self._merged(node, {"metadata": metadata}, lambda now: now.annotations.get(REMOVE) == "true")

    def apply(self, node: Node, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Node:
        """Apply on the server, with force: what others have set otherwise becomes ours."""
        metadata: dict[str, object] = {"name": node.name, "uid": node.handle.uid}
        metadata |= {"labels": dict(labels)} if labels else {}  # an empty map would be a field to own
        metadata |= {"annotations": dict(annotations)} if annotations else {}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        return self._patched(node, body, _APPLY, {"force": "true"}, lambda _: False)

    def replace_taints(self, node: Node, taints: tuple[Taint, ...], remembered: str | None) -> Node:
        """One merge patch for the taints and the annotation that tells of them."""
        before = self._got(f"{_NODES}/{_named(node.name)}")
        if before is None or self._read(objects.handle, before, "a node") != node.handle:
            raise self._changed(f"the node {node.name}")
        there = {self._read(objects.taint, each, "a taint"): each for each in objects.taints(before)}
        body = {
            "metadata": {**_meant(node), "annotations": {TAINTS_ANNOTATION: remembered}},
            # What a taint has beside, as the time since which it drives pods away, stays.
            "spec": {"taints": [there.get(taint) or _as_json(taint) for taint in taints] or None},
        }
        return self._merged(
            node,
            body,
            lambda now: now.taints == taints and now.annotations.get(TAINTS_ANNOTATION) == remembered,
        )

    def watch(self, name: str, seconds: float) -> Iterator[Node | None]:
        """A node now and each time that it is otherwise."""
        return watched(self._transport, _named(name), seconds)

    # --------------------------------------------------------------------------------------- parts

    def _got(self, path: str) -> Value | None:
        return got(self._transport, path)

    def _merged(self, node: Node, body: Value, is_done: Callable[[Node], bool]) -> Node:
        return self._patched(node, body, _MERGE, {}, is_done)

    def _patched(
        self, node: Node, body: Value, kind: str, query: Mapping[str, str], is_done: Callable[[Node], bool]
    ) -> Node:
        """The node after a patch; `is_done` tells of what an earlier try did whose answer was lost."""
        path = f"{_NODES}/{_named(node.name)}"
        reply = self._transport.ask("PATCH", path, {"fieldManager": FIELD_MANAGER, **query}, body, kind)
        if not self._is_changed(reply, f"PATCH {path}"):
            return self._read(objects.node, reply.value, f"the node {node.name}")
        now = self.node(node.name) if reply.repeated else None
        if now is None or now.handle.uid != node.handle.uid or not is_done(now):
            raise self._changed(f"the node {node.name}")
        return now

    def _is_changed(self, reply: Reply, about: str) -> bool:
        """Whether a change was refused as the object is another; raises SourceError for other refusals."""
        if reply.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT} or _is_of_another(reply):
            return True
        whole(self._transport, reply, about)
        return False

    def _changed(self, what: str) -> ChangedError:
        hint = "nothing was changed: look again"
        return ChangedError(f"{self.name}: {what} is not as it was any more", hint)

    def _read(self, parse: Callable[[Value], _Read], item: Value, what: str) -> _Read:
        return read(self._transport, parse, item, what)


def _is_of_another(reply: Reply) -> bool:
    """Whether a patch was refused for its uid: to change one is invalid (ValidateObjectMetaUpdate)."""
    if reply.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return False
    details = reply.value.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    each = causes if isinstance(causes, list) else []
    return any(isinstance(cause, dict) and cause.get("field") == "metadata.uid" for cause in each)


def _meant(node: Node) -> dict[str, str]:
    return {"uid": node.handle.uid, "resourceVersion": node.handle.version}


def _as_json(taint: Taint) -> Value:
    return {"key": taint.key, **({"value": taint.value} if taint.value else {}), "effect": taint.effect}


def _named(name: str) -> str:
    """A name as it may stand in a path or a selector."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{shown(name)} is no name that a cluster could know", "give the name of a node")
    return name


def _password_path(node: str) -> str:
    return f"{_SYSTEM}/secrets/{_named(node).lower()}.node-password.k3s"
