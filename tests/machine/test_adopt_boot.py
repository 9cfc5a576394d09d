"""An old card is adopted where nothing is kept of its node, and the next card boots as that node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline import disk, process
from tests.machine.test_boot import CLASS, NODE, TOKEN
from tests.support import goldens
from tests.support.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

KINDS = ("ed25519", "ecdsa", "rsa")
IDENTITY = (
    "/etc/machine-id",
    "/etc/rancher/node/password",
    "/etc/iscsi/initiatorname.iscsi",
    *(f"/etc/ssh/ssh_host_{kind}_key{end}" for kind in KINDS for end in ("", ".pub")),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("adopt"), {"METIS_CACHE": str(goldens.store_folder())})
    lab.write("classes/pc.yaml", CLASS.format(arch="amd64", cloud_init="off"))
    lab.write("nodes/pc-1.yaml", NODE.format(klass="pc", address="192.168.22.77"))
    return lab


def identity_in(image: Path) -> dict[str, bytes]:
    root = max(disk.read(image).partitions, key=lambda part: part.size)
    place = f"{image}?offset={root.start}"
    return {path: process.run(["debugfs", "-R", f"cat {path}", place]).out for path in IDENTITY}


def built(lab: Lab) -> dict[str, bytes]:
    """What the node's image has of an identity."""
    report = lab.metis("image", "--node", "pc-1")
    assert report.code == 0, report
    return identity_in(lab.artifacts / "pc-1.img")


@pytest.fixture(scope="module")
def old(lab: Lab, debian_golden: Path) -> Mapping[str, bytes]:
    """What the old card has, which is then in `old.img`; what was known of it is gone."""
    lab.write_secrets("pc-1", f"k3s_token: {TOKEN}\n")
    found = built(lab)
    assert all(found.values())
    (lab.artifacts / "pc-1.img").replace(lab.root / "old.img")
    for left in lab.artifacts.glob("pc-1.*"):
        left.unlink()
    lab.write_secrets("pc-1", f"k3s_token: {TOKEN}\n")
    return found


def test_the_next_card_boots_with_the_old_card_s_identity(lab: Lab, old: Mapping[str, bytes]) -> None:
    card = lab.root / "old.img"
    before = goldens.sha256(card)
    adopted = lab.metis("adopt", "--node", "pc-1", "--from", str(card), "--json")
    assert adopted.code == 0, adopted
    assert {item["state"] for item in json.loads(adopted.out)["items"]} == {"stored"}
    assert goldens.sha256(card) == before
    assert built(lab) == old
    report = lab.metis("boot", "--node", "pc-1", "--json")
    assert report.code == 0, report
    found = {check["name"]: check["found"] for check in json.loads(report.out)["boots"][0]["checks"]}
    for kind in KINDS:
        shown = process.run(["ssh-keygen", "-lf", "-"], stdin=old[f"/etc/ssh/ssh_host_{kind}_key.pub"])
        assert found[f"host key {kind}"] == shown.out.decode().split()[1]
