"""Real disks for tests of scripts: files behind loop devices, with partitions that the kernel knows.

Only root may make them; what this machine cannot do is a reason to skip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.machine import process

MIB = 1 << 20


def need_disks() -> None:
    """Skip where no disks can be made."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("only root may attach and mount disks, and only where there are loop devices")


@contextmanager
def removable(top: Path) -> Iterator[None]:
    """Let whoever clears up remove what was made below a folder, also where it was made immutable."""
    try:
        yield
    finally:
        process.run(["chattr", "-R", "-f", "-i", top], check=False)


@contextmanager
def attached(image: Path, sector: int = 512) -> Iterator[str]:
    """A disk of what is in a file while the block runs; its partitions are known to the kernel."""
    options = ["--find", "--show", "--sector-size", str(sector)]
    device = process.run(["losetup", *options, image]).out.decode().strip()
    try:
        # A kernel that scans loop devices by itself knows them already.
        process.run(["partx", "--update", device], check=False)
        process.run(["partx", "--add", device], check=False)
        yield device
    finally:
        process.run(["partx", "--delete", device], check=False)
        process.run(["losetup", "--detach", device])


@contextmanager
def read_only(image: Path) -> Iterator[str]:
    """A disk of what is in a file that cannot be written to while the block runs."""
    need_disks()
    device = process.run(["losetup", "--find", "--show", "--read-only", image]).out.decode().strip()
    try:
        yield device
    finally:
        process.run(["losetup", "--detach", device])


@contextmanager
def mounted(device: str, point: Path, *options: str) -> Iterator[Path]:
    """Something mounted at a folder while the block runs."""
    point.mkdir(parents=True, exist_ok=True)
    process.run(["mount", *options, device, point])
    try:
        yield point
    finally:
        process.run(["umount", point])
