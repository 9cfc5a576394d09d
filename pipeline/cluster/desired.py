"""What the inventory wants of a node's object in the cluster, beyond what its kubelet says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..model import ResolvedNode
from ..render.node_object import api_annotations
from .port import Taint


@dataclass(frozen=True, slots=True)
class Desired:
    """Labels, annotations and taints that are to be there; others are none of our business."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[Taint, ...]


def name_in_cluster(node: ResolvedNode) -> str:
    """What the cluster calls a node: kubelets write their names in lower case (nodeutil.GetHostname)."""
    return node.hostname.lower()


def desired(node: ResolvedNode) -> Desired:
    """What a node is to have. Taints are on the card too, but count there only for a node that is new."""
    k3s = node.settings.get("k3s", {})
    taints = tuple(map(Taint.parse, k3s.get("taints", ())))
    return Desired(dict(k3s.get("api_labels", {})), api_annotations(node), taints)
