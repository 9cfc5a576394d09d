"""What would keep a node from its cluster, or let it found one of its own, found before there is a card."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..inventory.formats import absolute_path
from ..inventory.k3s_flags import AGENT, CRITICAL, SERVER
from ..model import Fault, ResolvedNode, Settings
from ..wording import shown
from . import k3s_state, node_object
from .k3s import kubelet_args
from .links import links

_EXAMPLE = "such as https://192.0.2.1:6443"
_OF_KUBERNETES = re.compile(r"(^|\.)(kubernetes|k8s)\.io$")
_OF_KUBELETS = re.compile(r"(^|\.)(kubelet|node)\.kubernetes\.io$")
_OF_CONDITIONS = "node.kubernetes.io/"
_KUBELET_MAY_SET = frozenset(
    "beta.kubernetes.io/arch beta.kubernetes.io/instance-type beta.kubernetes.io/os "
    "failure-domain.beta.kubernetes.io/region failure-domain.beta.kubernetes.io/zone "
    "kubernetes.io/arch kubernetes.io/hostname kubernetes.io/os topology.kubernetes.io/region "
    "topology.kubernetes.io/zone".split()
)
# As wharfie's pkg/tarfile reads them, and lists of names to pull (k3s's pkg/agent/containerd).
_IMAGES = (".tar", ".tar.bz2", ".tar.gz", ".tar.lz4", ".tar.zst", ".tbz", ".tgz", ".tzst", ".txt")
# The guard reads it out of config.yaml, and paths of entries are made of it.
_FOLDER = re.compile(r"[A-Za-z0-9/._-]+")
_PERCENT = 100
_FEWEST_LOG_FILES = 2


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Everything that k3s or the kubelet would only say on the node, if at all."""
    k3s = node.settings.get("k3s")
    if k3s is None:
        return
    role = k3s.get("role")
    if role is None:
        yield "k3s.role", "missing, expected one of agent, server and none"
    yield from _labels(k3s)
    yield from _taints(k3s)
    yield from node_object.check(node)
    if role in {"agent", "server"}:
        yield from _peer(node, k3s)
        yield from _restore(node, k3s)
        yield from _flags(node, k3s)
        yield from _family(node)
        yield from _limits(k3s)
        yield from _images(node)


# -------------------------------------------------------------------------------------- the cluster


def _peer(node: ResolvedNode, k3s: Settings) -> Iterator[Fault]:
    server, datastore = k3s.get("server"), k3s_state.datastore(node)
    if k3s["role"] == "agent":
        if server is None:
            yield "k3s.server", f"missing, an agent needs the address of a server, {_EXAMPLE}"
    elif datastore == "etcd" and server is None:
        text = f"missing, a server needs that of another, {_EXAMPLE}, or it founds a cluster of its own"
        yield "k3s.server", text
    elif datastore == "sqlite" and server is not None:
        yield "k3s.server", "expected none, as a cluster with k3s.datastore: sqlite has one server"
    if server is not None and _host(server) in _own_names(node):
        yield "k3s.server", f"expected another machine than the node itself, found {shown(server)}"


def _host(url: str) -> str:
    """The host of an address; one that is a number in its usual spelling."""
    host = urlsplit(url).hostname or ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _own_names(node: ResolvedNode) -> set[str]:
    """What the node may be called in an address."""
    name = node.hostname.lower()
    names = {"localhost", "127.0.0.1", "127.0.1.1", "::1", name}
    for link in links(node.settings.get("network", {})):
        names |= {f"{name}.{domain.lower()}" for domain in link.listed("search")}
        if "address" in link.settings:
            names.add(str(ipaddress.ip_interface(link.settings["address"]).ip))
    return names


def _family(node: ResolvedNode) -> Iterator[Fault]:
    """A node's address of a family that its cluster's networks have not (pkg/cli/server/server.go of k3s)."""
    ranges = str(node.cluster.get("k3s", {}).get("flags", {}).get("cluster-cidr", "10.42.0.0/16"))
    try:
        versions = {ipaddress.ip_network(each.strip(), strict=False).version for each in ranges.split(",")}
        address = ipaddress.ip_interface(node.settings.get("network", {}).get("address", ""))
    except ValueError:
        return
    if address.version not in versions and "node-ip" not in k3s_state.flags(node):
        text = f"k3s needs one of cluster-cidr's family ({ranges}), found {address.ip}: set k3s.flags.node-ip"
        yield "network.address", text


def _restore(node: ResolvedNode, k3s: Settings) -> Iterator[Fault]:
    lone_server = k3s["role"] == "server" and k3s_state.datastore(node) == "sqlite"
    if lone_server and "restore" not in k3s:
        text = "missing, expected database and sha256: without its database the only server cannot come back"
        yield "k3s.restore", text
    if not lone_server and "restore" in k3s:
        text = "expected none, as only the server of a cluster with k3s.datastore: sqlite has one"
        yield "k3s.restore", text


# ---------------------------------------------------------------------------------- labels and taints


def _labels(k3s: Settings) -> Iterator[Fault]:
    labels, api_labels = k3s.get("labels", {}), k3s.get("api_labels", {})
    for key in labels:
        if key in api_labels:
            yield f"k3s.labels.{key}", "expected either here or under k3s.api_labels, found in both"
        elif not kubelet_may_set(key):
            yield f"k3s.labels.{key}", "the kubelet refuses to start with it: put it under k3s.api_labels"


def kubelet_may_set(key: str) -> bool:
    """Whether a node may give itself a label of this name.

    Source: IsKubeletLabel in Kubernetes' staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go. What
    NodeRestriction keeps for administrators (node-restriction.kubernetes.io) is none of these.
    """
    domain = key.rpartition("/")[0]
    if not _OF_KUBERNETES.search(domain):
        return True
    return key in _KUBELET_MAY_SET or bool(_OF_KUBELETS.search(domain))


def _taints(k3s: Settings) -> Iterator[Fault]:
    taints = [taint.rpartition(":") for taint in k3s.get("taints", ())]
    pairs = Counter((pair.partition("=")[0], effect) for pair, _, effect in taints)
    for key in dict.fromkeys(key for key, _ in pairs if key.startswith(_OF_CONDITIONS)):
        yield (
            "k3s.taints",
            f"expected none of {_OF_CONDITIONS}, which Kubernetes itself sets and removes, found {key}",
        )
    for key, effect in (pair for pair, count in pairs.items() if count > 1):
        yield "k3s.taints", f"expected one taint of a key and effect, found several of {key} with {effect}"


# ------------------------------------------------------------------------------------------- options


def _flags(node: ResolvedNode, k3s: Settings) -> Iterator[Fault]:
    own = k3s.get("flags", {})
    for key in own:
        if k3s["role"] == "server" and key in CRITICAL:
            yield f"k3s.flags.{key}", "all servers must agree on it: set it in cluster.yaml, and nowhere else"
        elif key not in (SERVER if k3s["role"] == "server" else AGENT):
            other = "an agent" if k3s["role"] == "server" else "a server"
            yield f"k3s.flags.{key}", f"only {other} has this option: leave it out here"
    folder = k3s_state.data_dir(node)
    if not _is_plain_folder(folder):
        yield (
            "k3s.flags.data-dir",
            f"expected an absolute path of letters, digits and /._-, found {shown(folder)}",
        )
    if "registries" in k3s and "private-registry" in own:
        yield (
            "k3s.flags.private-registry",
            "k3s would read that file in place of k3s.registries: leave one out",
        )


def _is_plain_folder(path: str) -> bool:
    try:
        absolute_path(path)
    except ValueError:
        return False
    return bool(_FOLDER.fullmatch(path))


def _limits(k3s: Settings) -> Iterator[Fault]:
    args = kubelet_args(k3s)
    low, high = args["image-gc-low-threshold"], args["image-gc-high-threshold"]
    if not 0 <= _number(low) < _number(high) <= _PERCENT:
        own = "low" if "image-gc-low-threshold" in k3s.get("kubelet_args", {}) else "high"
        text = f"expected a percentage, low below high, found {shown(low)} and {shown(high)}"
        yield f"k3s.kubelet_args.image-gc-{own}-threshold", text
    files = args["container-log-max-files"]
    if _number(files) < _FEWEST_LOG_FILES:
        yield "k3s.kubelet_args.container-log-max-files", f"expected a number from 2 on, found {shown(files)}"


def _number(value: object) -> int:
    """A whole number as the kubelet reads it, or -1."""
    text = str(value)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else -1


def _images(node: ResolvedNode) -> Iterator[Fault]:
    folder = f"{k3s_state.data_dir(node)}/agent/images/"
    for file in node.klass.files:
        if file.path.startswith(folder) and not file.path.endswith(_IMAGES):
            name = shown(posixpath.basename(file.path))
            yield "files", f"expected images for k3s to end with one of {', '.join(_IMAGES)}, found {name}"
