"""Finished images of nodes that nobody built: small, quickly made, and with all that a receipt says."""

from __future__ import annotations

import io
from pathlib import Path

from pipeline.machine.progress import QuietReporter
from pipeline.raw import record
from pipeline.steps import receipts
from tests.support.cards import small_image
from tests.support.lab import Lab

QUIET = QuietReporter(io.StringIO())
MIB = 1 << 20


def finished_image(image: Path, node: str, *, size: int = 8 * MIB, secret: bytes = b"") -> Path:
    """An image of random bytes and holes, with a place for the record of a burn and a secret behind it."""
    image.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = image.with_name(f".{image.name}.part")
    slot = small_image(part, "gpt", size).slot
    with part.open("r+b") as file:
        file.seek(slot)
        file.write(record.blank() + secret)
    made_from = {"manifest": "ab" * 32, "secrets": {"plain": "cd" * 16}}
    receipts.finish(part, image, node, made_from, {"root": 1}, QUIET, {"node": "1"}, slot)
    return image


def lab_with_image(root: Path, node: str = "titan-13", secret: bytes = b"") -> Lab:
    """A lab of one node whose image is there; no golden is."""
    lab = Lab(root)
    lab.write("classes/pi.yaml", "arch: arm64\nos: debian\n")
    lab.write(f"nodes/{node}.yaml", "class: pi\nnetwork: {dhcp: true}\n")
    finished_image(lab.artifacts / f"{node}.img", node, secret=secret)
    return lab
