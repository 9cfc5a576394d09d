"""A real etcd on this machine, as k3s runs its own: from a file, with TLS for clients and for peers.

Each member has an address of 127.0.0.0/8 for itself, and etcd's own ports.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.cluster.etcd import Access
from pipeline.machine import process
from tests.support.authority import Authority
from tests.support.rendering import program
from tests.support.waiting import PATIENCE, wait_for_words

NAMES = ("titan-7-0a1b2c3d", "titan-8-1b2c3d4e", "titan-9-2c3d4e5f")
READY = b"serving client traffic securely"
"""What a member logs once it has joined the others."""
_clusters = itertools.count(1)


@dataclass
class Etcd:
    """A cluster that runs; `access` is that of its clients."""

    folder: Path
    authority: Authority
    access: Access
    addresses: Mapping[str, str]
    running: dict[str, process.Background] = field(default_factory=dict)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Of all members, whether they run or not."""
        return tuple(self.addresses.values())

    def free_address(self) -> str:
        """An address that none of the members has."""
        return f"{next(iter(self.addresses.values())).rpartition('.')[0]}.99"

    def follower(self) -> str:
        """The last member that does not lead: without it the others need no election."""
        leader = self._leader()
        return max(name for name in self.addresses if name != leader)

    def have_lead(self, name: str) -> None:
        """Have this member lead: no other one that stops then leaves the others without a leader.

        Without one, etcd drops what it is asked to write, and who asked waits until their time is up.
        """
        leader = self._leader()
        if leader != name:
            self.etcdctl("move-leader", f"{self._ids()[name]:x}", at=leader)

    def _leader(self) -> str:
        (status,) = self.etcdctl("endpoint", "status")
        return next(name for name, number in self._ids().items() if number == status["Status"]["leader"])

    def _ids(self) -> dict[str, int]:
        return {each["name"]: each["ID"] for each in self.etcdctl("member", "list")["members"]}

    def stop(self, *names: str) -> None:
        """End members as a power cut does."""
        for name in names:
            self.running[name].kill()

    def etcdctl(self, *words: str, at: str = NAMES[0]) -> Any:
        """What etcd's own client says when it asks a member."""
        files = self.access
        options = [f"--cacert={files.ca}", f"--cert={files.cert}", f"--key={files.key}", "--write-out=json"]
        endpoint = f"--endpoints=https://{self.addresses[at]}:2379"
        said = process.run(
            [program("etcdctl", "etcd-client"), endpoint, *options, *words],
            extra_environment={"ETCDCTL_API": "3"},
            timeout=PATIENCE,
        )
        return json.loads(said.out)


@contextmanager
def etcd(folder: Path, members: int = 1) -> Iterator[Etcd]:
    """Run so many members while the block runs; their files and logs go below `folder`."""
    server = program("etcd", "etcd-server")
    network = f"127.{os.getpid() % 250 + 1}.{next(_clusters)}"
    addresses = {name: f"{network}.{number}" for number, name in enumerate(NAMES[:members], 1)}
    clients, peers = Authority.make(folder, "server-ca"), Authority.make(folder, "peer-ca")
    pair = clients.certificate("client", use="client")
    cluster = Etcd(folder, clients, Access(clients.file, *pair), addresses)
    with ExitStack() as stack:
        for name in addresses:
            config = folder / f"{name}.yaml"
            config.write_text(yaml.safe_dump(_config(folder, name, addresses, clients, peers)))
            words = [server, f"--config-file={config}"]
            log = folder / f"{name}.log"
            cluster.running[name] = stack.enter_context(process.background(words, log))
        for name, running in cluster.running.items():
            log = folder / f"{name}.log"
            wait_for_words(log, READY, running)
        yield cluster


def _config(
    folder: Path, name: str, addresses: Mapping[str, str], clients: Authority, peers: Authority
) -> dict[str, Any]:
    """The keys that k3s writes (ETCDConfig in pkg/daemons/executor), with shorter times."""
    client, peer = f"https://{addresses[name]}:2379", f"https://{addresses[name]}:2380"
    return {
        "name": name,
        "data-dir": str(folder / name),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": ",".join(f"{each}=https://{at}:2380" for each, at in addresses.items()),
        "initial-cluster-state": "new",
        "client-transport-security": _security(clients, "client-" + name, addresses[name]),
        "peer-transport-security": _security(peers, "peer-" + name, addresses[name]),
        "heartbeat-interval": 100,
        "election-timeout": 1000,
        "logger": "zap",
        "log-outputs": ["stderr"],
    }


def _security(authority: Authority, name: str, address: str) -> dict[str, Any]:
    # A member holds whoever calls against the addresses in its certificate.
    certificate, key = authority.certificate(name, address, "127.0.0.1", use="both")
    return {
        "cert-file": str(certificate),
        "key-file": str(key),
        "client-cert-auth": True,
        "trusted-ca-file": str(authority.file),
    }
