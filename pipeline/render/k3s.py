"""How the node joins its cluster: config.yaml for k3s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..model import Directory, Entry, Fault, File, ResolvedNode, Settings
from .yaml_text import yaml_text

UNITS = {"agent": "k3s-agent.service", "server": "k3s.service"}
"""The unit of each role, as k3s's install.sh names them."""


def unit_of(node: ResolvedNode) -> str | None:
    """The unit that runs k3s on the node, or None where none does."""
    return UNITS.get(node.settings.get("k3s", {}).get("role", "none"))


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """`/etc/rancher/k3s/config.yaml`: k3s's flags without their dashes."""
    k3s = node.settings.get("k3s")
    if k3s is None or k3s["role"] == "none":
        return ()
    return (
        Directory("/etc/rancher/k3s", mode=0o755),
        File("/etc/rancher/k3s/config.yaml", (yaml_text(_config(node, k3s)),), mode=0o600),
    )


def _config(node: ResolvedNode, k3s: Settings) -> dict[str, Any]:
    config: dict[str, Any] = {"node-name": node.hostname}
    if "server" in k3s:
        config["server"] = k3s["server"]
    lists = {
        "node-label": _pairs(k3s.get("labels", {})),
        "node-taint": list(k3s.get("taints", ())),
        "kubelet-arg": _pairs(k3s.get("kubelet_args", {})),
    }
    config.update({key: values for key, values in lists.items() if values})
    if k3s["role"] == "server":
        # All servers must agree on these, so they come from one place only.
        config.update(node.cluster.get("k3s", {}).get("flags", {}))
    config.update(k3s.get("flags", {}))
    return config


def _pairs(mapping: Settings) -> list[str]:
    return [f"{key}={_scalar(value)}" for key, value in sorted(mapping.items())]


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check(node: ResolvedNode) -> Iterator[Fault]:
    """What would keep the node from joining its cluster, or let it found one of its own."""
    k3s = node.settings.get("k3s")
    if k3s is None:
        return
    if "role" not in k3s:
        yield "k3s.role", "missing, expected one of agent, server and none"
    if k3s.get("role") == "agent" and "server" not in k3s:
        yield "k3s.server", "missing, an agent needs the address of a server, such as https://192.0.2.1:6443"
    taints = [taint.rpartition(":") for taint in k3s.get("taints", ())]
    pairs = Counter((pair.partition("=")[0], effect) for pair, _, effect in taints)
    for key, effect in (pair for pair, count in pairs.items() if count > 1):
        yield "k3s.taints", f"expected one taint of a key and effect, found several of {key} with {effect}"
    yield from _critical_flags(node, k3s)


def _critical_flags(node: ResolvedNode, k3s: Settings) -> Iterator[Fault]:
    """A server with other critical flags than its cluster's does not join."""
    of_cluster = node.cluster.get("k3s", {}).get("flags", {})
    flags = k3s.get("flags", {}) if k3s.get("role") == "server" else {}
    for key in flags:
        if key in of_cluster and flags[key] != of_cluster[key]:
            text = "all servers must agree on it: change it for the cluster, or leave it out here"
            yield f"k3s.flags.{key}", text
