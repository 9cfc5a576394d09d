"""How the node comes back into its cluster: config.yaml for k3s, with the secrets beside it.

Images for a node without a way to a registry are no concern of this module: a class puts them with `files:`
under /var/lib/rancher/k3s/agent/images, and k3s takes them from there (docs.k3s.io/installation/airgap).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from ..model import (
    Directory,
    Entry,
    File,
    Piece,
    Remove,
    ResolvedNode,
    SecretRef,
    Settings,
    Symlink,
    Text,
)
from . import k3s_state, k3s_units, units
from .concern import Owned
from .links import links
from .yaml_text import yaml_text

FOLDER = "/etc/rancher/k3s"
TOKEN_FILE = f"{FOLDER}/join-token"
AGENT_TOKEN_FILE = f"{FOLDER}/agent-token"

KUBELET_ARGS = {
    "image-gc-high-threshold": 75,
    "image-gc-low-threshold": 65,
    "container-log-max-size": "10Mi",
    "container-log-max-files": 3,
    "eviction-hard": "memory.available<100Mi,nodefs.available<10%,imagefs.available<10%,nodefs.inodesFree<5%",
}
"""Limits where nobody sets others, as cards are small.

k3s's own eviction limits differ by version and say nothing of memory; these are Kubernetes' defaults
(https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/), but for images, whose
collection at 75 % leaves less to fear.
"""

_CONFIGURES = "k3s would be configured by it"
OWNED = Owned(
    strays={FOLDER: _CONFIGURES, "/etc/rancher/node": _CONFIGURES, **units.strays("k3s")},
    paths=(
        "/etc/default/k3s*",
        "/etc/rancher",
        "/etc/sysconfig/k3s*",
        k3s_units.PROGRAM,
        "/var/lib/rancher",
        *units.anywhere("k3s"),
    ),
)

_PROGRAMS = ("crictl", "ctr", "kubectl")
"""What k3s is under other names."""


def unit_of(node: ResolvedNode) -> str | None:
    """The unit that runs k3s on the node, or None where none does."""
    return k3s_units.ROLES.get(role_of(node))


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """The unit, its configuration and the node's identity in the cluster; k3s gone where the role is none."""
    if "k3s" not in node.settings:
        return ()
    starting = k3s_units.render(role_of(node), k3s_state.datastore(node))
    if unit_of(node) is None:
        return starting
    return (*starting, *_configuration(node), *_identity(), *_programs(node), *k3s_state.render(node))


def role_of(node: ResolvedNode) -> str:
    """The node's role in the cluster: agent, server or none."""
    return str(node.settings.get("k3s", {}).get("role", "none"))


def _configuration(node: ResolvedNode) -> tuple[Entry, ...]:
    token = SecretRef("k3s_token", "k3s-token") if role_of(node) == "agent" else k3s_state.SERVER_TOKEN
    return (
        Directory(FOLDER, mode=0o755),
        File(f"{FOLDER}/config.yaml", (yaml_text(_config(node)), *_datastore(node)), mode=0o600),
        Remove(f"{FOLDER}/config.yaml.d"),
        File(TOKEN_FILE, (token,), mode=0o600),
        *_agent_token(node),
        *_registries(node.settings["k3s"]),
    )


def _config(node: ResolvedNode) -> dict[str, Any]:
    k3s = node.settings["k3s"]
    config: dict[str, Any] = {"node-name": node.hostname}
    if "server" in k3s:
        config["server"] = k3s["server"]
    config["token-file"] = TOKEN_FILE
    if _has_agent_token(node):
        config["agent-token-file"] = AGENT_TOKEN_FILE
    config.update(_address(node))
    lists = {
        "node-label": _pairs(k3s.get("labels", {})),
        "node-taint": list(k3s.get("taints", ())),
        "kubelet-arg": _pairs(kubelet_args(k3s)),
    }
    config.update({key: values for key, values in lists.items() if values})
    return config | k3s_state.flags(node)


def _has_agent_token(node: ResolvedNode) -> bool:
    return role_of(node) == "server" and bool(node.cluster.get("k3s", {}).get("agent_token"))


def _agent_token(node: ResolvedNode) -> tuple[Entry, ...]:
    """What agents join with; without it a server would ask them for its own token."""
    if not _has_agent_token(node):
        return ()
    return (File(AGENT_TOKEN_FILE, (SecretRef("extra.agent_token", "line"),), mode=0o600),)


def _address(node: ResolvedNode) -> dict[str, str]:
    """The static address of the main interface; of a node with several, k3s might choose another."""
    main = next(iter(links(node.settings.get("network", {}))), None)
    if main is None or "address" not in main.settings:
        return {}
    return {"node-ip": str(ipaddress.ip_interface(main.settings["address"]).ip)}


def kubelet_args(k3s: Settings) -> dict[str, Any]:
    """The kubelet's options: as declared, and limits where they say nothing."""
    return {**KUBELET_ARGS, **k3s.get("kubelet_args", {})}


def _pairs(mapping: Settings) -> list[str]:
    return [f"{key}={_scalar(value)}" for key, value in sorted(mapping.items())]


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _datastore(node: ResolvedNode) -> tuple[Piece, ...]:
    """The line that leads to an external datastore, whose address may hold a password."""
    if role_of(node) != "server" or k3s_state.datastore(node) != "external":
        return ()
    return (
        Text("datastore-endpoint: "),
        SecretRef("extra.datastore_endpoint", "datastore-endpoint"),
        Text("\n"),
    )


def _registries(k3s: Settings) -> tuple[Entry, ...]:
    """Mirrors and their certificates; with passwords in it the whole file is a secret."""
    registries = k3s.get("registries")
    if registries is None:
        return ()
    secret = registries == "secret"
    content = SecretRef("extra.registries", "registries") if secret else yaml_text(registries)
    return (File(f"{FOLDER}/registries.yaml", (content,), mode=0o600),)


def _identity() -> tuple[Entry, ...]:
    """The password by which the cluster knows the node again; with another it is refused (403)."""
    return (
        Directory("/etc/rancher/node", mode=0o755),
        File("/etc/rancher/node/password", (SecretRef("extra.node_password", "node-password"),), mode=0o600),
    )


def _programs(node: ResolvedNode) -> tuple[Entry, ...]:
    """Links to k3s by the names that operators type, unless the class brings programs of these names."""
    brought = {file.path for file in node.klass.files}
    paths = {name: f"/usr/local/bin/{name}" for name in _PROGRAMS}
    return tuple(Symlink(path, "k3s") for path in paths.values() if path not in brought)
