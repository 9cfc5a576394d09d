"""Where an operator sits in tests of the documentation: a shell in the folder of this repository's lab.

The goldens are small, the home is its own, and around it are a registry and the API server of a cluster.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import pyrage
import yaml

from pipeline.machine import process
from pipeline.secrets import ssh_keys
from tests.support import goldens, kube, registry, snapshots
from tests.support.apiserver import ApiServer, api_server
from tests.support.documented import Command, Written
from tests.support.kube import Object
from tests.support.lab import REPOSITORY
from tests.support.netns import network
from tests.support.preflight import HASH, PASSWORD, a_server, removed

CLASSES = [
    f"classes/{name}.yaml"
    for name in (
        "atlas-node atlas-agent atlas-server control-plane demo rpi4-armbian-longhorn rpi5-ubuntu".split()
    )
]
NODES = [f"nodes/{name}.yaml" for name in "demo-1 titan-0c titan-13".split()]
LABELS = {
    "control-plane": ("system-boot", "writable"),
    "rpi4-armbian-longhorn": ("RPICFG", "armbi_root"),
    "rpi5-ubuntu": ("system-boot", "writable"),
}
"""The file systems of the goldens of classes for Raspberry Pis."""
ADDRESSES = {"titan-0c": "192.0.2.12"} | {f"titan-{each}": f"192.0.2.{each}" for each in (13, 24, 25)}
"""Those of the repository and the pages' own; RFC 5737 keeps them for documentation, so nobody is there."""
KEY, SEALED = ".config/metis/age.key", ".local/state/metis/secrets"
UNTIL_IT_SERVES = """\
#!/bin/bash
"$@" >serving.log 2>&1 &
until grep -q http:// serving.log; do kill -0 $! || { cat serving.log; exit 1; }; sleep 0.1; done
kill $!; wait $! || true
"""
"""Runs a command that goes on for ever until it has said where it listens."""
SUDO = """\
#!/bin/bash
keeps=(env -i HOME="$HOME" PATH="$PATH" METIS_INJECTOR=direct)
[ "$1" = -E ] && shift && keeps=()
[ "$1 $2 $3" = "-H -u metis" ] && shift 3
case $1 in .venv/bin/metis | .venv/bin/doit | metis) exec "${keeps[@]}" "$@" ;; esac
echo "sudo: a test runs no $1 as root: name a stand-in" >&2
exit 1
"""
"""Drops what a page has exported unless it is asked with -E; no page says which injector is used."""


class StandIn(NamedTuple):
    """What is run in place of what a page says; in `instead`, {0} is all that was found."""

    pattern: str
    instead: str
    why: str


class Around(NamedTuple):
    """What all desks share: what runs a command in the network, the cluster there, and a registry's host."""

    within: tuple[str, ...]
    cluster: ApiServer
    registry: str


@dataclass
class Desk:
    """A home below one folder, and what placeholders of the pages stand for."""

    root: Path
    cluster: ApiServer
    within: tuple[str, ...]
    stand_ins: Sequence[StandIn]
    values: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def lab(self) -> Path:
        return self.root / "lab"

    def forget(self, page: Iterable[Command | Written]) -> None:
        """On a page that says which cluster is asked, nobody has said it before."""
        if any(re.match(r"export .*\bKUBECONFIG=", step.text) for step in page):
            del self.environment["KUBECONFIG"]

    def run(self, step: Command) -> process.Finished:
        """Have a shell run a command; it knows what others have exported, and where its block has gone."""
        command = step.text
        if exported := re.match(r"export METIS_IMAGE_(\w+)=", command):
            self._unpin(exported[1])
        if named := re.search(r"--node (titan-\S+)", command):
            self.cluster.put(self._node(named[1], is_alive=" reconcile " in command))
        state = self.root / "state"
        words = self.filled(command.partition(" #")[0].rstrip())
        where = f"cd {self.lab}" if step.begins else ":"
        # Of `a && b`, the shell lets all but the last fail.
        done = f"(exit $?)\ndeclare -px >{state}; echo cd $PWD >>{state}"
        script = f"set -ea; . {state}; {where}\n{words}\n{done}"
        ended = process.run(
            [*self.within, "bash", "-c", script],
            cwd=self.lab,
            check=False,
            timeout=240,
            extra_environment=self.environment,
        )
        if found := re.search(rb"@(sha256:[0-9a-f]{64})", ended.out + ended.err):
            self.values["digest"] = found[1].decode()
        return ended

    def write(self, file: Written) -> None:
        """Put a file that a page shows into the inventory."""
        target = self.lab / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_small(self.filled(file.text)))

    def filled(self, text: str) -> str:
        """A command or a file with all that stands for parts of it."""
        for each in self.stand_ins:
            instead = each.instead.replace("{0}", r"\g<0>")
            for name, value in self.values.items():
                instead = instead.replace(f"{{{name}}}", value)
            text = re.sub(each.pattern, instead, text, flags=re.MULTILINE)
        return text

    def _unpin(self, variable: str) -> None:
        """Who gives a class's image by the environment has a class whose file names no hash."""
        for name in LABELS:
            if _variable(name) == variable:
                (self.lab / f"classes/{name}.yaml").write_text(_declared(f"classes/{name}.yaml"))

    def _node(self, name: str, *, is_alive: bool) -> Object:
        """What the cluster has of a node: as it died, or as it came back from its card a moment ago."""
        address, is_server = ADDRESSES[name], name == "titan-0c"
        if not is_alive:
            return removed() if is_server else kube.node(name, ready="Unknown", address=address)
        now = datetime.now(UTC)
        role: Literal["agent", "server"] = "server" if is_server else "agent"
        made = kube.node(name, role=role, address=address, since=now, heard=now)
        made["status"]["nodeInfo"]["machineID"] = self._machine_id(name)
        return made

    def _machine_id(self, node: str) -> str:
        """What the node's secrets say, once a build has made it."""
        home = self.root / "home"
        key = pyrage.x25519.Identity.from_str((home / KEY).read_text().strip())
        sealed = (home / SEALED / f"{node}.age").read_bytes()
        return str(yaml.safe_load(pyrage.decrypt(sealed, [key]))["extra"]["machine_id"])


def _declared(name: str) -> str:
    """A file of the repository's inventory as a desk has it."""
    return _small((REPOSITORY / name).read_text())


def _pinned(text: str, golden: Path) -> str:
    """The file of a class with an image that is there, and its hash."""
    source = f"source: file:{golden}\n  sha256: {goldens.sha256(golden)}"
    pinned, count = re.subn(
        r"^  source: (https://images\.example/|debian:).*", f"  {source}", text, flags=re.M
    )
    assert count == 1, text
    return pinned


def _variable(name: str) -> str:
    """What a class is called in the variables that give it an image."""
    return name.upper().replace("-", "_")


def _small(text: str) -> str:
    """A file of an inventory with little room in images, and at ADDRESSES."""
    return re.sub(r"headroom: \w+", "headroom: 4M", text).replace("192.168.22.", "192.0.2.")


# --------------------------------------------------------------------------------------- made once


@contextmanager
def around(folder: Path) -> Iterator[Around]:
    """A network in which a cluster of two servers lives, a third is dead, and there is a registry."""
    with ExitStack() as stack:
        net = stack.enter_context(network())
        for address in ADDRESSES.values():
            net.add_silence(address)
        cluster = net.inside(lambda: stack.enter_context(api_server()))
        for each in (a_server("titan-0a", "192.0.2.10"), a_server("titan-0b", "192.0.2.11"), removed()):
            cluster.put(each)
        cluster.put(kube.root_ca(cluster.authority.read_text()))
        cluster.put(kube.password_secret("titan-13", HASH))
        roles = ("preflight", "preflight-fix", "reconcile")
        cluster.grant(*(REPOSITORY / f"deploy/kubernetes/rights/{role}/{role}.yaml" for role in roles))
        kept = stack.enter_context(registry.serving(folder, net=net))
        yield Around(net.within, cluster, kept.host)


def furnish(root: Path, around: Around, stand_ins: Sequence[StandIn]) -> Desk:
    """A lab in which nobody has worked yet."""
    server = around.cluster
    lab, home = root / "lab", root / "home"
    for name in ("overlays", "hooks", "deploy"):
        shutil.copytree(REPOSITORY / name, lab / name)
    for name in (*CLASSES, *NODES, "cluster.yaml"):
        file = lab / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(_declared(name))
    pis = {name: goldens.tiny_pi_golden(boot=boot, roots=(label,)) for name, (boot, label) in LABELS.items()}
    tiny = goldens.tiny_golden()
    for name, golden in {**pis, "demo": tiny}.items():
        file = lab / f"classes/{name}.yaml"
        file.write_text(_pinned(file.read_text(), golden))
    shutil.copy(REPOSITORY / "dodo.py", lab)
    (lab / ".venv").symlink_to(sys.prefix)
    with (lab / "card").open("wb") as card:
        card.truncate(128 << 20)
    for folder in ("artifacts/snapshots", "srv/metis/snapshots"):
        snapshots.history(lab / folder, ("titan-0c", "titan-13"), 2)
    (lab / "artifacts").chmod(0o700)
    for name, text in {"sudo": SUDO, "until-it-serves": UNTIL_IT_SERVES}.items():
        file = root / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    values = {"registry": around.registry, "repository": str(REPOSITORY)} | _secrets(home, lab, server)
    environment = {
        "HOME": str(home),
        "PATH": f"{root}/bin:{sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "KUBECONFIG": str(home / ".kube/config"),
        "METIS_INJECTOR": "direct",
        "METIS_CACHE": str(root / "cache"),
        # The class that `metis init` writes is of Debian's packages.
        "METIS_IMAGE_EXAMPLE": f"file:{tiny}",
        "METIS_IMAGE_EXAMPLE_SHA256": goldens.sha256(tiny),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_STATE_HOME": str(home / ".local/state"),
    }
    (home / ".kube").mkdir()
    for name in ("config", "atlas"):
        server.kubeconfig(home).rename(home / ".kube" / name)
    packed = home / "Armbian.img.xz"
    packed.write_bytes(lzma.compress(pis["rpi4-armbian-longhorn"].read_bytes(), preset=0))
    program = home / "k3s"
    program.write_bytes(b"#!/bin/sh\n")
    values |= {
        "golden": goldens.sha256(packed),
        "k3s": f"file:{program}",
        "k3s-hash": goldens.sha256(program),
    }
    (root / "state").touch()
    return Desk(root, server, around.within, stand_ins, values, environment)


def _secrets(home: Path, lab: Path, server: ApiServer) -> dict[str, str]:
    """Seal what the nodes have, and put the same where commands look that bring it from elsewhere."""
    authority = hashlib.sha256(server.authority.read_bytes()).hexdigest()
    identity = {
        "machine_id": kube.node("titan-13")["status"]["nodeInfo"]["machineID"],
        "node_password": PASSWORD,
        "ssh_host_ed25519_key": ssh_keys.new_ed25519(),
    }
    token = f"K10{authority}::node:canary"
    documents = {
        "titan-13": {"k3s_token": token, "extra": identity},
        "titan-0c": {"k3s_token": f"K10{authority}::server:canary"},
    }
    key = pyrage.x25519.Identity.generate()
    _private(home / KEY, f"{key}\n".encode())
    for node, document in documents.items():
        text = yaml.safe_dump(document).encode()
        _private(home / SEALED / f"{node}.age", pyrage.encrypt(text, [key.to_public()]))
    _private(lab / "plain/demo-1.yaml", b"ssh_password: canary-of-a-password\n")
    old = lab / "old-card/etc"
    for name, value in {
        "hostname": "titan-13",
        "machine-id": identity["machine_id"],
        "rancher/node/password": identity["node_password"],
        "ssh/ssh_host_ed25519_key": identity["ssh_host_ed25519_key"],
    }.items():
        _private(old / name, f"{value.strip()}\n".encode())
    _private(lab / "token", token.encode())
    return {"recipient": str(key.to_public())}


def _private(file: Path, content: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(0o600)
    file.write_bytes(content)
