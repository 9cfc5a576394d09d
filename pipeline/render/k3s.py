"""How the node joins its cluster: config.yaml for k3s."""

from __future__ import annotations

from typing import Any

from ..model import Directory, Entry, File, ResolvedNode, Settings
from .yaml_text import yaml_text


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
