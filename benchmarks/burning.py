"""Burns beside `bmaptool copy` of the same image and block map, beside the card's own limits, and beside dd.

What counts is what each says of its own copying, so that neither pays for the start of its interpreter. The
card is a block device: a plain loop device over memory, or one that reads and writes at given rates.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.errors import MetisError
from pipeline.machine import process
from tests.support import goldens, nbd
from tests.support.blocks import attached as plain_loop
from tests.support.lab import Lab, class_text

from .compare import Comparison, Cost

MIB = 1 << 20
NODE = "one"
CONTENT = 400 * MIB
"""Bytes of a file in the overlay: as much as there is of a small node's system."""
CARD = 1 << 30
WRITES, READS = 60 * MIB, 240 * MIB
"""Bytes a second of a card of the better kind."""
PLAIN_BOUND, WRITE_BOUND, WHOLE_BOUND, AGAIN_BOUND = 0.8, 1.03, 1.05, 1 / 3
AGAIN = 0.02
"""A change of one setting may write this part of what is mapped."""
_SLOW = Path(__file__).with_name("slow_card.py")
_TIME = re.compile(r"copying time: (?:(\d+)m )?([0-9.]+)s")


@dataclass(frozen=True, slots=True)
class Bench:
    """A lab with a node's image, and a card to burn it to."""

    lab: Lab
    device: str

    @property
    def image(self) -> Path:
        return self.lab.artifacts / f"{NODE}.img"

    @property
    def mapped(self) -> int:
        about: dict[str, int] = json.loads(self.image.with_name(f"{NODE}.receipt.json").read_text())
        return about["mapped"]

    def burn(self, delta: str = "never") -> Mapping[str, Any]:
        """Burn the image as it is, and give what the burn says of itself."""
        words = ["--image", str(self.image), "--device", self.device, "--allow-fixed", "--delta", delta]
        said = self.lab.metis("burn", *words, "--yes", "--json")
        if said.code:
            raise MetisError(said.err)
        report: dict[str, Any] = json.loads(said.out)[0]
        return report

    def bmaptool(self) -> float:
        """Seconds of `bmaptool copy`, as it tells them."""
        done = process.run(["bmaptool", "copy", self.image, self.device], timeout=600)
        told = _TIME.search((done.out + done.err).decode())
        assert told is not None, done.err
        return 60 * int(told[1] or 0) + float(told[2])

    def dd(self) -> float:
        """Seconds of dd, which writes the holes too, as it tells them."""
        words = [f"if={self.image}", f"of={self.device}", "bs=4M", "conv=fsync", "oflag=direct"]
        said = process.run(["dd", *words], timeout=600).err.decode()
        return float(said.rpartition(" copied, ")[2].partition(" s")[0])

    def change(self, number: int) -> None:
        """Give the node another setting, and build its image."""
        self.lab.write(f"nodes/{NODE}.yaml", node_text(f"address: 192.0.2.{number}/24"))
        built = self.lab.metis("image", "--node", NODE)
        if built.code:
            raise MetisError(built.err)


def node_text(network: str) -> str:
    return f"class: only\nnetwork: {{interface: eth0, {network}}}\n"


@contextmanager
def bench(folder: Path, *, slow: bool) -> Iterator[Bench]:
    """A lab with its image built, and a card; what the card had before is not zero."""
    lab = Lab(folder / "lab", {"METIS_CACHE": str(folder / "cache"), "METIS_INJECTOR": "loop"})
    golden = goldens.tiny_golden()
    text = class_text(golden, goldens.sha256(golden), "root_overlay: overlays/only\n").replace(
        "headroom: 4M", "headroom: 700M"
    )
    lab.write("classes/only.yaml", text)
    content = lab.inventory / "overlays/only/srv/content"
    content.parent.mkdir(parents=True)
    with content.open("wb") as file:
        for _ in range(CONTENT // MIB):
            file.write(os.urandom(MIB))
    medium = folder / "medium"
    medium.write_bytes(os.urandom(MIB) * (CARD // MIB))
    opened = (
        nbd.attached(_SLOW, folder, medium=medium, read=READS, write=WRITES) if slow else plain_loop(medium)
    )
    with opened as device:
        found = Bench(lab, device)
        found.change(7)
        yield found


@contextmanager
def folder() -> Iterator[Path]:
    """A folder in memory, so that the medium below a card is never what limits it."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-", dir="/dev/shm") as name:
        yield Path(name)


def on_a_plain_card(runs: int) -> list[Comparison]:
    """Writing alone, beside bmaptool, on a card that is as fast as memory."""
    with folder() as place, bench(place, slow=False) as found:
        pairs = [(_writing(found.burn()), found.bmaptool()) for _ in range(runs + 1)][1:]
        return [_compared("write, plain card", PLAIN_BOUND, pairs, found)]


def on_a_slow_card(runs: int, *, briefly: bool = False) -> list[Comparison]:
    """On one card whose rates are known: writing alone, all of a burn, and a burn after a setting changed.

    `briefly` leaves out dd, whose figure is held to no bound.
    """
    write, whole, again = [], [], []
    with folder() as place, bench(place, slow=True) as found:
        limit = found.mapped / WRITES + found.mapped / READS
        for number in range(runs):
            report, peer = found.burn(), found.bmaptool()
            took = sum(report["seconds"].values())
            write.append((_writing(report), peer))
            whole.append((took, limit))
            found.burn("always")  # bmaptool has left the card without a record
            found.change(8 + number)
            again.append((_changed(found), took))
        about = {} if briefly else {"dd": found.dd()}
        return [
            _compared("write, slow card", WRITE_BOUND, write, found, about),
            _compared("burn, slow card, beside its limit", WHOLE_BOUND, whole, found, about),
            _compared("burn again, beside a whole burn", AGAIN_BOUND, again, found),
        ]


def _writing(report: Mapping[str, Any]) -> float:
    """Seconds of a burn without its read-back."""
    seconds: Mapping[str, float] = report["seconds"]
    return sum(value for name, value in seconds.items() if name != "reading back")


def _changed(found: Bench) -> float:
    report = found.burn("auto")
    if not 0 < report["written"] < AGAIN * found.mapped:
        raise MetisError(f"{report['written']} bytes were written of {found.mapped}")
    return float(sum(report["seconds"].values()))


def _compared(
    name: str,
    bound: float,
    pairs: Sequence[tuple[float, float]],
    found: Bench,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> Comparison:
    ours, peer = ([Cost(pair[side], 0.0) for pair in pairs] for side in (0, 1))
    return Comparison(name, bound, ours, peer, {"mapped": found.mapped, **about})
