"""Edits of what decides how a card starts: the kernel's options, the firmware's settings, and fstab."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.edits.table import apply
from pipeline.errors import MetisError
from pipeline.machine import process
from tests.support.rendering import program


def edited(edit: str, text: str, /, **arguments: str) -> str:
    return apply(edit, text.encode(), arguments, f"/{edit}").decode()


# ------------------------------------------------------------------------------------------- cmdline.txt

PARTUUID = "6d6e4f4e-02"
ROOT = f"root=PARTUUID={PARTUUID}"
CMDLINES = {
    "the root is named by id, in its place": ("root=LABEL=a rw\n", {}, f"{ROOT} rw"),
    "an option is put last": ("root=a quiet\n", {"add": "x=1 y"}, f"{ROOT} quiet x=1 y"),
    "an option that is there is not put twice": ("x=1 root=a x=1\n", {"add": "x=1 x=1"}, f"{ROOT} x=1"),
    "an option wins over another of its name": (
        "x=2 root=a x=1 x=3\n",
        {"add": "x=1"},
        f"x=2 {ROOT} x=3 x=1",
    ),
    "what is for init stays behind what is for the kernel": (
        "root=a quiet -- single\n",
        {"add": "x=1"},
        f"{ROOT} quiet x=1 -- single",
    ),
    "an option is removed": ("root=a quiet splash\n", {"remove": "quiet"}, f"{ROOT} splash"),
    "all options of a name are removed": (
        "console=a console=b,115200 consoleblank=0 root=c\n",
        {"remove": "console"},
        f"consoleblank=0 {ROOT}",
    ),
    "only the option of a value is removed": (
        "init=/sbin/first root=a init=/sbin/init\n",
        {"remove": "init=/sbin/first"},
        f"{ROOT} init=/sbin/init",
    ),
    "all that begin alike are removed": (
        "ds=nocloud;s=file:///x ds=none root=a ds=nocloud\n",
        {"remove": "ds=nocloud*"},
        f"ds=none {ROOT}",
    ),
    "several lines become one": ("root=a\nquiet\r\n\n", {}, f"{ROOT} quiet"),
    "a line without its end gets one": ("root=a", {}, ROOT),
    "only one root stays": ("root=a rw root=b root=a\n", {}, f"{ROOT} rw"),
    "names that only begin alike are others": (
        "rootwait rootfstype=ext4 root=a resized\n",
        {"remove": "resize"},
        f"rootwait rootfstype=ext4 {ROOT} resized",
    ),
    "a value in quotes keeps its spaces": (
        'root=a dyndbg="file a  +p" quiet\n',
        {"remove": "a"},
        f'{ROOT} dyndbg="file a  +p" quiet',
    ),
    "a newline in quotes does not make two lines": ('root=a x="1\n2"\n', {}, f'{ROOT} x="1 2"'),
}


@pytest.mark.parametrize(("old", "arguments", "new"), CMDLINES.values(), ids=CMDLINES)
def test_cmdline(old: str, arguments: dict[str, str], new: str) -> None:
    assert edited("cmdline", old, root=PARTUUID, **arguments) == f"{new}\n"


@pytest.mark.parametrize("old", ["", "\n", "quiet splash\n", "rootwait xroot=a\n", 'x="root=a'])
def test_a_card_that_would_not_find_its_root_is_refused(old: str) -> None:
    with pytest.raises(MetisError, match="/cmdline of the golden is missing or has no root=: use an image"):
        edited("cmdline", old, root=PARTUUID)


options = st.sampled_from(
    ["root=a", "root", "x=1", "x", "quiet", '"', '"a b"', "ds=nocloud;", "\t", "\r\n", "\n", " "]
)


@given(
    st.lists(options).map(" ".join),
    st.sampled_from(["", "quiet", "x", "x=1 ds=*"]),
    st.sampled_from(["", "x=1 y"]),
)
def test_cmdline_is_always_one_line_and_done_twice_is_done_once(old: str, remove: str, add: str) -> None:
    text = f"root=b {old}"
    once = edited("cmdline", text, root=PARTUUID, add=add, remove=remove)
    assert once.count("\n") == 1
    assert once.endswith("\n")
    assert once.split().count(ROOT) == 1
    assert not {"x=1", "y"} & set(add.split()) - set(once.split())
    assert edited("cmdline", once, root=PARTUUID, add=add, remove=remove) == once


# -------------------------------------------------------------------------------------------- config.txt

CONFIGS = {
    "a setting is put last": ("arm_64bit=1\n", "arm_64bit=1\nkernel=kernel8.img\n"),
    "an older one gives way": ("kernel=old.img\na=1\n", "a=1\nkernel=kernel8.img\n"),
    "after another section it is for all again": (
        "[pi5]\nkernel=kernel_2712.img\n",
        "[pi5]\nkernel=kernel_2712.img\n[all]\nkernel=kernel8.img\n",
    ),
    "comments, other settings and spaces stay": (
        "# kernel=x\nkernel_address=0\n\n  kernel = y\n[all]\n",
        "# kernel=x\nkernel_address=0\n\n[all]\nkernel=kernel8.img\n",
    ),
    "a file that is not there is made": ("", "kernel=kernel8.img\n"),
    "line ends of DOS stay": ("[Pi4]\r\na=1\r\n", "[Pi4]\r\na=1\r\n[all]\nkernel=kernel8.img\n"),
}
KERNEL = {"name": "kernel", "value": "kernel8.img"}


@pytest.mark.parametrize(("old", "new"), CONFIGS.values(), ids=CONFIGS)
def test_config_txt(old: str, new: str) -> None:
    assert edited("config_txt", old, **KERNEL) == new


config_lines = st.sampled_from(
    ["[all]", "[ALL]", "[pi5]", "[", "kernel=a", "kernel = b", "#", "", "a=1\r", "\u2028"]
)


@given(st.lists(config_lines), st.sampled_from(["", "\n"]))
def test_config_txt_done_twice_is_done_once_and_keeps_the_rest(lines: list[str], end: str) -> None:
    once = edited("config_txt", "\n".join(lines) + end, **KERNEL)
    assert edited("config_txt", once, **KERNEL) == once
    remaining = iter(once.split("\n"))
    assert all(line in remaining for line in lines if not line.startswith("kernel"))


# ------------------------------------------------------------------------------------------------- fstab

MOUNTS = (
    "UUID=0a1b2c3d-0000-4000-8000-123456789abc /mnt/longhorn ext4 defaults,noatime,nofail 0 2\n"
    "/mnt/scratch/var/log/pods /var/log/pods none bind,nofail 0 0\n"
)
IDS = {"root": "6d6e4f4e-02", "boot": "6d6e4f4e-01"}
FSTABS: dict[str, tuple[str, dict[str, str], str]] = {
    "mounts are put last": (
        "LABEL=r / ext4 defaults 0 1\n",
        {"mounts": MOUNTS},
        f"LABEL=r / ext4 defaults 0 1\n{MOUNTS}",
    ),
    "a mount in the same place gives way": (
        "/dev/sda1\t/mnt/longhorn/ xfs defaults 0 0\n# /mnt/longhorn\ntmpfs /tmp tmpfs\n",
        {"mounts": MOUNTS},
        f"# /mnt/longhorn\ntmpfs /tmp tmpfs\n{MOUNTS}",
    ),
    "a place that only begins alike is another": (
        "/dev/sda1 /mnt/longhorn2 xfs defaults 0 0\n",
        {"mounts": MOUNTS},
        f"/dev/sda1 /mnt/longhorn2 xfs defaults 0 0\n{MOUNTS}",
    ),
    "root and firmware are named by id, all else of the lines stays": (
        " LABEL=r\t/  ext4 defaults,commit=120\t0 1\nLABEL=B /boot/firmware vfat defaults 0 2 # fw\n",
        IDS,
        " PARTUUID=6d6e4f4e-02\t/  ext4 defaults,commit=120\t0 1\n"
        "PARTUUID=6d6e4f4e-01 /boot/firmware vfat defaults 0 2 # fw\n",
    ),
    "a firmware at /boot is named too": (
        "/dev/mmcblk0p1 /boot vfat defaults 0 2\n",
        IDS,
        "PARTUUID=6d6e4f4e-01 /boot vfat defaults 0 2\n",
    ),
    "a firmware is named by its place, however that is spelt": (
        "LABEL=B /boot/firmware/ vfat defaults 0 2\nLABEL=r // ext4\n",
        IDS,
        "PARTUUID=6d6e4f4e-01 /boot/firmware/ vfat defaults 0 2\nPARTUUID=6d6e4f4e-02 // ext4\n",
    ),
    "a firmware's FAT has two names": (
        "LABEL=B /boot/firmware msdos defaults 0 2\n",
        IDS,
        "PARTUUID=6d6e4f4e-01 /boot/firmware msdos defaults 0 2\n",
    ),
    "a /boot of its own, swap and other disks stay": (
        "UUID=a /boot ext4 defaults 0 2\nLABEL=s none swap sw 0 0\nUUID=b /srv ext4 defaults 0 2\n",
        IDS,
        "UUID=a /boot ext4 defaults 0 2\nLABEL=s none swap sw 0 0\nUUID=b /srv ext4 defaults 0 2\n",
    ),
    "a root that is no partition stays": (
        "overlay / overlay defaults\n",
        IDS,
        "overlay / overlay defaults\n",
    ),
    "a root is named where no firmware is known": (
        "LABEL=r / ext4\nLABEL=b /boot vfat\n",
        {"root": "x-2"},
        "PARTUUID=x-2 / ext4\nLABEL=b /boot vfat\n",
    ),
    "comments and odd lines are carried along": (
        "# LABEL=r / ext4\n\n/\nLABEL=r /\n",
        IDS,
        "# LABEL=r / ext4\n\n/\nLABEL=r /\n",
    ),
    "without a file there is one": ("", {"mounts": MOUNTS}, MOUNTS),
    "a last line without its end gets one": (
        "tmpfs /tmp tmpfs",
        {"mounts": MOUNTS},
        f"tmpfs /tmp tmpfs\n{MOUNTS}",
    ),
}


@pytest.mark.parametrize(("old", "arguments", "new"), FSTABS.values(), ids=FSTABS)
def test_fstab(old: str, arguments: dict[str, str], new: str) -> None:
    assert edited("fstab", old, **arguments) == new


words = st.sampled_from(
    [
        "LABEL=r",
        "UUID=a",
        "/",
        "/boot",
        "/mnt/longhorn",
        "/mnt/longhorn/",
        "ext4",
        "vfat",
        "#",
        "\t",
        "",
        "\r",
        "\x0c",
        "\u2028",
    ]
)


@given(st.lists(st.lists(words).map(" ".join)), st.sampled_from(["", "\n"]))
def test_fstab_done_twice_is_done_once_and_keeps_the_other_lines(lines: list[str], end: str) -> None:
    arguments = {**IDS, "mounts": MOUNTS}
    once = edited("fstab", "\n".join(lines) + end, **arguments)
    assert edited("fstab", once, **arguments) == once
    assert once.endswith(MOUNTS)
    ours = ("/", "/boot", "/mnt/longhorn", "/mnt/longhorn/")
    remaining = iter(once.split("\n"))
    assert all(line in remaining for line in lines if not set(ours) & set(line.replace("\t", " ").split(" ")))


def test_findmnt_finds_no_fault_in_what_was_edited(tmp_path: Path) -> None:
    for folder in ("longhorn", "source", "pods"):
        (tmp_path / folder).mkdir()
    mounts = (
        f"tmpfs {tmp_path}/longhorn tmpfs defaults 0 0\n{tmp_path}/source {tmp_path}/pods none bind 0 0\n"
    )
    file = tmp_path / "fstab"
    file.write_text(edited("fstab", "# a comment\nproc /proc proc defaults 0 0\n", mounts=mounts))
    said = process.run([program("findmnt", "util-linux"), "--verify", "--tab-file", file]).out.decode()
    assert said == "Success, no errors or warnings detected\n"
