"""Cards of a Raspberry Pi: each finds its own partitions by ids, whatever other card is in the machine.

They are built by who may do nothing special: no mounts, no loop devices, no appliance.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipeline.machine import process
from pipeline.raw import disk
from tests.support import goldens
from tests.support.lab import Lab

NODES = ("titan-13", "titan-15")
LONGHORN = "longhorn: {disks: [{uuid: 0a1b2c3d-0000-4000-8000-123456789abc, path: /mnt/longhorn}]}"


POWERLESS = "setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs --".split()
"""For root, who has no more rights then than an ordinary user; who is one needs none to use it."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    within = tuple(POWERLESS) if os.geteuid() == 0 else ()
    lab = Lab(tmp_path_factory.mktemp("lab"), {"METIS_INJECTOR": "direct"}, within)
    golden = goldens.tiny_pi_golden()
    image = f"{{source: 'file:{golden}', sha256: {goldens.sha256(golden)}, headroom: 4M}}"
    lab.write(
        "classes/pi.yaml", f"arch: arm64\nos: raspios\nimage: {image}\nboot: {{page_size: 4K}}\n{LONGHORN}\n"
    )
    lab.write("cluster.yaml", "{}\n")
    for node in NODES:
        lab.write(
            f"nodes/{node}.yaml",
            f"class: pi\n{LONGHORN.replace('abc', 'abc' if node == NODES[0] else 'abd')}\n",
        )
    said = lab.doit("image")
    assert said.code == 0, said.err
    return lab


@pytest.fixture(scope="module")
def images(lab: Lab) -> list[Path]:
    return [lab.artifacts / f"{node}.img" for node in NODES]


def boot_file(image: Path, name: str) -> str:
    start = disk.read(image).partitions[0].start
    return process.run(["mcopy", "-n", "-i", f"{image}@@{start}", f"::{name}", "-"]).out.decode()


def on_root(image: Path, command: str) -> str:
    start = disk.read(image).partitions[1].start
    return process.run(["debugfs", "-R", command, f"{image}?offset={start}"]).out.decode()


def test_who_built_them_can_read_them_back(lab: Lab) -> None:
    said = lab.metis("verify", "--node", NODES[0])
    # The golden is not of the system that it is taken for here, and brings a file of another one.
    assert "differences: 1)" in said.out, said
    assert "/etc/netplan/10-dhcp-all-interfaces.yaml  extra" in said.out
    assert not lab.leftovers()


def test_root_and_firmware_are_named_by_ids_that_no_other_card_has(images: list[Path]) -> None:
    ids = [tuple(part.partuuid for part in disk.read(image).partitions) for image in images]
    assert len({*ids[0], *ids[1]}) == 4
    for image, (boot, root) in zip(images, ids, strict=True):
        line = boot_file(image, "cmdline.txt")
        assert re.findall(r"\broot=\S+", line) == [f"root=PARTUUID={root}"]
        assert line.count("\n") == 1
        assert on_root(image, "cat /etc/fstab").splitlines()[:2] == [
            f"PARTUUID={root} / ext4 defaults 0 1",
            f"PARTUUID={boot} /boot/firmware vfat defaults 0 2",
        ]


def test_the_firmware_keeps_its_settings_and_gets_ours(images: list[Path]) -> None:
    assert boot_file(images[0], "config.txt") == f"{goldens.CONFIG}kernel=kernel8.img\n"


def test_the_place_of_a_disk_is_guarded(images: list[Path]) -> None:
    said = on_root(images[0], "stat /mnt/longhorn")
    assert re.search(r"Type: directory +Mode: +0000 +Flags: 0x[0-9a-f]*1[0-9a-f]\b", said), (
        said
    )  # 0x10: immutable
