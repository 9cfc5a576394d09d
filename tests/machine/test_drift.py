"""From a card to its drift: a node boots from what was burned, its sentinel reads it, and nothing is amiss.

Then three things are done to it by hand, and drift names these three. The node boots once for all of this.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.facts.snapshot import parse
from pipeline.machine import process
from tests.support import goldens, machine
from tests.support.lab import REPOSITORY, Lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

UUID = "0a1b2c3d-0000-4000-8000-000000000021"
DISK_UUID = "5d1f0000-0000-4000-8000-000000000021"
CLASS = """\
# What this class is for.
arch: amd64
os: debian
image: {source: "debian:bookworm", headroom: 64M}
cloud_init: off
ssh: {user: atlas}
k3s: {role: agent, server: https://192.168.22.7:6443}
"""
NODE = f"""\
class: pc
network: {{interface: eth0, address: 192.168.22.21/24, gateway: 192.168.22.1}}
longhorn: {{disks: [{{uuid: {UUID}, path: /mnt/longhorn, disk_uuid: {DISK_UUID}}}]}}
"""
NAME = "titan-21"
EDITED = "/etc/systemd/journald.conf.d/50-metis.conf"
PACKAGE = "ca-certificates"
SENTINEL = "/root/metis-sentinel.pyz"
CONTROL = f"""\
Package: {PACKAGE}
Version: 99
Architecture: all
Maintainer: nobody
Description: another version of what the node has
"""


@dataclass(frozen=True)
class Live:
    """A node that runs, and where its snapshots are kept."""

    lab: Lab
    node: machine.Node
    snapshots: Path

    def look(self) -> dict[str, Any]:
        """Have the sentinel read the node, keep what it says, and give the drift of its class."""
        said = self.node.run(f"python3 {SENTINEL}")
        file = self.snapshots / NAME / f"{len(list(self.snapshots.rglob('*.json'))):03}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(said)
        parse(said.encode())
        report = self.lab.metis("facts", "--snapshots", str(file), "--json")
        assert report.code == 0, report
        about: dict[str, Any] = json.loads(report.out)["classes"]["pc"]
        return about

    @property
    def newest(self) -> Path:
        return max(self.snapshots.rglob("*.json"))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, debian_golden: Path) -> Iterator[Live]:
    del debian_golden  # is in the cache now
    root = tmp_path_factory.mktemp("drift")
    lab = Lab(root, {"METIS_CACHE": str(goldens.store_folder())})
    lab.write("classes/pc.yaml", CLASS)
    lab.write(f"nodes/{NAME}.yaml", NODE)
    lab.write_secrets(NAME, f'k3s_token: "K10{"0123456789abcdef" * 4}::node:5ec2e75ec2e75ec2e7"\n')
    card = root / "card"
    card.write_bytes(b"")
    os.truncate(card, 2 << 30)
    for words in (("image",), ("burn", "--device", str(card), "--yes")):
        report = lab.metis(*words, "--node", NAME)
        assert report.code == 0, report
    folder = root / "machine"
    folder.mkdir(mode=0o700)
    disk = machine.longhorn_disk(root, UUID, DISK_UUID)
    with machine.node(lab, NAME, card, folder, (disk,)) as node:
        node.run(f"cat > {SENTINEL}", zipped(root))
        yield Live(lab, node, root / "snapshots")


def zipped(root: Path) -> bytes:
    """The sentinel in one file, as a node that has nothing but Python takes it."""
    file = root / "metis-sentinel.pyz"
    process.run(["make", "--silent", "sentinel", f"SENTINEL={file}"], cwd=REPOSITORY)
    return file.read_bytes()


def package(folder: Path) -> bytes:
    """A package in another version, with nothing in it."""
    (folder / "tree/DEBIAN").mkdir(parents=True)
    (folder / "tree/DEBIAN/control").write_text(CONTROL)
    process.run(["dpkg-deb", "--build", folder / "tree", folder / "another.deb"])
    return (folder / "another.deb").read_bytes()


@pytest.fixture(scope="module")
def untouched(live: Live) -> dict[str, Any]:
    return live.look()


def test_what_was_injected_is_what_the_sentinel_reads(untouched: dict[str, Any]) -> None:
    assert untouched["failed_units"] == {}
    assert untouched["findings"] == []


@pytest.fixture(scope="module")
def targeted(live: Live, untouched: dict[str, Any]) -> str:
    """What the class's file says once the patch is applied."""
    assert untouched["findings"] == []
    patch = live.lab.metis("facts", "--snapshots", str(live.newest), "--recommend")
    assert patch.code == 0, patch
    process.run(["git", "apply", "-"], cwd=live.lab.inventory, stdin=patch.out.encode())
    return (live.lab.inventory / "classes/pc.yaml").read_text()


def test_what_the_class_runs_is_recommended_and_the_patch_applies(
    live: Live, untouched: dict[str, Any], targeted: str
) -> None:
    assert targeted.startswith(CLASS)
    assert f"kernel: {next(iter(untouched['versions']['kernel']['nodes']))}" in targeted
    assert live.lab.metis("plan", "--node", NAME).code == 0
    assert live.look()["findings"] == []


def test_exactly_what_was_done_by_hand_is_drift(live: Live, targeted: str, tmp_path: Path) -> None:
    assert PACKAGE in targeted
    live.node.run(f"echo '# changed' >> {EDITED}")
    live.node.run("cat > /root/another.deb && dpkg --install /root/another.deb", package(tmp_path))
    live.node.run("umount /mnt/longhorn")
    found = live.look()["findings"]
    assert {(each["kind"], each["subject"]) for each in found} == {
        ("file", EDITED),
        ("package", PACKAGE),
        ("mount", "/mnt/longhorn"),
    }
    assert len(found) == 3
    by_kind = {each["kind"]: each for each in found}
    assert by_kind["package"]["found"] == "99"
    assert by_kind["mount"]["found"] == "not mounted"
