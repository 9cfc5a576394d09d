"""The kernel's table of mounts is read as proc(5) has it, and says what a path really lies on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.machine.mountinfo import Mounted, holding, parse

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
30 27 0:35 /@home /home rw - btrfs /dev/sdb2 rw,subvolid=257,subvol=/@home
31 27 8:1 / /mnt/my\040disk rw - vfat /dev/sda1 rw
32 27 0:40 / /over rw - overlay overlay rw,lowerdir=/mnt/my\040disk/low:/l2,upperdir=/home/up,workdir=/home/w
33 27 8:17 /sub /srv rw - ext4 /dev/sdb1 rw
34 27 8:33 / /srv rw - ext4 /dev/sdc1 rw
"""


def test_a_table_is_read() -> None:
    found = parse(TABLE)
    assert [mount.point for mount in found] == [
        "/proc", "/", "/home", "/mnt/my disk", "/over", "/srv", "/srv",
    ]  # fmt: skip
    assert found[1] == Mounted("27", "254:0", "/", "/", "ext4", "/dev/vda", ("rw", "discard"))
    assert found[4].folders() == ("/mnt/my disk/low", "/l2", "/home/up")


@pytest.mark.parametrize(
    ("path", "sources"),
    [
        ("/", ["/dev/vda"]),
        ("/homework", ["/dev/vda"]),
        ("/home", ["/dev/sdb2"]),
        ("/home/anna/artifacts", ["/dev/sdb2"]),
        ("/mnt/my disk/artifacts", ["/dev/sda1"]),
        ("/srv/artifacts", ["/dev/sdc1"]),
        ("/over/artifacts", ["/dev/sda1", "/dev/sdb2", "/dev/vda", "overlay"]),
    ],
)
def test_a_path_lies_on_a_mount_and_on_what_this_one_lies_on(path: str, sources: list[str]) -> None:
    assert sorted(mount.source for mount in holding(parse(TABLE), path)) == sources


def test_overlays_of_each_other_come_to_an_end() -> None:
    loop = "1 1 0:1 / / rw - overlay o rw,upperdir=/a\n2 1 0:2 / /a rw - overlay o rw,upperdir=/b\n"
    assert len(holding(parse(loop), "/x")) == 2


@given(st.text())
def test_no_table_is_a_traceback(text: str) -> None:
    for mounts in (parse(text), parse(TABLE + text)):
        holding(mounts, "/over/x")
