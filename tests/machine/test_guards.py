"""What keeps a server from doing harm, on a machine that boots: its peer or its disk may be the wrong one.

The node is a server with a disk for Longhorn; each boot differs from the good one in one thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.machine import process
from pipeline.raw import disk
from tests.support import goldens, machine
from tests.support.lab import Lab, Report
from tests.support.peer import Certificates, Peer, make_certificates, serving, sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

UUID = "0a1b2c3d-0000-4000-8000-000000000021"
DISK_UUID = "5d1f0000-0000-4000-8000-000000000021"
CLASS = """\
arch: amd64
os: debian
image: {source: "debian:bookworm", headroom: 64M}
cloud_init: off
ssh: {user: atlas}
k3s: {role: server, server: https://192.168.22.7:6443}
"""
NODE = f"""\
class: server
network: {{interface: eth0, address: 192.168.22.21/24, gateway: 192.168.22.1}}
longhorn: {{disks: [{{uuid: {UUID}, path: /mnt/longhorn, disk_uuid: {DISK_UUID}}}]}}
"""
NAME = "titan-21"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def peer(certificates: Certificates) -> Iterator[Peer]:
    with serving(certificates) as peer:
        yield peer


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, debian_golden: Path, certificates: Certificates) -> Lab:
    del debian_golden  # is in the cache now
    lab = Lab(tmp_path_factory.mktemp("guards"), {"METIS_CACHE": str(goldens.store_folder())})
    lab.write("classes/server.yaml", CLASS)
    lab.write(f"nodes/{NAME}.yaml", NODE)
    lab.write_secrets(NAME, f"k3s_token: K10{sha256(certificates.pem('root'))}::server:5ec2e75ec2e7\n")
    report = lab.metis("image", "--node", NAME)
    assert report.code == 0, report
    return lab


@pytest.fixture(scope="module")
def longhorn_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return machine.longhorn_disk(tmp_path_factory.mktemp("disk"), UUID, DISK_UUID)


def boot(lab: Lab, peer: Peer, *more: str) -> tuple[Report, dict[str, str]]:
    """What `metis boot` said, and what each of its checks found."""
    report = lab.metis("boot", "--node", NAME, "--peer", f"127.0.0.1:{peer.port}", "--json", *more)
    assert report.out, report
    (booted,) = json.loads(report.out)["boots"]
    rows: list[dict[str, Any]] = booted["checks"]
    return report, {row["name"]: row["found"] for row in rows}


def test_with_its_peer_and_its_disk_k3s_starts(lab: Lab, peer: Peer, longhorn_disk: Path) -> None:
    report, found = boot(lab, peer, "--disk", str(longhorn_disk))
    assert report.code == 0, report
    assert found["k3s"] == "active"
    assert found["mount /mnt/longhorn"] == UUID
    assert peer.asked


def test_with_a_peer_of_another_cluster_k3s_never_starts(lab: Lab, peer: Peer, longhorn_disk: Path) -> None:
    peer.answer = peer.certificates.pem("server")
    report, found = boot(lab, peer, "--disk", str(longhorn_disk))
    assert report.code == 4, report
    assert found["hostname"] == NAME
    assert found["mount /mnt/longhorn"] == UUID
    assert found["k3s"] == "guarded"
    assert peer.asked


def test_without_its_disk_k3s_does_not_start_and_nothing_is_written_in_its_place(
    lab: Lab, peer: Peer, tmp_path: Path
) -> None:
    report, found = boot(lab, peer, "--keep")
    assert report.code == 0, report
    assert found["k3s"] == "guarded"
    assert found["mount /mnt/longhorn"] == "nothing"
    (copy,) = (lab.artifacts / "boots").rglob("*.img")
    root = disk.read(copy).partitions[-1]
    device = f"{copy}?offset={root.start}"
    listed = process.run(["debugfs", "-R", "ls -p /mnt/longhorn", device]).out.decode()
    assert {line.split("/")[5] for line in listed.splitlines() if line} == {".", ".."}
    assert "Flags: 0x80010" in process.run(["debugfs", "-R", "stat /mnt/longhorn", device]).out.decode()
