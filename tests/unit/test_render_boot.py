"""How a node starts: the units by systemd's own reading, and the scripts on real disks and false clocks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.edits.table import apply
from pipeline.machine import process
from pipeline.model import Edit
from pipeline.raw import disk
from tests.support import blocks, scripts, systemd
from tests.support.blocks import MIB
from tests.support.rendering import FOLDER, cases_of, files, program, rendered

CASES = cases_of("boot")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_systemd_has_no_complaint_about_the_units_and_their_order(case: Path, tmp_path: Path) -> None:
    systemd.plant(tmp_path, rendered(case))
    ours = [Path(path).name for path in files(rendered(case)) if path.endswith(".service")]
    assert len(ours) == 2
    assert systemd.complaints(tmp_path, "multi-user.target", "time-sync.target", *ours) == ""


SCRIPTS = [file for file in sorted(scripts.FOLDER.iterdir()) if file.read_text("utf-8").startswith("#!")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_a_script_is_plain_shell_without_traps(script: Path) -> None:
    process.run([program("shellcheck", "shellcheck"), "--shell=sh", script])
    assert script.read_text("utf-8").startswith("#!/bin/sh\n")
    assert "\nset -eu\n" in script.read_text("utf-8")


# ------------------------------------------------------------------------------------- kernel options


def cmdline_of(case: str, golden: str) -> set[str]:
    (edit,) = (
        entry
        for entry in rendered(FOLDER / "boot" / case)
        if isinstance(entry, Edit) and entry.edit == "cmdline"
    )
    arguments = {name: value if isinstance(value, str) else "1234abcd-02" for name, value in edit.arguments}
    return set(apply(edit.edit, golden.encode(), arguments, edit.path).decode().split())


RASPIOS = (
    "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait "
    "quiet init=/usr/lib/raspberrypi-sys-mods/firstboot systemd.run=/boot/firstrun.sh "
    "systemd.run_success_action=reboot systemd.unit=kernel-command-line.target cfg80211.ieee80211_regdom=GB\n"
)
TRIXIE = (
    "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait "
    "resize cfg80211.ieee80211_regdom=GB ds=nocloud;i=rpi-imager-1763820000000 cloud-init=enabled\n"
)
KEPT = {"console=serial0,115200", "console=tty1", "rootfstype=ext4", "fsck.repair=yes", "rootwait"}
KEPT |= {"cfg80211.ieee80211_regdom=GB", "root=PARTUUID=1234abcd-02"}


def test_an_image_does_not_set_itself_up_at_its_first_start() -> None:
    assert cmdline_of("raspberry-pi", RASPIOS) == KEPT | {"quiet"}
    assert cmdline_of("raspberry-pi", TRIXIE) == KEPT
    assert cmdline_of("own-options", RASPIOS) == KEPT - {"console=serial0,115200"} | {
        "usb-storage.quirks=152d:0578:u"
    }


def test_k3s_gets_the_cgroup_of_memory_and_our_seed_no_rival() -> None:
    golden = TRIXIE.replace("rootwait", "rootwait cgroup_disable=memory cgroup_enable=cpuset")
    assert cmdline_of("k3s-with-a-seed", golden) == KEPT | {
        "cgroup_enable=cpuset",
        "cgroup_enable=memory",
        "cgroup_memory=1",
    }


# ------------------------------------------------------------------------------------------ set-clock

NEW_YEAR = 1767225600
DATE = """
case $* in
    "-u -s @"*) echo "$3" >>"$SET" ;;
    "-u +%s") echo "$NOW" ;;
    *) exec /bin/date "$@" ;;
esac
"""


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    scripts.stand_in(tmp_path / "tools", "date", DATE)
    return tmp_path


def clock_set(folder: Path, now: int, *names: str) -> list[str]:
    """What the clock is set to, when it stands at `now`."""
    record = folder / "set"
    record.unlink(missing_ok=True)
    said = scripts.run(
        "set-clock",
        *(folder / name for name in names),
        tools=folder / "tools",
        environment={"SET": str(record), "NOW": str(now)},
    )
    assert (said.code, said.err) == (0, b"")
    assert bool(said.out) == record.exists()
    return record.read_text().splitlines() if record.exists() else []


def touch(place: Path, time: int) -> None:
    place.touch()
    os.utime(place, (time, time))


def test_a_clock_that_is_behind_is_set_to_the_newest_file(clock: Path) -> None:
    touch(clock / "node.json", NEW_YEAR)
    touch(clock / "with a space", NEW_YEAR + 60)
    touch(clock / "old", NEW_YEAR - 60)
    names = ("node.json", "with a space", "old", "not there")
    assert clock_set(clock, 0, *names) == [f"@{NEW_YEAR + 60}"]
    assert clock_set(clock, NEW_YEAR, *names) == [f"@{NEW_YEAR + 60}"]


def test_a_clock_is_never_set_back(clock: Path) -> None:
    touch(clock / "node.json", NEW_YEAR)
    for now in (NEW_YEAR, NEW_YEAR + 1, 4102444800):
        assert clock_set(clock, now, "node.json") == []


def test_without_any_file_the_clock_stays(clock: Path) -> None:
    assert clock_set(clock, 0, "not there") == []
    assert clock_set(clock, 0) == []


def test_the_clock_is_set_before_what_looks_at_it() -> None:
    unit = files(rendered(FOLDER / "boot/amd64"))["/etc/systemd/system/metis-clock.service"]
    before = " ".join(re.findall(r"^Before=(.*)$", unit, re.MULTILINE)).split()
    assert {"time-set.target", "sysinit.target", "systemd-timesyncd.service", "chrony.service"} <= set(before)
    assert "/etc/metis/node.json" in unit


# ------------------------------------------------------------------------------------------ grow-root

TABLES = {
    "gpt": "label: gpt\nstart=2048, size=8192, type=U, name=boot\nsize=655360, type=L, name=r\n",
    "dos": "label: dos\nlabel-id: 0x1234\nstart=2048, size=8192, type=c, bootable\nsize=655360, type=83\n",
}
GROWN = re.compile(r"(?<=size=)\s*\d{6}\b|(?<=last-lba:) \d+")
SMALL, LARGE = 330 * MIB, 480 * MIB
MAKERS = {"ext4": "e2fsprogs", "xfs": "xfsprogs"}


@dataclass(frozen=True)
class Card:
    """A card that is larger than the image that was written to it, its root mounted as on a running node."""

    device: str
    root: Path
    folder: Path

    def grow(self, **tools: str) -> process.Finished:
        for name, text in tools.items():
            scripts.stand_in(self.folder / "tools", name, text)
        return scripts.run("grow-root", self.root, tools=self.folder / "tools" if tools else None)

    def size(self) -> int:
        about = os.statvfs(self.root)
        return about.f_blocks * about.f_frsize

    def table(self) -> str:
        return process.run(["sfdisk", "--dump", self.device]).out.decode()

    def partition(self) -> disk.Partition:
        """The root's."""
        return disk.read(Path(self.device)).partitions[-1]


@contextmanager
def inserted(folder: Path, table: str, filesystem: str, sector: int = 512, number: int = 2) -> Iterator[Card]:
    blocks.need_disks()
    image = folder / "card"
    with image.open("wb") as file:
        file.truncate(SMALL)
    with blocks.attached(image, sector) as device:
        process.run(["sfdisk", "--quiet", "--no-reread", device], stdin=table.encode())
    os.truncate(image, LARGE)
    with blocks.attached(image, sector) as device:
        root = f"{device}p{number}"
        process.run([program(f"mkfs.{filesystem}", MAKERS[filesystem]), "-q", root])
        with blocks.mounted(root, folder / "root") as mounted:
            (mounted / "file").write_text("kept")
            yield Card(device, mounted, folder)


@pytest.mark.parametrize("scheme", TABLES)
def test_the_root_grows_to_the_end_of_the_card_and_then_no_more(scheme: str, tmp_path: Path) -> None:
    """An XFS, which any root may grow; that an ext4 grows is seen where a machine boots from one."""
    with inserted(tmp_path, TABLES[scheme], "xfs") as card:
        before, old = card.partition(), card.table()
        assert card.grow().code == 0
        after = card.partition()
        assert LARGE - 2 * MIB <= after.end <= LARGE
        assert after.end % MIB == 0
        assert (after.start, after.type, after.partuuid) == (before.start, before.type, before.partuuid)
        assert card.size() > 400 * MIB
        assert (card.root / "file").read_text() == "kept"
        table = card.table()
        assert GROWN.sub("", table) == GROWN.sub("", old)
        again = card.grow(sfdisk="exit 1", partx="exit 1")
        assert again.code == 0, again.err
        assert card.table() == table


@pytest.mark.parametrize("scheme", TABLES)
def test_the_partition_grows_under_a_root_in_use(scheme: str, tmp_path: Path) -> None:
    with inserted(tmp_path, TABLES[scheme], "ext4") as card:
        assert (
            card.grow(resize2fs="echo resize2fs $1").out.decode().splitlines()[-1]
            == f"resize2fs {card.device}p2"
        )
        assert card.partition().end > LARGE - 2 * MIB
        sectors = int(Path(f"/sys/class/block/{Path(card.device).name}p2/size").read_text())
        assert sectors * 512 == card.partition().size
    process.run(["sfdisk", "--verify", tmp_path / "card"])


def test_a_card_of_large_sectors_grows_as_far(tmp_path: Path) -> None:
    table = "label: gpt\nstart=256, size=1024, type=U\nsize=81920, type=L\n"
    with inserted(tmp_path, table, "xfs", sector=4096) as card:
        assert card.grow().code == 0
        assert card.size() > 400 * MIB
    with blocks.attached(tmp_path / "card", 4096) as device:
        assert disk.read(Path(device)).partitions[-1].end > LARGE - 2 * MIB


@pytest.mark.parametrize("tool", ["sfdisk", "partx", "xfs_growfs"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("scheme", TABLES)
def test_what_was_cut_off_is_done_at_the_next_start(
    tool: str, when: str, scheme: str, tmp_path: Path
) -> None:
    with inserted(tmp_path, TABLES[scheme], "xfs") as card:
        first = f'{program(tool, "xfsprogs")} "$@"\n' if when == "after" else ""
        assert card.grow(**{tool: f"{first}kill -9 $PPID"}).code != 0
        assert (card.root / "file").read_text() == "kept"
        said = card.grow()
        assert (said.code, card.size() > 400 * MIB) == (0, True), said.err
        assert card.partition().end > LARGE - 2 * MIB


def test_a_root_with_a_partition_behind_it_stays_as_it_is(tmp_path: Path) -> None:
    table = "label: gpt\nstart=663552, size=2048, type=L\nstart=2048, size=655360, type=L\n"
    with inserted(tmp_path, table, "xfs") as card:
        before, size = card.table(), card.size()
        said = card.grow()
        assert said.code == 0
        assert b"is not the last partition" in said.out
        assert (card.table(), card.size()) == (before, size)


def test_a_logical_partition_stays_as_it_is_and_the_unit_says_so(tmp_path: Path) -> None:
    table = "label: dos\nstart=2048, size=663552, type=5\nstart=4096, size=655360, type=83\n"
    with inserted(tmp_path, table, "xfs", number=5) as card:
        before = card.table()
        said = card.grow(xfs_growfs="echo xfs_growfs $1")
        assert said.code == 1
        assert b"p5 cannot grow" in said.err
        assert b"xfs_growfs" in said.out
        assert card.table() == before


def test_without_sfdisk_the_unit_fails_with_one_line_and_changes_nothing(tmp_path: Path) -> None:
    with inserted(tmp_path, TABLES["dos"], "xfs") as card:
        before = card.table()
        tools = tmp_path / "few"
        tools.mkdir()
        for name in ("findmnt", "readlink", "tail"):
            (tools / name).symlink_to(program(name, "util-linux"))
        scripts.stand_in(tools, "xfs_growfs", "exit 0")
        said = process.run(
            [scripts.SHELL, scripts.FOLDER / "grow-root", card.root],
            check=False,
            extra_environment={"PATH": str(tools)},
        )
        (line,) = said.err.decode().splitlines()
        assert said.code == 1
        assert "sfdisk is missing" in line
        assert "install the package fdisk" in line
        assert card.table() == before


def test_a_root_that_is_no_partition_stays_as_it_is(tmp_path: Path) -> None:
    blocks.need_disks()
    with blocks.mounted("none", tmp_path / "root", "-t", "tmpfs") as root:
        said = scripts.run("grow-root", root)
    assert said.code == 0
    assert b"is not a partition" in said.out
