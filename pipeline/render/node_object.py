"""What is no part of a card: what only the cluster's API can say of a node, on its Node object.

Nothing here is rendered; `cluster.desired` takes it, and `metis reconcile` brings it there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from ..model import Fault, ResolvedNode

CREATE_DISKS = "node.longhorn.io/create-default-disk"
"""The label by which Longhorn asks a node for its first disks, where its setting says that it should."""
DEFAULT_DISKS = "node.longhorn.io/default-disks-config"
DEFAULT_TAGS = "node.longhorn.io/default-node-tags"
OTHERS: Mapping[str, str] = {
    "metis.io/": "Metis keeps its own record",
    "etcd.k3s.cattle.io/": "k3s keeps its members of etcd, and takes one out where it is asked to",
    "k3s.io/": "k3s keeps its own record",
}
"""Beginnings of annotations that are not an operator's to declare, and who has them for what."""
LARGEST = 256 * 1024
"""Bytes of all keys and values of an object's annotations.

Source: ValidateAnnotationsSize in apimachinery's pkg/api/validation/objectmeta.go.
"""


def api_annotations(node: ResolvedNode) -> dict[str, str]:
    """The annotations of a node: as declared, and those that Longhorn makes its disks and tags of."""
    return {**node.settings.get("k3s", {}).get("annotations", {}), **_of_longhorn(node)}


def _of_longhorn(node: ResolvedNode) -> dict[str, str]:
    """What Longhorn reads once, while the node has no disks or no tags there.

    Tags it takes from every node, disks only from those whose label says so. Source: syncDefaultDisks and
    syncDefaultNodeTags in longhorn-manager's controller/kubernetes_node_controller.go.
    """
    found: dict[str, str] = {}
    longhorn = node.settings.get("longhorn", {})
    if longhorn.get("tags"):
        found[DEFAULT_TAGS] = json.dumps(list(longhorn["tags"]))
    if longhorn.get("disks") and _asks_for_disks(node):
        found[DEFAULT_DISKS] = json.dumps(
            [
                {"path": disk["path"], "allowScheduling": True, "tags": list(disk.get("tags", ()))}
                for disk in longhorn["disks"]
            ]
        )
    return found


def _asks_for_disks(node: ResolvedNode) -> bool:
    """Whether Longhorn reads the node's disks from its annotation; it takes the word in any case."""
    k3s = node.settings.get("k3s", {})
    labels: Mapping[str, str] = {**k3s.get("labels", {}), **k3s.get("api_labels", {})}
    return labels.get(CREATE_DISKS, "").lower() == "config"


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Annotations that are not for operators to set, too many of them, and tags that nobody reads."""
    derived = _of_longhorn(node)
    for key in node.settings.get("k3s", {}).get("annotations", {}):
        domain = key.partition("/")[0] + "/"
        if domain in OTHERS:
            yield f"k3s.annotations.{key}", f"{domain} is where {OTHERS[domain]}: choose another name"
        elif key in derived:
            part = "longhorn.tags" if key == DEFAULT_TAGS else "longhorn.disks"
            yield f"k3s.annotations.{key}", f"it is made of {part}: leave it out here"
    size = sum(len(text.encode()) for pair in api_annotations(node).items() for text in pair)
    if size > LARGEST:
        yield "k3s.annotations", f"expected at most {LARGEST} bytes in all, found {size}"
    if DEFAULT_DISKS not in derived:
        for index, disk in enumerate(node.settings.get("longhorn", {}).get("disks", ())):
            if disk.get("tags"):
                text = f"Longhorn reads them only where k3s.labels has {CREATE_DISKS}: config"
                yield f"longhorn.disks[{index}].tags", text
