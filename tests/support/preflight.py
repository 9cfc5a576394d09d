"""A cluster of three servers and an agent that is dead, and the inventory of a lab that wants it back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipeline.cluster.port import ETCD
from tests.support.apiserver import ApiServer, api_server
from tests.support.kube import Object, node, password_secret, root_ca
from tests.support.lab import REPOSITORY, Lab
from tests.support.netns import Network, network
from tests.unit.test_node_password import hashed

RIGHTS = REPOSITORY / "deploy/kubernetes/rights/preflight/preflight.yaml"
FIXING = REPOSITORY / "deploy/kubernetes/rights/preflight-fix/preflight-fix.yaml"
SILENT, OF_0C, LIVING, ELSEWHERE = "192.0.2.13", "192.0.2.12", "192.0.2.14", "198.51.100.1"
"""Where titan-13 and titan-0c are no more, where a machine is, and where there is no way to."""
PASSWORD = "5ac3f6c10d5c4a2f8e4f21b1c1e3a7d0"
HASH = hashed(PASSWORD)
TOKEN = "canary-of-a-token"
MEMBER = "titan-0c-0a1b2c3d"
NOTE = "etcd.k3s.cattle.io/"
SECRET = "titan-13.node-password.k3s"
IN_SECRETS = f"extra: {{node_password: {PASSWORD}}}\n"
VERSION = "v1.31.4+k3s1"
CLASS = "arch: arm64\nos: debian\n"


@contextmanager
def network_of_the_lab() -> Iterator[Network]:
    """A network with one machine that answers, and two addresses at which nobody does."""
    with network() as made:
        made.add_silence(SILENT)
        made.add_silence(OF_0C)
        made.add_machine(LIVING)
        yield made


@contextmanager
def cluster(net: Network) -> Iterator[ApiServer]:
    """Three servers, of which titan-0c is dead and out of etcd, and titan-13 dead too; one may only read."""
    with ExitStack() as stack:
        made = net.inside(lambda: stack.enter_context(api_server()))
        for each in (
            a_server("titan-0a", "192.0.2.7"),
            a_server("titan-0b", "192.0.2.8"),
            removed(),
            agent(),
        ):
            made.put(each)
        made.put(root_ca(made.authority.read_text()))
        made.put(password_secret("titan-13", HASH))
        made.grant(RIGHTS)
        yield made


def a_server(name: str, address: str, ready: Any = "True", **more: Any) -> Object:
    """A server with its member of etcd."""
    return node(name, role="server", ready=ready, address=address, etcd_member=f"{name}-0a1b2c3d", **more)


def gone(**notes: str) -> Object:
    """titan-0c, dead, and still a member of etcd."""
    annotations = {NOTE + key.replace("_", "-"): value for key, value in notes.items()}
    return a_server("titan-0c", OF_0C, "Unknown", annotations=annotations)


def removed() -> Object:
    """titan-0c, dead, as k3s leaves it once its member is out of etcd."""
    notes = {f"{NOTE}remove": "true", f"{NOTE}removed-node-name": MEMBER}
    return node(
        "titan-0c", role="server", ready="Unknown", address=OF_0C, labels={ETCD: "true"}, annotations=notes
    )


def agent(ready: Any = "Unknown", address: str = SILENT) -> Object:
    """titan-13."""
    return node("titan-13", ready=ready, address=address)


def declare(lab: Lab, *, datastore: str = "etcd", version: str = VERSION, klass: str = CLASS) -> None:
    """An inventory of these nodes, and of titan-17 whose address nobody knows; titan-jh is in no cluster."""
    is_lone = datastore == "sqlite"
    lab.write("cluster.yaml", f"k3s: {{datastore: {datastore}}}\n")
    lab.write("classes/pc.yaml", f"{klass}targets: {{k3s: {version}}}\n")
    peer = "server: 'https://192.0.2.7:6443'"
    database = f"restore: {{database: 'https://files.example/state.db', sha256: {'0' * 64}}}"
    for name, address, role in [
        ("titan-13", SILENT, f"role: agent, {peer}"),
        ("titan-17", "", f"role: agent, {peer}"),
        ("titan-0c", OF_0C, f"role: server, {database if is_lone else peer}"),
        ("titan-0b", "192.0.2.8", f"role: server, {database if is_lone else peer}"),
        ("titan-jh", "", "role: none"),
    ]:
        network = f"interface: eth0, address: {address}/24" if address else "dhcp: true"
        hostname = name.replace("t", "T", 1)
        text = f"class: pc\nhostname: {hostname}\nnetwork: {{{network}}}\nk3s: {{{role}}}\n"
        lab.write(f"nodes/{name}.yaml", text)


def keep(lab: Lab, server: ApiServer, name: str, credentials: str, more: str = "", ca_hash: str = "") -> None:
    """Give a node its secrets: a token with these credentials, of the cluster unless it has another hash."""
    digest = ca_hash or hashlib.sha256(server.authority.read_bytes()).hexdigest()
    lab.write_secrets(name, f"k3s_token: 'K10{digest}::{credentials}'\n{more}")


def keep_all(lab: Lab, server: ApiServer) -> None:
    """Give all nodes what they should have."""
    keep(lab, server, "titan-13", f"node:{TOKEN}", IN_SECRETS)
    keep(lab, server, "titan-17", f"node:{TOKEN}")
    keep(lab, server, "titan-0c", f"server:{TOKEN}")


def declared(root: Path, net: Network, server: ApiServer, klass: str = CLASS, **environment: str) -> Lab:
    """A lab below a folder, whose nodes are those of the cluster and have what they should."""
    made = Lab(root, {"KUBECONFIG": str(server.kubeconfig(root)), **environment}, net.within)
    declare(made, klass=klass)
    keep_all(made, server)
    return made


def has_secrets(said: str) -> list[str]:
    """What of all that is secret a text shows."""
    return [word for word in (PASSWORD, TOKEN, "canary", HASH[-40:]) if word in said]
