"""A finished image is burned where nothing is that Windows lacks."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.cache.store import stamp
from pipeline.card import burn_plan
from pipeline.machine import durable, process
from pipeline.machine.process import Finished
from pipeline.raw import bmap, record
from pipeline.steps import receipts
from pipeline.steps.artifacts import bmap_of, receipt_of
from tests.support.cards import wrong
from tests.unit.test_get_disk import GOOD, PARTITION

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
IMAGE, CARD = 4 * MIB, 6 * MIB
SLOT = 3 * MIB
PATH = r"\\.\PhysicalDrive2"
VOLUME = PARTITION["AccessPaths"][1].rstrip("\\")


@dataclass
class Host:
    """An image with its block map and receipt, a card full of something else, and the disk of the system."""

    folder: Path
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> Path:
        return self.folder / "titan-13.img"

    @property
    def card(self) -> Path:
        return self.folder / "card"

    @property
    def system(self) -> Path:
        return self.folder / "system"

    @property
    def gate(self) -> Path:
        """Nothing is written to a card while it is there."""
        return self.folder / "gate"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "METIS_ARTIFACTS": str(self.folder / "artifacts"),
            "METIS_TEST_SHOWN": str(self.folder / "shown"),
            "TMPDIR": str(self.folder),
        }

    def words(self, *words: str) -> list[str]:
        """What starts `metis` there."""
        setup = {
            "gate": str(self.gate),
            "disks": {
                "0": {"file": str(self.system), "serial": "SYSTEM"},
                "2": {"file": str(self.card), "serial": GOOD["SerialNumber"]},
            },
            "volumes": [
                {"name": VOLUME, "extents": [[2, MIB, CARD - MIB]]},
                {"name": VOLUME.replace("1", "9"), "extents": [[0, 0, CARD]]},
            ],
            "answer": self.answer,
        }
        file = self.folder / "setup.json"
        file.write_text(json.dumps(setup))
        return [sys.executable, "-m", "tests.support.no_posix", str(file), *words]

    def metis(self, *words: str) -> Finished:
        return process.run(
            self.words(*words), cwd=ROOT, check=False, timeout=120, extra_environment=self.environment
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path)


def make_host(folder: Path) -> Host:
    """A host as it is set up."""
    made = Host(folder)
    made.card.write_bytes(os.urandom(CARD))
    made.system.write_bytes(os.urandom(CARD))
    chance = random.Random(13)
    data = bytearray(IMAGE)
    places = [(0, MIB + 8192), (2 * MIB, 2 * MIB + 65536), (SLOT, SLOT + 4096), (IMAGE - 8192, IMAGE)]
    for start, end in places:
        data[start:end] = chance.randbytes(end - start)
    # A partition from 1 MiB to the image's end (MBR, type 0x83).
    data[446:512] = bytes(66)
    data[450] = 0x83
    data[454:462] = (2048).to_bytes(4, "little") + (IMAGE // 512 - 2048).to_bytes(4, "little")
    data[510:512] = b"\x55\xaa"
    data[SLOT : SLOT + 4096] = record.blank()
    made.image.write_bytes(data)
    described = bmap.describe(made.image, places)
    xml = described.to_xml()
    bmap_of(made.image).write_bytes(xml)
    receipt = receipts.Receipt(
        subject="titan-13",
        id="1" * 64,
        made_from={},
        places={},
        size=IMAGE,
        mapped=described.mapped,
        bmap_sha256=hashlib.sha256(xml).hexdigest(),
        stamp=stamp(made.image),
        slot=SLOT,
    )
    durable.write(receipt_of(made.image), durable.as_json(asdict(receipt)))
    system = {
        "Number": 0,
        "Path": r"\\?\scsi#system",
        "SerialNumber": "SYSTEM",
        "IsBoot": True,
        "BusType": 17,
    }
    made.answer = {
        "Disks": [{**GOOD, **system, "Size": CARD}, {**GOOD, "Size": CARD}],
        "Partitions": [
            {**PARTITION, "DiskNumber": 0, "AccessPaths": ["C:\\"], "DriveLetter": "C", "IsBoot": True},
            PARTITION,
        ],
        "Drives": [{"Index": 2, "Capabilities": [3, 4, 7]}],
        "PageFiles": None,
    }
    return made


def holds_the_image(host: Host, size: int = CARD) -> bool:
    """Whether the card has all that it must have; of the record only that it is one."""
    expected = bmap.parse(bmap_of(host.image).read_bytes())
    image, card = host.image.read_bytes(), host.card.read_bytes()
    plan = burn_plan.make(expected, size, lambda start, end: image[start:end])
    differing = [start for start, _ in wrong(plan, card)]
    about = record.parse(card[SLOT : SLOT + 4096])
    return differing == [SLOT] and about is not None and about["node"] == "titan-13"


def test_a_finished_image_is_burned_read_back_and_recorded(host: Host) -> None:
    said = host.metis("burn", "--image", str(host.image), "--device", PATH, "--yes")
    assert said.code == 0, said.err
    assert PATH in said.err.decode()
    assert b"read back and the same" in said.out
    assert holds_the_image(host)


def test_what_came_with_another_stamp_is_hashed_and_burned(host: Host) -> None:
    os.utime(host.image, (1, 1))
    assert host.metis("burn", "--image", str(host.image), "--device", PATH, "--yes").code == 0
    assert holds_the_image(host)


def test_a_card_of_odd_size_is_written_to_its_end(host: Host) -> None:
    size = CARD - 3 * 512
    os.truncate(host.card, size)
    host.answer["Disks"][1]["Size"] = size
    said = host.metis("burn", "--image", str(host.image), "--device", PATH, "--yes")
    assert said.code == 0, said.err
    assert holds_the_image(host, size)


def test_an_image_without_map_and_receipt_is_burned_whole(host: Host) -> None:
    bmap_of(host.image).unlink()
    receipt_of(host.image).unlink()
    said = host.metis("burn", "--image", str(host.image), "--device", PATH, "--yes")
    assert said.code == 0, said.err
    assert host.card.read_bytes()[512:IMAGE] == host.image.read_bytes()[512:]


def test_a_plain_file_is_burned_too(host: Host) -> None:
    target = host.folder / "new.img"
    said = host.metis("burn", "--image", str(host.image), "--device", str(target), "--yes")
    assert said.code == 0, said.err
    assert target.stat().st_size == IMAGE
    assert target.read_bytes()[:SLOT] == host.image.read_bytes()[:SLOT]


@pytest.mark.parametrize(("device", "code"), [(r"\\?\scsi#system", 3), ("C:", 2)])
def test_another_disk_is_refused_and_not_written(host: Host, device: str, code: int) -> None:
    before = host.system.read_bytes(), host.card.read_bytes()
    said = host.metis("burn", "--image", str(host.image), "--device", device, "--allow-fixed", "--yes")
    assert said.code == code
    assert said.err.decode().count("\n") == 1
    assert (host.system.read_bytes(), host.card.read_bytes()) == before


def rot(host: Host) -> None:
    with host.image.open("r+b") as file:
        file.seek(2 * MIB + 17)
        file.write(b"rot")


def test_an_image_that_is_not_what_its_receipt_says_is_not_burned(host: Host) -> None:
    rot(host)
    before = host.card.read_bytes()
    said = host.metis("burn", "--image", str(host.image), "--device", PATH, "--yes")
    assert said.code == 4, said.err
    assert host.card.read_bytes() == before


def test_an_image_that_rots_unseen_leaves_no_card_that_boots(host: Host) -> None:
    rot(host)
    about = json.loads(receipt_of(host.image).read_bytes())
    receipt_of(host.image).write_text(json.dumps({**about, "stamp": stamp(host.image)}))
    said = host.metis("burn", "--image", str(host.image), "--device", PATH, "--yes")
    assert said.code == 4, said.err
    assert host.card.read_bytes()[:MIB] == bytes(MIB)


def test_a_nodes_image_is_not_built_here(host: Host) -> None:
    before = host.card.read_bytes()
    said = host.metis("burn", "--node", "titan-13", "--device", PATH, "--yes")
    assert said.code == 2
    assert (
        said.err == b"metis: nothing is built on Windows: bring a finished image, and name it with --image\n"
    )
    assert host.card.read_bytes() == before


def test_a_finished_image_that_has_the_name_of_another_node_is_not_burned(host: Host) -> None:
    artifacts = Path(host.environment["METIS_ARTIFACTS"])
    artifacts.mkdir()
    image = artifacts / "titan-14.img"
    for place in (lambda path: path, bmap_of, receipt_of):
        shutil.copy2(place(host.image), place(image))
    before = host.card.read_bytes()
    said = host.metis("burn", "--node", "titan-14", "--device", PATH, "--yes")
    assert said.code == 4
    assert b"titan-14.img is the image of titan-13 by its receipt" in said.err
    assert host.card.read_bytes() == before


def test_an_image_of_a_registry_is_not_burned_here(host: Host) -> None:
    before = host.card.read_bytes()
    said = host.metis("burn", "--from", "oci://127.0.0.1/nodes/titan-13:1", "--device", PATH, "--yes")
    assert said.code == 2
    assert (
        said.err
        == b"metis: no registry is read on Windows: bring a finished image, and name it with --image\n"
    )
    assert host.card.read_bytes() == before


def test_cards_are_listed(host: Host) -> None:
    said = host.metis("cards", "--json")
    assert said.code == 0, said.err
    assert [card["path"] for card in json.loads(said.out)] == [PATH]
