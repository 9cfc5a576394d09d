"""A sentinel without a node: snapshots that are made up, and a clock that only moves when somebody sleeps."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from metis_sentinel.clock import Clock

START = 1_795_910_400.0
"""29 November 2026, in seconds since 1970."""


class Ended(BaseException):
    """The time of a test is over."""


@dataclass
class Time:
    """Seconds since the test began; `at` holds what happens at some of them."""

    end: float = float("inf")
    chance: float = 0.5
    passed: float = 0.0
    naps: list[float] = field(default_factory=list)
    at: dict[float, Callable[[], None]] = field(default_factory=dict)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.naps.append(seconds)
        self.passed += seconds
        for moment in sorted(self.at):
            if moment <= self.passed:
                self.at.pop(moment)()
        if self.passed >= self.end:
            raise Ended

    def clock(self) -> Clock:
        return Clock(lambda: START + self.passed, lambda: self.passed, self.sleep, lambda: self.chance)


@dataclass
class Node:
    """Takes snapshots that only a test would: `taken` has all of them."""

    taken: list[dict[str, Any]] = field(default_factory=list)

    def take(self, root: str = "/", dropped: int = 0) -> dict[str, Any]:
        said = {"format": 1, "id": f"{len(self.taken):032x}", "at": "2026-11-29T00:00:00Z", "sentinel": "0"}
        self.taken.append({**said, "node": "titan-13", "hostname": root, "dropped": dropped})
        return self.taken[-1]

    @property
    def ids(self) -> list[str]:
        return [each["id"] for each in self.taken]


def plant(patch: pytest.MonkeyPatch) -> Node:
    """Have the program take a node's snapshots."""
    node, module = Node(), ModuleType("metis_sentinel.snapshot")
    module.take = node.take  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "metis_sentinel.snapshot", module)
    return node


def bytes_of(snapshot: dict[str, Any]) -> bytes:
    return json.dumps(snapshot).encode()


def files(folder: Path) -> list[str]:
    """The names of all files below a folder, as paths from there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
