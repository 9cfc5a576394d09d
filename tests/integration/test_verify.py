"""`metis verify` on images that the graph built: what was tampered with is found, and nothing is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.inject.tree import NotExactError
from pipeline.machine import process
from pipeline.raw import disk, record
from pipeline.steps import receipts
from tests.support import blocks, goldens
from tests.support.injectors import usable
from tests.support.lab import QUICK_INJECTOR, Lab, Report, class_text

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBUFcnZSYlCmmytWLwuY9PUnvWR0Ckdf9VezkODojKv0"
NODE = f"""\
class: plain
network: {{interface: eth0, address: 192.0.2.1/24, gateway: 192.0.2.254}}
ssh: {{user: atlas, authorized_keys: ["{KEY}"]}}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """A lab with one node, whose image is built."""
    root = tmp_path_factory.mktemp("lab")
    lab = Lab(root, {"METIS_INJECTOR": QUICK_INJECTOR, "METIS_CACHE": str(root / "cache")})
    sha256 = goldens.sha256(tiny_golden)
    lab.write("classes/plain.yaml", class_text(tiny_golden, sha256, "root_overlay: overlays/plain/root\n"))
    lab.write("overlays/plain/root/etc/issue", "plain\n")
    lab.write("nodes/alpha.yaml", NODE)
    report = lab.metis("image", "--node", "alpha")
    assert report.code == 0, report
    return lab


def test_an_image_whose_secrets_cannot_be_read_does_not_pass(lab: Lab) -> None:
    lab.secrets.chmod(0o755)
    try:
        report = verify(lab)
    finally:
        lab.secrets.chmod(0o700)
    assert report.code == 5
    assert "in part only" in report.err
    assert "chmod" in report.err


@pytest.fixture
def card(lab: Lab, tmp_path: Path) -> Path:
    """A copy of the node's image, to be tampered with."""
    return Path(shutil.copy(lab.artifacts / "alpha.img", tmp_path / "card.img"))


def verify(lab: Lab, *words: str, **extra: str) -> Report:
    return lab.metis("verify", "--node", "alpha", *words, **extra)


def differences(report: Report) -> dict[str, dict[str, Any]]:
    """What a report in JSON says, by path."""
    return {item["path"]: item for item in json.loads(report.out)["differences"]}


def tamper(image: Path, *commands: str) -> None:
    start = disk.read(image).partitions[-1].start
    said = process.run(
        ["debugfs", "-w", "-f", "-", f"{image}?offset={start}"], stdin="\n".join(commands).encode()
    )
    assert len(said.err.splitlines()) == 1, said.err.decode()  # its banner


def test_an_image_as_it_was_built_has_no_differences(lab: Lab) -> None:
    report = verify(lab)
    assert report.code == 0, report
    assert report.out.startswith(f"alpha: {lab.artifacts / 'alpha.img'} (")
    assert report.out.endswith(" entries, differences: 0)\n")


def test_whatever_was_changed_is_found_and_told_in_a_table(lab: Lab, card: Path, tmp_path: Path) -> None:
    (tmp_path / "dhcp.yaml").write_text("network: {ethernets: {lan0: {dhcp4: true}}}\n")
    tamper(
        card,
        "rm /etc/hostname",
        "sif /etc/issue mode 0100600",
        f"write {tmp_path / 'dhcp.yaml'} /etc/netplan/90-more.yaml",
    )
    report = verify(lab, "--image", str(card))
    assert report.code == 4, report
    _, titles, *rows = (line.split(maxsplit=3) for line in report.out.splitlines())
    assert titles == ["path", "what", "expected", "found"]
    assert [row[:2] for row in rows] == [
        ["/etc/hostname", "missing"],
        ["/etc/issue", "mode"],
        ["/etc/netplan/90-more.yaml", "extra"],
    ]
    assert "nothing: netplan would merge it into the node's addresses" in report.out
    assert report.err == (
        f"metis: {card} is not what the inventory says of alpha: "
        "build it anew with `metis image --node alpha`, or see who changed it\n"
    )


def test_an_image_that_is_older_than_its_inventory_differs(lab: Lab) -> None:
    file = lab.inventory / "nodes/alpha.yaml"
    file.write_text(NODE.replace("192.0.2.1/", "192.0.2.11/"))
    try:
        report = verify(lab, "--json")
    finally:
        file.write_text(NODE)
    assert report.code == 4
    assert differences(report)["/etc/netplan/60-metis.yaml"]["what"] == "content"


def test_files_of_the_class_are_compared_too(lab: Lab, card: Path, tmp_path: Path) -> None:
    (tmp_path / "issue").write_text("other\n")
    tamper(card, "rm /etc/issue", f"write {tmp_path / 'issue'} /etc/issue", "sif /etc/issue mode 0100644")
    found = differences(verify(lab, "--json", "--image", str(card)))
    assert found["/etc/issue"] == {
        "side": "root",
        "path": "/etc/issue",
        "what": "content",
        "expected": f"sha256 {goldens.sha256(lab.inventory / 'overlays/plain/root/etc/issue')}",
        "found": f"sha256 {goldens.sha256(tmp_path / 'issue')}",
    }


def test_a_card_in_a_block_device_is_read_as_well(lab: Lab, card: Path) -> None:
    process.run(["truncate", "--size=+8M", card])  # a card is larger than its image
    with blocks.read_only(card) as device:
        report = verify(lab, "--image", device)
    assert report.code == 0, report


def test_a_card_that_has_the_record_of_its_burn_is_what_the_inventory_says(lab: Lab, card: Path) -> None:
    receipt = receipts.read(lab.artifacts / "alpha.img")
    assert receipt is not None
    assert receipt.slot is not None
    filled = record.fill({"node": "alpha", "image": receipt.id, "at": "2026-01-02T03:04:05Z"})
    with card.open("rb+") as file:
        file.seek(receipt.slot)
        assert file.read(record.SIZE) == record.blank()
        file.seek(receipt.slot)
        file.write(filled)
    root = disk.read(card).partitions[-1]
    said = process.run(["debugfs", "-R", f"cat {record.PATH}", f"{card}?offset={root.start}"]).out
    assert said == filled
    process.run(["e2fsck", "-fn", f"{card}?offset={root.start}"])
    report = verify(lab, "--image", str(card))
    assert report.code == 0, report
    assert "differences: 0" in report.out


def test_what_is_there_must_be_an_image(lab: Lab, tmp_path: Path) -> None:
    lab.write("nodes/beta.yaml", "class: plain\n")
    report = lab.metis("verify", "--node", "beta")
    assert report.code == 1
    assert report.err.endswith("beta.img is no image: `metis image --node beta` makes it\n")
    for wrong in (tmp_path, Path("/dev/null")):
        report = verify(lab, "--image", str(wrong))
        assert (report.code, report.err) == (
            1,
            f"metis: {wrong} is no image: name an image or a card with --image\n",
        )
    empty = tmp_path / "empty.img"
    empty.write_bytes(bytes(1 << 20))
    report = verify(lab, "--image", str(empty))
    assert (report.code, report.out) == (1, "")
    assert "has no partition table" in report.err
    (lab.inventory / "nodes/beta.yaml").unlink()


def test_an_image_is_of_one_node(lab: Lab) -> None:
    report = verify(lab, "--node", "beta", "--image", "card.img")
    assert (report.code, report.err) == (2, "metis: --image is of one node: name one node with --node\n")


# ------------------------------------------------------------------------------------ nothing is written


MOUNTS = ["loop", *(pytest.param(name, marks=pytest.mark.slow) for name in ("guestfs", "auto"))]
"""Through a kernel, in the end."""


@pytest.mark.parametrize("name", MOUNTS)
def test_reading_leaves_every_byte_even_of_a_root_that_wants_its_journal(name: str, card: Path) -> None:
    """The journal of a root that was cut off would be played back by whoever mounts it to write."""
    adapter = usable(name)
    tamper(card, "feature needs_recovery")
    before = goldens.sha256(card)
    with adapter.open(card, read_only=True) as trees:
        assert trees.root.read("/etc/hostname") == b"alpha\n"
    assert goldens.sha256(card) == before


def test_without_a_kernel_a_root_that_wants_its_journal_is_not_read(card: Path) -> None:
    """Of what the journal holds nothing would be seen."""
    tamper(card, "feature needs_recovery")
    before = goldens.sha256(card)
    with (
        pytest.raises(NotExactError, match="its journal waits to be replayed: use METIS_INJECTOR=guestfs"),
        usable("direct").open(card, read_only=True),
    ):
        pytest.fail("it was read")
    assert goldens.sha256(card) == before
