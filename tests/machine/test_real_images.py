"""The main job on real input: images made from real packages hold what their manifests say, and boot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.machine.process import run
from pipeline.raw import disk
from tests.support import goldens, machine
from tests.support.lab import REPOSITORY, Lab

pytestmark = [pytest.mark.slow]


class TitanLab(Lab):
    """The lab that this repository declares, with artifacts elsewhere."""

    @property
    def inventory(self) -> Path:
        return REPOSITORY


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = TitanLab(tmp_path_factory.mktemp("titan"), {"METIS_CACHE": str(goldens.store_folder())})
    lab.write_secrets("titan-13", f"k3s_token: K10{'ab' * 32}::node:hunter2\n")
    return lab


@pytest.fixture(scope="module")
def titan_13(lab: Lab, pi_golden: Path) -> Path:
    """The image of titan-13 from an arm64 golden in the layout of a Raspberry Pi."""
    variable = "METIS_IMAGE_RPI4_ARMBIAN_LONGHORN"
    golden = {variable: f"file:{pi_golden}", f"{variable}_SHA256": goldens.sha256(pi_golden)}
    report = lab.doit("image:titan-13", **golden)
    assert report.code == 0, report
    return lab.artifacts / "titan-13.img"


@pytest.fixture(scope="module")
def demo(lab: Lab) -> Path:
    report = lab.doit("image:demo-1")
    assert report.code == 0, report
    return lab.artifacts / "demo-1.img"


def test_what_was_injected_is_read_back_as_the_inventory_says(lab: Lab, titan_13: Path) -> None:
    report = lab.metis("verify", "--node", "titan-13", "--json")
    assert report.code == 0, report
    said = json.loads(report.out)
    assert (said["differences"], said["not_compared"]) == ([], [])
    root = disk.read(titan_13).partitions[-1].start
    assert run(["debugfs", "-R", "cat /etc/hostname", f"{titan_13}?offset={root}"]).out == b"titan-13\n"


def test_the_file_systems_are_whole_after_the_injection(titan_13: Path, tmp_path: Path) -> None:
    layout = disk.read(titan_13)
    for part in layout.partitions:
        alone = tmp_path / f"{part.number}.img"
        with titan_13.open("rb") as image, alone.open("wb") as file:
            image.seek(part.start)
            for _ in range(part.size >> 20):
                file.write(image.read(1 << 20))
        check = ["e2fsck", "-fn"] if part.filesystem == "ext4" else ["fsck.vfat", "-n"]
        run([*check, alone])


def test_the_block_map_is_one_that_bmaptool_copies_by(titan_13: Path, tmp_path: Path) -> None:
    copy = tmp_path / "card.img"
    run(["bmaptool", "copy", "--bmap", f"{titan_13}.bmap", titan_13, copy])
    run(["cmp", titan_13, copy])


def test_the_demo_boots_as_its_node(demo: Path) -> None:
    console = machine.boot(demo, "demo-1 login: ")
    assert "Failed to start" not in console


def test_a_second_build_does_nothing(lab: Lab, demo: Path) -> None:
    assert demo.exists()
    assert not lab.doit("image:demo-1").tasks("run")
