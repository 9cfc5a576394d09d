"""A real block device that fails when it is told to; see `faulty_card.py` for what it can be told."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from pipeline.card.cards import Card
from tests.support import nbd


class Faulty:
    """The device, once it was started, and in `medium` what it really holds."""

    def __init__(self, folder: Path, size: int) -> None:
        self.medium = folder / "medium"
        self.device = ""
        self._control = folder / "control"
        self._folder = folder
        self._stack = ExitStack()
        self._vanishes = self._has_gone = False
        with self.medium.open("wb") as file:
            file.truncate(size)
        self.tell({"kind": "none"})

    @property
    def card(self) -> Card:
        number = Path(self.device).stat().st_rdev
        return Card(
            self.device,
            "loop",
            self.medium.stat().st_size,
            number=f"{os.major(number)}:{os.minor(number)}",
        )

    @property
    def is_up(self) -> bool:
        """Whether the device is there, and its medium has not gone away."""
        return bool(self.device) and not self._has_gone and not (self._vanishes and self.has_failed)

    @property
    def has_failed(self) -> bool:
        """Whether what it was told to do came about since then."""
        return self._came.exists()

    @property
    def control(self) -> Path:
        return self._control

    @property
    def _came(self) -> Path:
        return Path(f"{self._control}.came")

    def tell(self, fault: Mapping[str, str | int | bool]) -> None:
        """Say what goes wrong from now on; bytes are counted from here."""
        self._has_gone |= self._vanishes and self.has_failed
        self._vanishes = fault["kind"] == "vanish"
        tell(self._control, fault)

    def start(self) -> None:
        """Show it as a device."""
        plugin = Path(__file__).with_name("faulty_card.py")
        shown = nbd.attached(plugin, self._folder, file=self.medium, control=self._control)
        self.device = self._stack.enter_context(shown)
        self._has_gone = False

    def stop(self) -> None:
        self.device = ""
        self._stack.close()


def tell(control: Path, fault: Mapping[str, str | int | bool]) -> None:
    """As `Faulty.tell`, for another process."""
    Path(f"{control}.came").unlink(missing_ok=True)
    new = control.with_suffix(".new")
    new.write_text(json.dumps(fault))
    new.rename(control)
