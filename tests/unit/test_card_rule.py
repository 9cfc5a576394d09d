"""Which disks the rule for card readers gives away: udev itself is asked, of disks that umockdev makes up."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.machine import process

RULE = Path(__file__).parents[2] / "deploy/systemd/71-metis-cards.rules"
GROUP = 7171
"""Of cards, on a machine that has a group for them."""
IN_READER = "usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0"
ON_SATA = "ata1/host0/target0:0:0/0:0:0:0"


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk with one partition, and where something of it is mounted from."""

    name: str
    place: str
    removable: bool
    mounted: str = ""

    @property
    def part(self) -> str:
        return f"{self.name}{'p' if self.name[-1].isdigit() else ''}1"


DISKS = {
    "a card in a reader": (Disk("sdq", IN_READER, removable=True), True),
    "a disk on USB": (Disk("sdq", IN_READER, removable=False), False),
    "a disk on SATA": (Disk("sda", ON_SATA, removable=False), False),
    "a disk on SATA in a frame": (Disk("sda", ON_SATA, removable=True), False),
    "an NVMe disk": (Disk("nvme0n1", "nvme/nvme0", removable=False), False),
    "a card in a slot of the board": (Disk("mmcblk0", "mmc_host/mmc0/mmc0:aaaa", removable=False), False),
    "a disc": (Disk("sr0", IN_READER, removable=True), False),
    "a stick that is mounted": (Disk("sdq", IN_READER, removable=True, mounted="/dev/sdq"), False),
    "the stick that this machine runs from": (
        Disk("sdq", IN_READER, removable=True, mounted="/dev/sdq1"),
        False,
    ),
}

# What udev starts has no environment but a device's properties: umockdev has to be one of them.
INSIDE = """
cd /run/udev/rules.d
printf 'ENV{LD_PRELOAD}="%s", ENV{UMOCKDEV_DIR}="%s"\\n' "$LD_PRELOAD" "$UMOCKDEV_DIR" >00-mock.rules
for name in "$@"; do
    udevadm test --action=add "/sys/class/block/$name" 2>&1
done
"""
OUTSIDE = """
mount -t tmpfs none /run
mkdir -p /run/udev/rules.d
cp "$1" /run/udev/rules.d/
mount --bind "$2/group" /etc/group
[ -z "$3" ] || mount -t tmpfs "$3" /mnt
shift 3
exec umockdev-run "--device=$0" -- sh -c "$INSIDE" inside "$@"
"""


def described(disk: Disk) -> str:
    """A disk and its partition as umockdev-run(1) wants them."""
    controller, path = "/devices/pci0000:00/0000:00:14.0", f"{disk.place}/block/{disk.name}"
    lines = []
    if disk.place.startswith("usb"):
        lines += [f"P: {controller}/usb1/1-1", "E: DEVTYPE=usb_device", "E: SUBSYSTEM=usb", ""]
    for name, where, minor in ((disk.name, path, 0), (disk.part, f"{path}/{disk.part}", 1)):
        lines += [
            f"P: {controller}/{where}",
            f"N: {name}=00",
            "E: SUBSYSTEM=block",
            f"E: DEVNAME=/dev/{name}",
        ]
        lines += [f"E: DEVTYPE={'partition' if minor else 'disk'}", "E: MAJOR=8", f"E: MINOR={minor}"]
        lines += [f"A: dev=8:{minor}\\n", "A: size=62333952\\n"]
        lines += ["A: partition=1\\n"] if minor else [f"A: removable={int(disk.removable)}\\n"]
        lines += [""]
    return "\n".join(lines)


def said_of(folder: Path, disk: Disk, rule: Path = RULE) -> list[str]:
    """What udev says of a disk that comes, and of its partition."""
    if shutil.which("umockdev-run") is None:
        pytest.skip("needs umockdev of Debian")
    device = folder / "disk.umockdev"
    device.write_text(described(disk))
    (folder / "group").write_text(f"{Path('/etc/group').read_text()}metis-cards:x:{GROUP}:\n")
    shell = ["unshare", "--mount", "--map-root-user", "sh", "-euc", OUTSIDE]
    done = process.run(
        [*shell, device, rule, folder, disk.mounted, disk.name, disk.part],
        extra_environment={"INSIDE": INSIDE},
    )
    return done.out.decode().splitlines()


def given_away(said: list[str]) -> list[str]:
    """The devices that the group got."""
    return [line.partition(":")[0] for line in said if line.endswith(f" GROUP {GROUP}")]


@pytest.mark.parametrize(("disk", "is_given"), DISKS.values(), ids=DISKS)
def test_the_group_gets_cards_in_readers_and_nothing_else(tmp_path: Path, disk: Disk, is_given: bool) -> None:
    said = said_of(tmp_path, disk)
    assert given_away(said) == ([disk.name, disk.part] if is_given else [])
    assert sum(line.startswith("DEVNAME=") for line in said) == 2, "udev was asked of both"


def complaints(said: list[str], rule: Path = RULE) -> list[str]:
    """What udev says of the rule as it reads it."""
    return [line for line in said if re.match(rf"\S*/{rule.name}:\d+ ", line)]


def test_udev_has_nothing_to_say_of_the_rule(tmp_path: Path) -> None:
    assert complaints(said_of(tmp_path, DISKS["a card in a reader"][0])) == []


def test_a_slip_in_the_rule_would_be_told(tmp_path: Path) -> None:
    rule = tmp_path / RULE.name
    rule.write_text(RULE.read_text() + 'SUBSYSTEMM=="block", GROUP="disk"\n')
    assert complaints(said_of(tmp_path, DISKS["a card in a reader"][0], rule)) != []


def test_where_lsblk_cannot_be_asked_nothing_is_given(tmp_path: Path) -> None:
    rule = tmp_path / RULE.name
    rule.write_text(RULE.read_text().replace("/usr/bin/lsblk", "/usr/bin/false"))
    assert given_away(said_of(tmp_path, DISKS["a card in a reader"][0], rule)) == []
