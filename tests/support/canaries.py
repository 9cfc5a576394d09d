"""A lab of three nodes that have every secret that there is, each a text found nowhere else."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pipeline.secrets import ssh_keys
from pipeline.secrets.age_keys import AgeKeys
from pipeline.secrets.crypt import sha512_crypt
from pipeline.secrets.documents import Documents
from pipeline.secrets.plain import plain_folder
from pipeline.secrets.source import CLUSTER
from tests.support import goldens, keys
from tests.support.lab import QUICK_INJECTOR, Lab, class_text
from tests.support.leaks import Canaries
from tests.support.vault import Vault

NODES = ("alpha", "beta", "gamma")
CA = os.urandom(32).hex()
"""Of the cluster's certificate authority, in each of its tokens."""
INITIATOR = "iqn.2026-01.example.lab:"
USER_DATA = (
    "#cloud-config\nwrite_files:\n- {{path: /opt/own, content: '{}'}}\nruncmd:\n- [/usr/bin/true, '{}']\n"
)
REGISTRIES = "configs:\n  registry.lab.example:\n    auth: {{username: metis, password: '{}'}}\n"
DATASTORE = "postgres://metis:{}@datastore.lab.example:5432/k3s"


def word() -> str:
    """A canary of plain characters."""
    return f"canary{os.urandom(12).hex()}"


def phrase() -> str:
    """A canary that each encoding writes in a way of its own; a password may be so.

    No piece of it is like that of another one: there are six random digits in each, at least.
    """
    return f'{os.urandom(4).hex()}caña/ry+"{os.urandom(8).hex()}"&\\ <{os.urandom(8).hex()}>'


@dataclass(slots=True)
class Planted:
    """Documents of secrets as an operator writes them, by owner, and what in them is a canary, by name."""

    documents: dict[str, dict[str, object]] = field(default_factory=dict)
    canaries: dict[str, str] = field(default_factory=dict)

    def search(self) -> Canaries:
        """The search for all of them."""
        known = (ssh_keys.new_ed25519(), ssh_keys.new_ecdsa(), keys.rsa())
        texts = (
            USER_DATA,
            REGISTRIES,
            DATASTORE,
            INITIATOR,
            "# created: # public key: ",
            "::server:",
            "::node:",
        )
        return Canaries(self.canaries, (*known, *texts))

    def plant(self, owner: str, name: str, value: str, secret: str = "") -> None:
        """Give a document a field; all of it is a canary, or the `secret` in it alone."""
        document = self.documents.setdefault(owner, {"extra": {}})
        if name.startswith("extra."):
            extra = document["extra"]
            assert isinstance(extra, dict)
            extra[name.removeprefix("extra.")] = value
        else:
            document[name] = value
        self.canaries[f"{name} of {owner}"] = secret or value


def plant() -> Planted:
    """Every field of three nodes, and of what they share."""
    planted = Planted()
    for node in NODES:
        _plant_node(planted, node)
    planted.canaries["hash of the CA"] = CA
    for node, kind in (("alpha", "node"), (CLUSTER, "node"), ("gamma", "server")):
        password = word()
        planted.plant(node, "k3s_token", f"K10{CA}::{kind}:{password}", password)
    password = word()
    planted.plant("gamma", "extra.agent_token", f"K10{CA}::node:{password}", password)
    for name, text in (("extra.datastore_endpoint", DATASTORE), ("extra.registries", REGISTRIES)):
        password = word()
        planted.plant("gamma", name, text.format(password), password)
    planted.plant(CLUSTER, "extra.shared_and_unused", word())
    return planted


def _plant_node(planted: Planted, node: str) -> None:
    password, salt = phrase(), base64.b64encode(os.urandom(12), b"./").decode()
    planted.plant(node, "ssh_password", password)
    planted.plant(node, "extra.ssh_password_salt", salt)
    planted.canaries[f"hash of the password of {node}"] = sha512_crypt(password, salt).rpartition("$")[2]
    one, other = word(), word()
    planted.plant(node, "cloud_init", USER_DATA.format(one, other), f"{one}\n{other}")
    planted.plant(node, "extra.machine_id", uuid.uuid4().hex)
    planted.plant(node, "extra.node_password", os.urandom(16).hex())
    end = os.urandom(8).hex()
    planted.plant(node, "extra.iscsi_initiator", f"{INITIATOR}{end}", end)
    for kind, key in (
        ("ed25519", ssh_keys.new_ed25519()),
        ("ecdsa", ssh_keys.new_ecdsa()),
        ("rsa", keys.rsa(node)),
    ):
        planted.plant(node, f"extra.ssh_host_{kind}_key", key)
    planted.plant(node, "extra.wifi_psk", f"{os.urandom(8).hex()} & \"{os.urandom(8).hex()}'")
    planted.plant(node, "extra.for_a_hook", phrase())


# -------------------------------------------------------------------------------------------- the lab


def make_lab(root: Path, golden: Path) -> Lab:
    """The inventory: an agent with a token of its own, one with the cluster's, and a server.

    Its commands know no folder of whoever runs the tests.
    """
    folders = {
        name: str(root / name.lower()) for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "TMPDIR")
    }
    for folder in folders.values():
        Path(folder).mkdir(mode=0o700, parents=True)
    lab = Lab(
        root,
        {
            "METIS_INJECTOR": QUICK_INJECTOR,
            "METIS_CACHE": str(root / "cache"),
            "LIBGUESTFS_CACHEDIR": "/var/tmp",
            "XDG_CACHE_HOME": str(root / "user-cache"),
            **folders,
        },
    )
    more = "cloud_init: seed\nroot_overlay: overlays/plain/root\n"
    lab.write("classes/plain.yaml", class_text(golden, goldens.sha256(golden), more))
    lab.write("overlays/plain/root/usr/sbin/wpa_supplicant", "#!/bin/sh\n").chmod(0o755)
    lab.write("cluster.yaml", "k3s: {datastore: external, agent_token: true}\n")
    common = (
        "class: plain\nssh: {user: atlas}\n"
        "network: {dhcp: true, interface: eth0, wifis: {wlan0: {ssid: Lab, dhcp: true}}}\n"
    )
    agent = "k3s: {role: agent, server: 'https://192.0.2.10:6443'}\n"
    lab.write("nodes/alpha.yaml", f"{common}{agent}")
    lab.write("nodes/beta.yaml", f"{common}{agent}")
    lab.write("nodes/gamma.yaml", f"{common}k3s: {{role: server, registries: secret}}\n")
    return lab


def keep_plain(lab: Lab, planted: Planted) -> None:
    """Put the documents into files as they are."""
    for owner, document in planted.documents.items():
        lab.write_secrets(owner, yaml.safe_dump(document, allow_unicode=True))


def keep_sealed(lab: Lab, planted: Planted) -> None:
    """Put the documents into sealed files, whose key is one more canary."""
    from pipeline.secrets.sealed import sealed_folder

    key = make_age_key(lab, planted)
    keep_plain(lab, planted)
    plain, sealed = plain_folder(lab.secrets), lab.root / "sealed"
    target: Documents = sealed_folder(sealed, AgeKeys(key, tuple, makes_key=False))
    for owner in planted.documents:
        target.put(owner, plain.read(owner).values, "")
        Path(plain.place(owner)).unlink()
    lab.environment["METIS_SECRETS"] = f"sealed:{sealed}"


def make_age_key(lab: Lab, planted: Planted) -> Path:
    """The operator's key, at its usual place."""
    import pyrage

    key = str(pyrage.x25519.Identity.generate())
    file = Path(lab.environment["XDG_CONFIG_HOME"], "metis/age.key")
    file.parent.mkdir(mode=0o700)
    file.touch(mode=0o600)
    file.write_text(f"{key}\n")
    planted.canaries["the age key"] = key.removeprefix("AGE-SECRET-KEY-1")
    return file


def keep_in_vault(lab: Lab, planted: Planted, vault: Vault) -> None:
    """Put the documents into Vault, and let commands log in as a role."""
    make_age_key(lab, planted)
    for owner, document in planted.documents.items():
        vault.put("atlas/cluster" if owner == CLUSTER else f"atlas/nodes/{owner}", document)
    role = vault.approle()
    planted.canaries["the role's secret id"] = role["VAULT_SECRET_ID"]
    lab.environment |= {"METIS_SECRETS": "vault", "VAULT_ADDR": vault.address, **role}


def echoed(planted: Planted) -> Mapping[str, object]:
    """The body of an error in which a hostile server says all that it knows."""
    texts = list(planted.canaries.values())
    return {"errors": texts, "data": planted.documents, "warnings": texts}
