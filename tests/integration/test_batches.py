"""Several images through real appliances: one launch for all, and no image that has another's trouble."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest

from pipeline.inject.partitions import exactly
from pipeline.inject.tree import Places
from pipeline.machine import process
from pipeline.raw import disk, sparse
from tests.support import goldens
from tests.support.injectors import of_the_lab, usable
from tests.support.lab import QUICK_INJECTOR, Lab, Report, class_text

pytestmark = pytest.mark.slow

GOOD = ("alpha", "beta", "gamma")
EMULATOR = """#!{python}
import os, sys
drives = sum("file={artifacts}" in word for word in sys.argv)
if drives:
    with open({log!r}, "a") as log:
        log.write(str(drives) + "\\n")
    if drives > {most}:
        sys.exit("too many drives")
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""
"""A QEMU that writes down how many images it was given, and bears `most` of them."""
ORDER = """
import threading
from pipeline.inject import batches
from pipeline.inject.appliance import Appliance
from pipeline.raw import sparse
batches.LINGER, batches.MOST = 600.0, {count}
is_up, launch, copy = threading.Event(), Appliance.launch, sparse.copy
def launched(*given):
    try:
        return launch(*given)
    finally:
        is_up.set()
def late(*given):
    is_up.wait()
    copy(*given)
Appliance.launch, sparse.copy = launched, late
"""
"""However slow the machine is, a launch waits until so many images have come, and they are empty then."""


@pytest.fixture
def lab(tmp_path: Path, tiny_golden: Path) -> Lab:
    """Three nodes whose base is there."""
    usable("guestfs")
    lab = Lab(tmp_path, {"METIS_CACHE": str(tmp_path / "cache")})
    lab.write("classes/pc.yaml", class_text(tiny_golden, goldens.sha256(tiny_golden)))
    for name in GOOD:
        lab.write(f"nodes/{name}.yaml", "class: pc\nnetwork: {dhcp: true}\n")
    report = lab.doit("base:pc", METIS_INJECTOR=QUICK_INJECTOR)
    assert report.code == 0, report
    return lab


def built(lab: Lab, *names: str, most: int = 99) -> tuple[Report, list[int]]:
    """Build images, all at a time; gives also how many each appliance was given."""
    real = shutil.which(f"qemu-system-{platform.machine()}")
    assert real
    log, emulator = lab.root / "launches", lab.root / "qemu"
    emulator.write_text(
        EMULATOR.format(python=sys.executable, artifacts=lab.artifacts, log=str(log), most=most, real=real)
    )
    emulator.chmod(0o755)
    (lab.root / "sitecustomize.py").write_text(ORDER.format(count=len(names)))
    report = lab.metis(
        "image",
        *chain.from_iterable(("--node", name) for name in names),
        f"-n{len(names)}",
        METIS_INJECTOR="guestfs",
        LIBGUESTFS_HV=str(emulator),
        PYTHONPATH=str(lab.root),
    )
    return report, sorted(map(int, log.read_text().split()))


def assert_built(lab: Lab, names: Sequence[str]) -> None:
    """Images are what the inventory says, and their file systems are whole."""
    for name in names:
        report = lab.metis("verify", "--node", name, METIS_INJECTOR=QUICK_INJECTOR)
        assert report.code == 0, report
        image = lab.artifacts / f"{name}.img"
        (root,) = disk.read(image).partitions
        checked = process.run(["e2fsck", "-fn", f"{image}?offset={root.start}"], check=False)
        assert checked.code == 0, checked


def test_images_that_wait_share_a_launch_and_one_that_fails_fails_alone(lab: Lab) -> None:
    lab.write("overlays/bad/root/etc/passwd/below", "a file of the golden is no folder\n")
    lab.write("nodes/delta.yaml", "class: pc\nnetwork: {dhcp: true}\nroot_overlay: overlays/bad/root\n")
    report, launches = built(lab, *GOOD, "delta")
    assert report.code == 1
    assert report.tasks("failed", "image:") == {"image:delta"}
    assert launches == [4]
    assert_built(lab, GOOD)
    assert lab.leftovers() == []


def test_two_copies_of_a_file_system_that_is_known_by_its_id_are_mounted_in_turn(tmp_path: Path) -> None:
    usable("guestfs")
    size, one = 320, tmp_path / "one.img"
    (offset,) = goldens.partition(one, "gpt", [("root", size)])
    alone = tmp_path / "root"
    with alone.open("wb") as file:
        file.truncate(size << 20)
    process.run(["mkfs.xfs", "-q", alone])
    with one.open("rb+") as image, alone.open("rb") as root:
        sparse.copy_part(root.fileno(), 0, size << 20, image.fileno(), offset)
    sparse.copy(one, tmp_path / "two.img")
    injector = of_the_lab("guestfs")

    def names(image: Path) -> Sequence[str]:
        with injector.open(image, disk.read(image), exactly(Places(1, None))) as trees:
            return trees.root.list_names("/")

    with ThreadPoolExecutor() as threads:
        assert list(threads.map(names, [one, tmp_path / "two.img"])) == [[], []]


def test_where_an_appliance_does_not_bear_them_together_each_is_made_by_itself(lab: Lab) -> None:
    report, launches = built(lab, *GOOD[:2], most=1)
    assert report.code == 0, report
    assert launches == [1, 1, 2]
    assert "making it by itself" in report.err
    assert_built(lab, GOOD[:2])
