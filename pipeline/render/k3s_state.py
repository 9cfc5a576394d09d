"""What k3s keeps on its disk: none of it comes from another machine, and a lone server's comes back."""

from __future__ import annotations

from typing import Any

from ..model import Directory, Entry, File, RemoteFile, Remove, ResolvedNode, SecretRef

DATA_DIR = "/var/lib/rancher/k3s"

SERVER_TOKEN = SecretRef("k3s_token", "k3s-server-token")

_KEYS = ("client-k3s-controller", "client-kube-proxy", "client-kubelet", "serving-kubelet")
# State of a machine that ran k3s before it was made a golden. With its etcd data k3s would not join (it waits
# until the files are gone), with its addresses an agent would go to that machine's servers, and its keys
# would be those of all nodes. Manifests, images and containerd's templates stay, as these are put there on
# purpose.
_LEFTOVERS = (
    *(f"agent/{name}.{ending}" for name in _KEYS for ending in ("crt", "key")),
    "agent/etc/k3s-agent-load-balancer.json",
    "agent/etc/k3s-api-server-agent-load-balancer.json",
    "agent/etc/k3s-etcd-server-load-balancer.json",
    "server/agent-token",
    "server/cred",
    "server/db/etcd",
    "server/db/state.db",
    "server/db/state.db-shm",
    "server/db/state.db-wal",
    "server/node-token",
    "server/tls",
    "server/token",
)


def datastore(node: ResolvedNode) -> str:
    """Where the cluster keeps its state: `etcd` on its servers, `sqlite` on its only one, or `external`."""
    return str(node.cluster.get("k3s", {}).get("datastore", "etcd"))


def flags(node: ResolvedNode) -> dict[str, Any]:
    """The node's flags; a server's with those of its cluster, which all servers must agree on."""
    k3s = node.settings["k3s"]
    shared = node.cluster.get("k3s", {}).get("flags", {}) if k3s.get("role") == "server" else {}
    return {**shared, **k3s.get("flags", {})}


def data_dir(node: ResolvedNode) -> str:
    """The folder that holds all state of k3s."""
    return str(flags(node).get("data-dir", DATA_DIR))


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """The leftovers of a golden removed, and a restored database with the token that it is sealed with."""
    restored = _restored(node)
    kept = {file.path for file in restored}
    leftovers = (f"{data_dir(node)}/{path}" for path in _LEFTOVERS)
    return (*(Remove(path) for path in leftovers if path not in kept), *restored)


def _restored(node: ResolvedNode) -> tuple[Entry, ...]:
    database = tuple(file.entry for file in fetched(node))
    folder = f"{data_dir(node)}/server"
    folders = (Directory(folder, mode=0o700), Directory(f"{folder}/db", mode=0o700))
    token = File(f"{folder}/token", (SERVER_TOKEN,), mode=0o600)
    return (*folders, *database, token) if database else ()


def fetched(node: ResolvedNode) -> tuple[RemoteFile, ...]:
    """The files that must be in the cache before the node's manifest can be applied."""
    k3s = node.settings.get("k3s", {})
    if k3s.get("role") != "server" or "restore" not in k3s:
        return ()
    restore = k3s["restore"]
    path = f"{data_dir(node)}/server/db/state.db"
    return (RemoteFile(path, restore["database"], restore["sha256"], 0o600),)
