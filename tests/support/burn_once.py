"""Burns an image to a device in a process of its own, which tells a faulty card what its number is.

python -m tests.support.burn_once IMAGE BMAP DEVICE SLOT CONTROL FAULT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pipeline.card import burn_plan
from pipeline.card.cards import Card
from pipeline.card.engine import write_card
from pipeline.card.image import open_image
from pipeline.card.linux import LinuxOpener
from pipeline.card.table import Patch
from pipeline.machine.progress import QuietReporter
from pipeline.raw import bmap
from tests.support.cards import RECORD
from tests.support.faulty import tell


def main(image: str, block_map: str, device: str, slot: str, control: str, fault: str) -> None:
    number = Path(device).stat().st_rdev
    with Path(device).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
    card = Card(device, "loop", size, number=f"{os.major(number)}:{os.minor(number)}")
    tell(Path(control), {**json.loads(fault), "pid": os.getpid()})
    with open_image(Path(image)) as opened, LinuxOpener(lambda _: card).open(card) as medium:
        plan = burn_plan.make(bmap.parse(Path(block_map).read_bytes()), size, opened.read)
        record = Patch(int(slot), RECORD)
        write_card(opened, plan, medium, name=device, reporter=QuietReporter(), record=record)


if __name__ == "__main__":
    main(*sys.argv[1:])
