"""What is done in user-mode Linux: checks that run one after the other, on one removable card.

`python -m tests.machine.in_uml FOLDER` runs them all, and writes what each said to results.json in FOLDER,
which has a Pi's card.img.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.card.cards import Card
from pipeline.card.here import here
from pipeline.errors import RefusedError
from pipeline.inject.directory import DirectoryInjector
from pipeline.machine import process
from pipeline.machine.progress import Advance, QuietReporter, Reporter
from pipeline.raw import disk
from pipeline.steps import burn, burnable, choosing
from tests.support.mounted import BOOT, BY_ID, NODE, SECRET, Work, check_is_applied, seen
from tests.support.waiting import wait_until

CARD = Path("/dev/sda")
LABELS = {"root": "armbi_root", "boot": "RPICFG"}
Check = Callable[[Path], None]
CHECKS: dict[str, Check] = {}


def check(each: Check) -> Check:
    """Run this one too, in the order of the file."""
    CHECKS[each.__name__] = each
    return each


def work() -> Work:
    return Work(Path(tempfile.gettempdir()), (*NODE, *BOOT, BY_ID), labels=dict(LABELS))  # type: ignore[arg-type]


def rules() -> choosing.Rules:
    return choosing.Rules(1 << 30, Path("/mnt"))


def judged(image: Path) -> Card:
    (card,) = choosing.judged(here(), [str(CARD)], image.stat().st_size, rules())
    return card


# ------------------------------------------------------------------------------------------------ checks


@check
def a_removable_disk_is_found_as_a_card(folder: Path) -> None:
    (card,) = [each for each in here().find() if each.path == str(CARD)]
    assert (card.kind, card.removable, card.size, card.sector) == ("disk", True, 64 << 20, 512), card
    assert card.model == "scsi_debug", card
    assert not card.mounts, card
    assert replace(here().card_at(str(CARD)), serial="") == replace(card, serial=""), card
    assert judged(folder / "card.img").identity[1:] == card.identity[1:]


@check
def a_burn_to_it_gives_it_the_image(folder: Path) -> None:
    image = folder / "card.img"
    report = burnt(folder, QuietReporter())
    assert report.error is None, report
    on_card, in_image = disk.read(CARD), disk.read(image)
    assert [each.label for each in on_card.partitions] == [each.label for each in in_image.partitions]
    assert on_card.partitions[-1].end > in_image.partitions[-1].end  # grown to the card
    first, end = in_image.partitions[0].start, in_image.partitions[-1].end
    process.run(["cmp", f"--ignore-initial={first}", f"--bytes={end - first}", image, CARD])


@check
def the_kernel_knows_the_partitions_of_what_was_burned(_folder: Path) -> None:
    wait_until(Path("/dev/sda2").exists)
    process.run(["e2fsck", "-f", "-n", "/dev/sda2"])
    process.run(["fsck.vfat", "-n", "/dev/sda1"])


@check
def its_partitions_get_the_files(_folder: Path) -> None:
    verdict = work().onto(CARD)
    assert verdict.error is None, verdict.to_text()
    assert not remains()
    process.run(["e2fsck", "-f", "-n", "/dev/sda2"])
    process.run(["fsck.vfat", "-n", "/dev/sda1"])


@check
def what_was_put_on_is_there_when_it_is_mounted(_folder: Path) -> None:
    with_mounts(lambda root, boot: check_holds(root, boot, CARD))


@check
def a_mounted_card_is_refused_and_its_folders_get_the_files(folder: Path) -> None:
    burned(folder)

    def inside(root: Path, boot: Path) -> None:
        for refused in (lambda: judged(folder / "card.img"), lambda: work().onto(CARD)):
            try:
                refused()
            except RefusedError:
                pass
            else:
                raise AssertionError("a mounted card was not refused")
        assert DirectoryInjector(root, boot).disk() == disk.read(CARD)
        verdict = work().into(root, boot)
        assert verdict.error is None, verdict.to_text()
        check_holds(root, boot, CARD)

    with_mounts(inside)


@check
def an_image_gets_the_files(folder: Path) -> None:
    verdict = work().onto(folder / "card.img")
    assert verdict.error is None, verdict.to_text()
    assert not remains()


@check
def a_sector_that_cannot_be_read_makes_it_no_card(folder: Path) -> None:
    faults = Path("/sys/bus/pseudo/drivers/scsi_debug/opts")
    faults.write_text("2")  # SDEBUG_OPT_MEDIUM_ERR, for the sectors that the module was given
    try:
        report = burnt(folder, QuietReporter())
        check_boots_nothing(report)
        start = disk.read(folder / "card.img").partitions[1].start
        assert f"is bad: it does not keep what is written at bytes {start} to " in str(report.error), report
    finally:
        faults.write_text("0")


@check
def a_card_that_is_pulled_out_boots_nothing(folder: Path) -> None:
    report = burnt(folder, Pulling())
    assert not CARD.exists()
    (host,) = Path("/sys/class/scsi_host").iterdir()
    (host / "scan").write_text("- - -")
    wait_until(CARD.exists)
    check_boots_nothing(report)
    assert burnt(folder, QuietReporter()).error is None


# ------------------------------------------------------------------------------------------------ inside


class Pulling(QuietReporter):
    """Pulls the card out when the first part of the body was written."""

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        def advance(_count: int) -> None:
            if "writing" in label:
                (Path("/sys/block") / CARD.name / "device/delete").write_text("1")

        with super().step(label, total):
            yield advance


def burnt(folder: Path, reporter: Reporter) -> burn.Report:
    image = folder / "card.img"
    with burnable.opened(image, reporter) as what:
        (report,) = burn.to_cards(what, [judged(image)], burn.Tools(here(), reporter, "never"))
    return report


def check_boots_nothing(report: burn.Report) -> None:
    assert report.error is not None
    with CARD.open("rb") as card:
        assert not any(card.read(1 << 20)), report.error


def burned(folder: Path) -> None:
    """Make the card as it was before files were put onto it."""
    process.run(["dd", f"if={folder / 'card.img'}", f"of={CARD}", "bs=1M", "conv=fsync"])
    process.run(["blockdev", "--rereadpt", CARD])


def with_mounts(inside: Callable[[Path, Path], None]) -> None:
    """The card's partitions mounted as they are on the node, and unmounted."""
    root = Path(tempfile.gettempdir(), "root")
    root.mkdir(exist_ok=True)
    process.run(["mount", "/dev/sda2", root])
    try:
        process.run(["mount", "/dev/sda1", root / "boot/firmware"])
        inside(root, root / "boot/firmware")
    finally:
        process.run(["umount", "--recursive", root])


def check_holds(root: Path, boot: Path, card: Path) -> None:
    found = seen(root)
    check_is_applied(found)
    assert found["etc/rancher/token"][3] == SECRET.encode()
    assert (boot / "ssh").is_file()
    assert b"enable_uart=1" in (boot / "config.txt").read_bytes()
    assert f"PARTUUID={disk.read(card).partitions[1].partuuid}" in (root / "etc/fstab").read_text()


def remains() -> str:
    """Loop devices that are attached."""
    return process.run(["losetup", "--list", "--noheadings"]).out.decode()


def main() -> None:
    folder = Path(sys.argv[1])
    results = {}
    for name, each in CHECKS.items():
        started = time.monotonic()
        try:
            each(folder)
            results[name] = ""
        except Exception:  # noqa: BLE001 - told where it can be seen
            results[name] = traceback.format_exc()
        print(f"{time.monotonic() - started:6.1f} s  {name}", flush=True)  # noqa: T201
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
