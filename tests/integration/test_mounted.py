"""A mounted card, or a card's partitions, get the files of a class and a node and are read back.

What cannot go on is refused before anything is written, and nothing stays mounted or attached, whatever
happens. This kernel may lack FAT: `machine/test_uml` does it with a boot partition.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from pipeline.errors import MetisError, MismatchError, RefusedError
from pipeline.inject import directory
from pipeline.inject.directory import NO_DISK, DirectoryInjector
from pipeline.machine import process
from pipeline.model import Blob, Edit, Entry, ImageFact, SecretRef
from pipeline.raw import disk
from tests.support import blocks, goldens
from tests.support.mounted import (
    BOOT,
    BY_ID,
    CLASS,
    NODE,
    SECRET,
    Work,
    check_is_applied,
    file,
    open_blob,
    seen,
)
from tests.support.waiting import wait_until

ODD = "a card's röot \\ #\t\n\r\v\u2028 - "


def no_such_secret(ref: SecretRef) -> bytes:
    raise MetisError(f"{ref.name} is missing")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Work(scratch)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return Path(shutil.copy(goldens.tiny_golden(), tmp_path / "card.img"))


@pytest.fixture
def card(image: Path) -> Iterator[Path]:
    """A device of which the kernel knows the partitions."""
    blocks.need_disks()
    with blocks.attached(image) as device:
        yield Path(device)


@pytest.fixture
def mounted(card: Path, tmp_path: Path) -> Iterator[Path]:
    with blocks.mounted(f"{card}p1", tmp_path / ODD) as root:
        yield root


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A root and a boot that are no mounts, and that can be removed afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root may give files their owners")
    root, boot = tmp_path / "root", tmp_path / "root/boot/firmware"
    for path in ("boot/firmware", "etc", "usr/lib"):
        (root / path).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "link").symlink_to("etc/hosts")
    (root / "etc/os-release").write_text(goldens.OS_RELEASE)
    (root / "etc/hosts").write_text("127.0.0.1\tlocalhost\n")
    (root / "etc/motd").write_text("golden\n")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (boot / "config.txt").write_text("arm_64bit=1\n")
    with blocks.removable(root):
        yield root, boot


def remains(image: Path) -> list[str]:
    """What is left of work on an image: mounts, and loop devices on it."""
    attached = process.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"]).out.decode()
    mounts = Path("/proc/self/mountinfo").read_text()
    return [line for line in (*attached.splitlines(), *mounts.splitlines()) if str(image) in line]


# ---------------------------------------------------------------------------------------------- folders


def test_folders_get_the_files_of_both_and_are_compared(work: Work, folders: tuple[Path, Path]) -> None:
    root, boot = folders
    work.entries = (*NODE, *BOOT)
    verdict = work.into(root, boot)
    assert (verdict.error, verdict.subject, verdict.image) == (None, "titan-13", root)
    assert verdict.entries == len(CLASS) + len(work.entries)
    found = seen(root)
    check_is_applied(found)
    assert found["boot/firmware/ssh"][3] == b""
    assert b"enable_uart=1" in (boot / "config.txt").read_bytes()


def test_what_is_there_already_changes_nothing(work: Work, folders: tuple[Path, Path]) -> None:
    root, boot = folders
    work.entries = (*NODE, *BOOT)
    work.into(root, boot)
    before = seen(root)
    assert work.into(root, boot).error is None
    assert seen(root) == before


def test_folders_of_a_mounted_card_know_its_disk(work: Work, card: Path, mounted: Path) -> None:
    work.entries = (*NODE, BY_ID)
    work.labels = {"root": "rootfs"}
    assert work.into(mounted).error is None
    check_is_applied(seen(mounted))
    layout = disk.read(card)
    assert f"PARTUUID={layout.partitions[0].partuuid}" in (mounted / "etc/fstab").read_text()
    assert DirectoryInjector(mounted, None).disk() == layout


def test_a_part_of_a_file_system_is_no_partition(mounted: Path) -> None:
    inner = mounted / "srv/inner"
    (inner / "etc").mkdir(parents=True)
    (inner / "etc/os-release").write_text(goldens.OS_RELEASE)
    assert DirectoryInjector(inner, None).disk() == NO_DISK


def test_the_roots_own_files_do_not_go_into_what_is_mounted_on_it(
    work: Work, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    root, boot = folders
    process.run(["mount", "-t", "tmpfs", "-o", "size=1m", "boot", boot])
    try:
        (boot / "config.txt").write_text("arm_64bit=1\n")
        work.entries = (file("/boot/firmware/x"), *BOOT)
        with pytest.raises(MetisError, match=r"/boot/firmware/?x? of .* is on another file system"):
            work.into(root, boot)
        work.entries = BOOT
        assert work.into(root, boot).error is None
        assert (boot / "ssh").is_file()
    finally:
        process.run(["umount", boot])


def test_a_file_system_that_is_full_is_said_in_words(work: Work, tmp_path: Path) -> None:
    blocks.need_disks()
    root = tmp_path / "small"
    root.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", root])
    try:
        (root / "etc").mkdir()
        (root / "etc/os-release").touch()
        work.of_class = ()
        work.entries = (file("/srv/long", "x" * (1 << 20)),)
        with pytest.raises(MetisError, match=r"^the files do not fit into .*/small: "):
            work.into(root)
    finally:
        process.run(["umount", root])


def wrong_root(root: Path, boot: Path) -> tuple[Path, Path | None]:
    shutil.rmtree(root / "etc")
    return root, boot


def wrong_boot(root: Path, boot: Path) -> tuple[Path, Path | None]:
    (boot / "config.txt").rename(boot / "holiday.jpg")
    return root, boot


def a_link_in_a_circle(root: Path, boot: Path) -> tuple[Path, Path | None]:
    (root.parent / "circle").symlink_to("circle")
    return root.parent / "circle", boot


def looks_like_a_boot(root: Path, _boot: Path) -> tuple[Path, Path | None]:
    (root.parent / "cmdline.txt").touch()
    return root, root.parent


WRONG_FOLDERS: dict[str, tuple[Callable[[Path, Path], tuple[Path, Path | None]], type[MetisError], str]] = {
    "a root without anything of a system": (
        wrong_root,
        MetisError,
        "is no root: it has no etc/os-release or",
    ),
    "a boot without a firmware's files": (wrong_boot, MetisError, "is no boot: it has no config.txt or cmd"),
    "no such folder": (lambda root, boot: (root / "none", boot), MetisError, "No such file or directory"),
    "a file": (lambda root, boot: (root / "etc/hosts", boot), MetisError, "Not a directory"),
    "a circle": (a_link_in_a_circle, MetisError, "is no folder for the root"),
    "one folder for both": (lambda root, _: (root, root), RefusedError, "for the root and for the boot"),
    "the root in the boot": (looks_like_a_boot, RefusedError, "lies in the boot"),
    "the host's root": (lambda _, boot: (Path("/"), boot), RefusedError, "/ is of the system that runs here"),
    "the host's root, by detours": (
        lambda root, boot: (root.parent / "scratch/../../../../../../../..", boot),
        RefusedError,
        "/ is of the system that runs here",
    ),
    "the host's /etc": (lambda _, boot: (Path("/etc"), boot), RefusedError, "of the system that runs here"),
    "the host's boot": (lambda root, _: (root, Path("/boot")), RefusedError, "of the system that runs here"),
}


@pytest.mark.parametrize("name", WRONG_FOLDERS)
def test_wrong_folders_are_refused_and_not_changed(work: Work, folders: tuple[Path, Path], name: str) -> None:
    wrong, error, message = WRONG_FOLDERS[name]
    root, boot = wrong(*folders)
    before = seen(folders[0])
    with pytest.raises(error) as caught:
        work.into(root, boot)
    assert message in str(caught.value)
    assert type(caught.value) is error
    assert seen(folders[0]) == before


def test_the_hosts_root_mounted_elsewhere_is_refused(work: Work, tmp_path: Path) -> None:
    blocks.need_disks()
    with blocks.mounted("/", tmp_path / "elsewhere", "--bind") as root, pytest.raises(RefusedError):
        work.into(root)


def test_another_partition_of_the_systems_disk_is_refused(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks.need_disks()
    image = Path(shutil.copy(goldens.tiny_golden(roots=("one", "two")), tmp_path / "card.img"))
    with (
        blocks.attached(image) as device,
        blocks.mounted(f"{device}p1", tmp_path / "system") as system,
        blocks.mounted(f"{device}p2", tmp_path / "other") as other,
    ):
        monkeypatch.setattr(directory, "_SYSTEM", [str(system)])
        before = seen(other)
        with pytest.raises(RefusedError, match="other is on the disk of the system that runs here"):
            work.into(other)
        assert seen(other) == before


def test_what_is_mounted_for_reading_is_refused(work: Work, card: Path, tmp_path: Path) -> None:
    with (
        blocks.mounted(f"{card}p1", tmp_path / "root", "-o", "ro") as root,
        pytest.raises(MetisError, match="is mounted for reading only: `mount -o remount,rw"),
    ):
        work.into(root)


def test_who_is_not_root_is_told(
    work: Work, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MetisError, match="only root may give files their owners and modes: use sudo"):
        work.into(folders[0])


def test_a_mounted_file_system_cannot_be_grown(folders: tuple[Path, Path]) -> None:
    injector = DirectoryInjector(*folders)
    with (
        pytest.raises(MetisError, match="is mounted, and cannot be grown"),
        injector.open(folders[0], NO_DISK, lambda *_: pytest.fail("asked"), grow=True),
    ):
        pass


# ------------------------------------------------------------------- what is found before it is written

UNFIT: dict[str, tuple[tuple[Entry, ...], str]] = {
    "an owner nobody knows": ((*NODE, file("/srv/x", owner="who")), "does not know 'who'"),
    "a file over a directory": ((*NODE, file("/boot")), "/boot in the golden is a directory"),
    "a file over a directory of the class": ((*NODE, file("/srv/shared")), "/srv/shared in the golden is a"),
    "an edit of a link": ((*NODE, Edit("/link", "hosts")), "/link in the golden is a symlink"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_go_in_is_found_before_anything_is_written(
    work: Work, folders: tuple[Path, Path], name: str
) -> None:
    entries, message = UNFIT[name]
    work.entries = tuple(entry for entry in entries if entry.path != "/srv/shared/data")
    before = seen(folders[0])
    with pytest.raises(MetisError) as caught:
        work.into(*folders)
    assert message in str(caught.value)
    assert seen(folders[0]) == before


def test_a_missing_secret_is_found_before_anything_is_written(work: Work, folders: tuple[Path, Path]) -> None:
    work.reveal = no_such_secret
    before = seen(folders[0])
    with pytest.raises(MetisError, match="k3s_token is missing"):
        work.into(*folders)
    assert seen(folders[0]) == before


def test_files_for_a_boot_that_nobody_named_are_refused(work: Work, folders: tuple[Path, Path]) -> None:
    work.entries = (*NODE, *BOOT)
    before = seen(folders[0])
    with pytest.raises(MetisError, match="has files for the boot partition"):
        work.into(folders[0])
    assert seen(folders[0]) == before


def test_where_there_are_no_partitions_they_are_named_as_they_were(
    work: Work, folders: tuple[Path, Path]
) -> None:
    root, boot = folders
    (boot / "cmdline.txt").write_text("console=tty1 root=LABEL=old rw\n")
    add = Edit(
        "/cmdline.txt", "cmdline", (("add", "quiet"), ("root", ImageFact("root_partuuid"))), side="boot"
    )
    work.entries = (*NODE, add)
    assert work.into(root, boot).error is None
    assert (boot / "cmdline.txt").read_text() == "console=tty1 root=LABEL=old rw quiet\n"


def test_a_card_of_another_label_is_refused(work: Work, mounted: Path) -> None:
    work.labels = {"root": "armbi_root"}
    before = seen(mounted)
    with pytest.raises(MetisError, match="no root partition with the label 'armbi_root'"):
        work.into(mounted)
    assert seen(mounted) == before


def test_what_reads_back_otherwise_is_a_mismatch_without_the_secret(
    work: Work, folders: tuple[Path, Path]
) -> None:
    values = iter([SECRET, SECRET, "another"])
    work.reveal = lambda _ref: next(values).encode()
    verdict = work.into(*folders)
    assert isinstance(verdict.error, MismatchError)
    assert "run again; where it stays so, take another card" in str(verdict.error)
    assert [(each.path, each.what) for each in verdict.findings] == [("/etc/rancher/token", "content")]
    assert SECRET not in verdict.to_text() + str(verdict.error)


# --------------------------------------------------------------------------------------------- partitions


def on_it(image: Path, command: str) -> str:
    """What debugfs says of the root of an image."""
    place = f"{image}?offset={disk.read(image).partitions[-1].start}"
    return process.run(["debugfs", "-R", command, place]).out.decode()


@pytest.mark.parametrize("kind", ["device", "image"])
def test_a_cards_partitions_get_the_files_and_are_compared(
    work: Work, request: pytest.FixtureRequest, image: Path, kind: str
) -> None:
    blocks.need_disks()
    target: Path = request.getfixturevalue("card") if kind == "device" else image
    work.entries = (*NODE, BY_ID)
    attached = remains(image)
    for _ in range(2):
        verdict = work.onto(target)
        assert (verdict.error, verdict.image) == (None, target)
        assert remains(image) == attached
    process.run(["sync", target])
    assert on_it(image, "cat /etc/hostname") == "titan-13\n"
    assert on_it(image, "cat /etc/rancher/token") == SECRET
    assert f"PARTUUID={disk.read(image).partitions[0].partuuid}" in on_it(image, "cat /etc/fstab")
    part = disk.read(image).partitions[0]
    with blocks.attached(image) as device:
        process.run(["e2fsck", "-f", "-n", f"{device}p{part.number}"])


def test_a_card_that_is_in_use_is_refused_and_not_changed(
    work: Work, card: Path, image: Path, mounted: Path
) -> None:
    process.run(["sync", mounted])
    before = goldens.sha256(image)
    with pytest.raises(RefusedError, match=f"^{card} is in use: unmount all that is on it"):
        work.onto(card)
    assert goldens.sha256(image) == before


def test_an_image_that_is_burned_to_is_refused_meanwhile(work: Work, image: Path) -> None:
    blocks.need_disks()
    with image.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RefusedError, match=f"^{image} is in use: wait"):
            work.onto(image)
    assert work.onto(image).error is None


def test_nobody_else_gets_the_card_meanwhile(work: Work, card: Path) -> None:
    tried: list[int | None] = []

    def try_to_take(_blob: Blob) -> BinaryIO:
        for path in (card, f"{card}p1"):
            with pytest.raises(OSError, match="busy") as caught:
                os.open(path, os.O_RDONLY | os.O_EXCL)
            tried.append(caught.value.errno)
        return open_blob(_blob)

    work.open_blob = try_to_take
    assert work.onto(card).error is None
    assert set(tried) == {errno.EBUSY}
    os.close(os.open(card, os.O_RDONLY | os.O_EXCL))


def test_a_card_without_a_partition_table_is_refused(work: Work, image: Path) -> None:
    blocks.need_disks()
    image.write_bytes(bytes(1 << 20))
    with pytest.raises(MetisError, match="has no partition table"):
        work.onto(image)


@pytest.mark.parametrize("kind", ["device", "image"])
def test_a_failure_in_the_middle_leaves_nothing_mounted(
    work: Work, request: pytest.FixtureRequest, image: Path, kind: str
) -> None:
    blocks.need_disks()
    target: Path = request.getfixturevalue("card") if kind == "device" else image
    attached = remains(image)
    opened: list[bool] = []

    def fails_the_second_time(blob: Blob) -> BinaryIO:
        opened.append(len(remains(target)) > 0)
        if len(opened) > 1:
            raise MetisError("the cache is gone")
        return open_blob(blob)

    work.open_blob = fails_the_second_time
    with pytest.raises(MetisError, match="the cache is gone"):
        work.onto(target)
    assert opened == [True, True]
    assert remains(image) == attached
    work.open_blob = open_blob
    assert work.onto(target).error is None


KILLED = """\
import sys, time
from pathlib import Path
from pipeline.errors import MetisError
from tests.support.mounted import Work, reveal
image, marker = map(Path, sys.argv[1:])
times = []
def hang(ref):
    times.append(ref)
    if len(times) > 1:  # the first time nothing is written
        marker.touch()
        time.sleep(600)
    return reveal(ref)
Work(marker.parent, reveal=hang).onto(image)
"""


@pytest.mark.parametrize("kind", ["device", "image"])
def test_a_kill_in_the_middle_leaves_nothing_mounted_and_running_again_repairs_it(
    work: Work, request: pytest.FixtureRequest, image: Path, tmp_path: Path, kind: str
) -> None:
    blocks.need_disks()
    target: Path = request.getfixturevalue("card") if kind == "device" else image
    attached = remains(image)
    marker, log = tmp_path / "marker", tmp_path / "log"
    with process.background([sys.executable, "-c", KILLED, str(target), str(marker)], log) as child:
        wait_until(marker.exists, child)
        assert remains(target)
        child.kill()
    wait_until(lambda: remains(image) == attached and not (kind == "device" and is_held(target)))
    assert work.onto(target).error is None


def is_held(card: Path) -> bool:
    try:
        os.close(os.open(card, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return True
    return False
