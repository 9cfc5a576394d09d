"""Every injector and what it can do: each test of the port is for all that can do what it asks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.golden.schemes import CREDENTIALS
from pipeline.inject.appliance import Appliance
from pipeline.inject.attaching import attached
from pipeline.inject.directory import DirectoryInjector
from pipeline.inject.partitions import by_label_or_content
from pipeline.inject.tree import Chooser, Injector, Layout, Trees, filled
from pipeline.lab.injectors import INJECTORS
from pipeline.lab.lab import user_cache
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.raw import disk
from pipeline.raw.disk import Disk
from tests.support import blocks, goldens


@dataclass(frozen=True)
class Adapter:
    """An injector by the name of its tests, which METIS_INJECTOR has too where it `searches`.

    `why_not` says why this machine cannot run it, "" where it can.
    """

    name: str
    injector: Callable[[], Injector]
    why_not: Callable[[], str]
    searches: bool = True
    """It finds the partitions itself."""
    mounts_fat: bool = False
    """It can be expected to, on every machine: its images have a boot partition."""
    is_slow: bool = False
    rehearses: bool = True
    """It answers quickly enough for the questions of a rehearsal."""

    def golden(self, **options: Any) -> Path:
        return (goldens.tiny_pi_golden if self.mounts_fat else goldens.tiny_golden)(**options)

    def open(self, image: Path, **options: Any) -> Any:
        chooser = options.pop("choose", by_label_or_content({}))
        return self.injector().open(image, disk.read(image), chooser, **options)


def of_the_lab(name: str) -> Injector:
    reporter = QuietReporter()
    return INJECTORS[name](
        lambda: Appliance(user_cache() / "appliance.json", reporter, CREDENTIALS), reporter.note
    )


def _no_appliance() -> str:
    try:
        import guestfs  # noqa: F401
    except ImportError:
        return "libguestfs's Python bindings are missing"
    return "" if any(Path("/boot").glob("vmlinu*")) else "there is no kernel in /boot for the appliance"


def _no_mounts() -> str:
    if os.geteuid() != 0:
        return "only root may mount"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices"


def _nothing() -> str:
    return ""


class Mounting:
    """The injector on folders, with somebody who grows the image's last partition and mounts it there."""

    @contextmanager
    def open(
        self, image: Path, disk: Layout, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> Iterator[Trees]:
        disk = filled(disk)
        place = f"offset={disk.partitions[-1].start},sizelimit={disk.partitions[-1].size}"
        with ExitStack() as stack:
            if grow:
                _grow_root(image, disk)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "a root")
            stack.enter_context(blocks.mounted(str(image), folder, "-o", f"loop,{place}"))
            injector = DirectoryInjector(folder, None)
            layout = injector.disk()
            assert layout == disk
            yield stack.enter_context(injector.open(image, layout, choose, read_only=read_only))


def _grow_root(image: Path, disk: Disk) -> None:
    last = disk.partitions[-1]
    with attached(image, last.start, last.size, read_only=False) as loop:
        process.run(["e2fsck", "-f", "-p", loop.device])
        process.run(["resize2fs", loop.device])


ADAPTERS = {
    adapter.name: adapter
    for adapter in (
        Adapter(
            "guestfs",
            lambda: of_the_lab("guestfs"),
            _no_appliance,
            mounts_fat=True,
            is_slow=True,
            rehearses=False,
        ),
        Adapter("loop", lambda: of_the_lab("loop"), _no_mounts),
        Adapter("direct", lambda: of_the_lab("direct"), _nothing, mounts_fat=True),
        Adapter("auto", lambda: of_the_lab("auto"), _nothing, mounts_fat=True),
        Adapter("directory", Mounting, _no_mounts, searches=False),
    )
}


def those(wanted: Callable[[Adapter], bool] = lambda _: True) -> list[Any]:
    """The names of some of them, as parameters of tests."""
    slow = pytest.mark.slow
    found = [adapter for adapter in ADAPTERS.values() if wanted(adapter)]
    return [pytest.param(one.name, marks=[slow] if one.is_slow else []) for one in found]


SEARCHING = those(lambda adapter: adapter.searches)


def usable(name: str) -> Adapter:
    """One of them; the test is skipped where it cannot be used."""
    if why_not := ADAPTERS[name].why_not():
        pytest.skip(why_not)
    return ADAPTERS[name]
