"""`metis boot`: images made from real packages come up as their nodes, and what is not a node's is told.

The nodes are of the two kinds that there are: a PC whose cloud-init is fed with a seed, and a Raspberry Pi
without cloud-init. Each boots once for all tests that ask what it showed. The PC is one of which nothing is
known but its old card, from which its identity is adopted; it boots from the next one, as that was burned.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.machine import process
from pipeline.raw import disk
from tests.support import goldens
from tests.support.lab import Lab, Report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

TOKEN = f"K10{'0123456789abcdef' * 4}::node:5ec2e75ec2e75ec2e75ec2e7"
ONLY_TOKEN = f'k3s_token: "{TOKEN}"\n'
CLASS = """\
arch: {arch}
os: debian
image: {{source: "debian:bookworm", headroom: 64M}}
cloud_init: {cloud_init}
ssh: {{user: atlas}}
k3s:
  role: agent
  server: https://192.168.22.7:6443
  labels: {{hardware: {arch}}}
  taints: ["dedicated=storage:NoSchedule"]
"""
NODE = """\
class: {klass}
network: {{interface: eth0, address: {address}/24, gateway: 192.168.22.1, nameservers: [192.168.22.1]}}
"""


CARD, OLD_USE = 3 << 30, 64 << 20
"""Bytes: the size of the card, and how much of it an older use has left."""
KINDS = ("ed25519", "ecdsa", "rsa")
IDENTITY = (
    "/etc/machine-id",
    "/etc/rancher/node/password",
    "/etc/iscsi/initiatorname.iscsi",
    *(f"/etc/ssh/ssh_host_{kind}_key{end}" for kind in KINDS for end in ("", ".pub")),
)


@dataclass(frozen=True)
class Booted:
    """What `metis boot` said of a node."""

    report: Report
    data: dict[str, Any]

    def found(self, name: str) -> list[str]:
        """What a check found in each boot."""
        return [row["found"] for boot in self.data["boots"] for row in boot["checks"] if row["name"] == name]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("boot"), {"METIS_CACHE": str(goldens.store_folder())})
    nodes = {"pc-1": ("pc", "192.168.22.77"), "pi-1": ("pi", "192.168.22.13")}
    lab.write("classes/pc.yaml", CLASS.format(arch="amd64", cloud_init="seed"))
    lab.write("classes/pi.yaml", CLASS.format(arch="arm64", cloud_init="off"))
    for node, (klass, address) in nodes.items():
        lab.write(f"nodes/{node}.yaml", NODE.format(klass=klass, address=address))
        lab.write_secrets(node, ONLY_TOKEN)
    return lab


def built(lab: Lab, node: str) -> Path:
    report = lab.metis("image", "--node", node)
    assert report.code == 0, report
    return lab.artifacts / f"{node}.img"


def booted(lab: Lab, node: str, options: Sequence[str] = ()) -> Booted:
    report = lab.metis("boot", "--node", node, "--json", *options)
    assert report.out, report
    return Booted(report, json.loads(report.out))


def identity_in(image: Path) -> dict[str, bytes]:
    root = max(disk.read(image).partitions, key=lambda part: part.size)
    place = f"{image}?offset={root.start}"
    return {path: process.run(["debugfs", "-R", f"cat {path}", place]).out for path in IDENTITY}


@pytest.fixture(scope="module")
def old_card(lab: Lab, debian_golden: Path) -> Path:
    """All that is left of the PC."""
    card = built(lab, "pc-1").rename(lab.root / "old.img")
    for left in lab.artifacts.glob("pc-1.*"):
        left.unlink()
    lab.write_secrets("pc-1", ONLY_TOKEN)
    return card


@pytest.fixture(scope="module")
def old_hash(old_card: Path) -> str:
    return goldens.sha256(old_card)


@pytest.fixture(scope="module")
def adopted(lab: Lab, old_card: Path, old_hash: str) -> Report:
    return lab.metis("adopt", "--node", "pc-1", "--from", str(old_card), "--json")


@pytest.fixture(scope="module")
def pc_card(lab: Lab, adopted: Report) -> Path:
    """A card that is larger than the image, and was another's before."""
    assert adopted.code == 0, adopted
    card = lab.root / "card"
    card.write_bytes(os.urandom(1 << 20) * (OLD_USE >> 20))
    os.truncate(card, CARD)
    report = lab.metis("burn", "--node", "pc-1", "--device", str(card), "--yes")
    assert report.code == 0, report
    return card


@pytest.fixture(scope="module")
def hash_before(pc_card: Path) -> str:
    return goldens.sha256(pc_card)


@pytest.fixture(scope="module")
def pc(lab: Lab, pc_card: Path, hash_before: str) -> Booted:
    return booted(lab, "pc-1", ["--image", str(pc_card), "--cut", "metis-grow-root.service", "--boots", "2"])


@pytest.fixture(scope="module")
def pi(lab: Lab, debian_pi_golden: Path) -> Booted:
    built(lab, "pi-1")
    return booted(lab, "pi-1")


def test_a_pc_comes_up_as_its_node_and_does_so_again(pc: Booted) -> None:
    """Its very first start is cut off while the root is about to grow."""
    assert pc.report.code == 0, pc.report
    assert pc.data["ok"] is True
    assert pc.found("hostname") == ["pc-1", "pc-1"]
    assert pc.found("addresses") == ["192.168.22.77/24 on eth0"] * 2


def test_an_old_card_has_all_of_an_identity_and_stays_as_it_is(
    old_card: Path, old_hash: str, adopted: Report
) -> None:
    assert {item["state"] for item in json.loads(adopted.out)["items"]} == {"stored"}
    assert goldens.sha256(old_card) == old_hash


def test_the_next_card_has_the_old_card_s_identity_bit_for_bit(old_card: Path, pc_card: Path) -> None:
    old = identity_in(old_card)
    assert all(old.values())
    assert identity_in(pc_card) == old


def test_who_knew_the_old_card_knows_the_next_one(old_card: Path, pc: Booted) -> None:
    old = identity_in(old_card)
    for kind in KINDS:
        shown = process.run(["ssh-keygen", "-lf", "-"], stdin=old[f"/etc/ssh/ssh_host_{kind}_key.pub"])
        assert set(pc.found(f"host key {kind}")) == {shown.out.decode().split()[1]}


def test_cloud_init_does_not_change_who_the_node_is(pc: Booted) -> None:
    """The golden's own settings would give it new host keys."""
    for kind in KINDS:
        first, second = pc.found(f"host key {kind}")
        assert first == second
        assert first.startswith("SHA256:")
    assert len(set(pc.found("machine-id"))) == 1


def test_the_root_grows_to_the_size_of_the_card(pc: Booted, pi: Booted) -> None:
    for node in (pc, pi):
        assert node.report.code == 0
        assert all(int(size.removesuffix(" MiB")) > 1000 for size in node.found("root"))


def test_a_raspberry_pi_s_image_comes_up_as_its_node(pi: Booted) -> None:
    assert pi.report.code == 0, pi.report
    assert pi.found("hostname") == ["pi-1"]
    assert pi.found("addresses") == ["192.168.22.13/24 on eth0"]


def test_k3s_is_started_with_what_joins_the_node_to_its_cluster(pc: Booted, pi: Booted) -> None:
    for node in (pc, pi):
        assert set(node.found("k3s")) == {"active"}
        noted = node.data["boots"][0]["k3s"]
        assert noted["argument"] == ["agent"]
        assert {"server", "token-file", "node-name", "node-label", "node-taint"} <= set(noted["key"])
        assert "/etc/rancher/node/password" in noted["file"]


def test_no_secret_is_said(lab: Lab, pc: Booted, pi: Booted) -> None:
    said = "".join(node.report.out + node.report.err for node in (pc, pi))
    assert TOKEN not in said
    for node in ("pc-1", "pi-1"):
        kept = (lab.root / "secrets" / f"{node}.yaml").read_text()
        lines = [line.strip() for line in kept.splitlines() if len(line.strip()) > 20]
        values = [line.partition(": ")[2].strip("'\"") or line for line in lines]
        assert not [value for value in values if len(value) > 20 and value in said]


def test_the_image_is_as_it_was_and_nothing_else_is_left(
    lab: Lab, pc: Booted, pc_card: Path, hash_before: str
) -> None:
    assert goldens.sha256(pc_card) == hash_before
    assert [path for path in (lab.artifacts / "boots").iterdir() if path.is_dir()] == []


def test_a_card_with_another_host_key_is_not_the_node(lab: Lab, pc_card: Path, tmp_path: Path) -> None:
    card, key = tmp_path / "card.img", tmp_path / "key"
    process.run(["cp", "--sparse=always", pc_card, card])
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    root = disk.read(card).partitions[-1]
    commands = "".join(
        f"rm /etc/ssh/ssh_host_ed25519_key{end}\nwrite {key}{end} /etc/ssh/ssh_host_ed25519_key{end}\n"
        for end in ("", ".pub")
    )
    commands += "sif /etc/ssh/ssh_host_ed25519_key mode 0100600\n"
    process.run(["debugfs", "-w", "-f", "-", f"{card}?offset={root.start}"], stdin=commands.encode())
    node = booted(lab, "pc-1", ["--image", str(card)])
    assert node.report.code == 4, node.report
    assert node.found("hostname") == []
    assert "host key ed25519" in node.report.err.splitlines()[-1]


def test_a_node_without_an_image_is_told_how_to_get_one(lab: Lab) -> None:
    report = lab.metis("boot", "--node", "pi-1", "--image", str(lab.root / "none.img"))
    assert report.code == 1, report
    assert len(report.err.splitlines()) == 1
