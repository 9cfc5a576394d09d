"""Which partition is the root and which the firmware's: told by labels and content, never by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import pytest

from pipeline.errors import MetisError
from pipeline.inject.partitions import by_label_or_content, exactly
from pipeline.inject.tree import Places
from pipeline.model import Side
from pipeline.raw.disk import Disk, Partition

MIB = 1 << 20


def part(number: int, filesystem: str | None, label: str | None = None) -> Partition:
    return Partition(number, number * MIB, MIB, "83", "", filesystem, label, None)


BOOT, ROOT, SWAP = part(1, "vfat", "RPICFG"), part(2, "ext4", "armbi_root"), part(3, "swap")
DATA = part(4, "ext4", "data")


class Looked:
    """File systems by partition number, each a set of paths; remembers where it was looked."""

    def __init__(self, held: Mapping[int, set[str]]) -> None:
        self._held = held
        self.partitions: list[int] = []

    def has(self, partition: int, paths: Sequence[str]) -> bool:
        self.partitions.append(partition)
        return bool(self._held.get(partition, set()) & set(paths))


PI = {1: {"/config.txt", "/cmdline.txt"}, 2: {"/etc/os-release"}}


def disk(*partitions: Partition) -> Disk:
    return Disk("dos", 99 * MIB, 512, partitions)


def chosen(
    partitions: Sequence[Partition], held: Mapping[int, set[str]], labels: Mapping[Side, str] | None = None
) -> Places:
    return by_label_or_content(labels or {})(disk(*partitions), Looked(held))


def refusal(
    partitions: Sequence[Partition], held: Mapping[int, set[str]], labels: Mapping[Side, str] | None = None
) -> str:
    with pytest.raises(MetisError) as caught:
        chosen(partitions, held, labels)
    return str(caught.value)


# ---------------------------------------------------------------------------------------- by content


@pytest.mark.parametrize("order", list(permutations([BOOT, ROOT, SWAP, DATA])))
def test_content_decides_in_whatever_order_partitions_stand(order: Sequence[Partition]) -> None:
    assert chosen(order, PI) == Places(root=2, boot=1)


@pytest.mark.parametrize("mark", ["/etc/os-release", "/usr/lib/os-release"])
def test_a_root_is_what_has_an_os_release(mark: str) -> None:
    assert chosen([DATA, ROOT], {4: {"/lost+found"}, 2: {mark}}) == Places(root=2, boot=None)


@pytest.mark.parametrize("mark", ["/config.txt", "/cmdline.txt", "/current/cmdline.txt", "/EFI"])
def test_a_boot_partition_is_what_a_firmware_would_take(mark: str) -> None:
    assert chosen([BOOT, ROOT], {**PI, 1: {mark}}).boot == 1


@pytest.mark.parametrize("filesystem", ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"])
def test_a_root_may_have_any_file_system_of_linux(filesystem: str) -> None:
    assert chosen([part(2, filesystem)], PI).root == 2


def test_an_image_may_have_no_boot_partition() -> None:
    assert chosen([ROOT], PI) == Places(root=2, boot=None)
    assert chosen([part(1, "vfat", "DATA"), ROOT], {2: PI[2]}) == Places(root=2, boot=None)


def test_a_fat_with_an_os_release_is_no_root_and_an_ext4_with_config_txt_no_boot() -> None:
    odd = {1: {"/etc/os-release"}, 2: {"/config.txt"}}
    assert "no root partition" in refusal([BOOT, ROOT], odd)


def test_what_is_no_file_system_is_not_looked_into() -> None:
    looked = Looked(PI)
    by_label_or_content({})(disk(part(9, None), SWAP, BOOT, ROOT, part(8, "crypto_LUKS")), looked)
    assert set(looked.partitions) == {1, 2}


# ------------------------------------------------------------------------------------------ by label


def test_a_label_decides_against_content() -> None:
    """A class that names its root means just that one, even where a rescue system is beside it."""
    two = {2: {"/etc/os-release"}, 4: {"/etc/os-release"}}
    assert chosen([ROOT, DATA], two, {"root": "data"}).root == 4


def test_a_partition_that_is_found_by_its_label_is_not_looked_into() -> None:
    looked = Looked({})
    labels: dict[Side, str] = {"root": "armbi_root", "boot": "RPICFG"}
    assert by_label_or_content(labels)(disk(BOOT, ROOT), looked) == Places(root=2, boot=1)
    assert looked.partitions == []


def test_one_side_may_be_found_by_label_and_the_other_by_content() -> None:
    assert chosen([BOOT, ROOT, DATA], PI, {"boot": "RPICFG"}) == Places(root=2, boot=1)
    assert chosen([BOOT, ROOT, DATA], PI, {"root": "armbi_root"}) == Places(root=2, boot=1)


def test_a_label_on_a_file_system_that_cannot_be_meant_does_not_count() -> None:
    line = refusal([BOOT, ROOT], PI, {"root": "RPICFG"})
    assert line.startswith("the golden has no root partition with the label 'RPICFG'")


# -------------------------------------------------------------------------------------- none, and two


def test_no_root_is_refused_with_what_one_is_and_how_to_name_it() -> None:
    line = (
        "the golden has no root partition: expected a file system with /etc/os-release; "
        "name its label with partitions.root.label"
    )
    assert refusal([BOOT, DATA], PI) == line
    assert refusal([], {}) == line


def test_a_label_that_is_not_there_is_refused_by_name() -> None:
    assert refusal([BOOT, ROOT], PI, {"root": "rootfs"}).startswith(
        "the golden has no root partition with the label 'rootfs'"
    )
    assert refusal([BOOT, ROOT], PI, {"boot": "BOOT"}) == (
        "the golden has no boot partition with the label 'BOOT': expected a FAT file system of that label"
    )


def test_two_roots_are_refused_with_the_labels_to_choose_from() -> None:
    two = {2: {"/etc/os-release"}, 5: {"/usr/lib/os-release"}}
    assert refusal([ROOT, part(5, "btrfs")], two) == (
        "two partitions of the golden could be its root: 2 (label armbi_root) and 5 (label none): "
        "name the right one with partitions.root.label"
    )


def test_two_boot_partitions_are_refused_too() -> None:
    held = {**PI, 5: {"/EFI"}}
    assert "could be its boot: 1 (label RPICFG) and 5 (label ESP)" in refusal(
        [BOOT, ROOT, part(5, "vfat", "ESP")], held
    )


def test_two_of_one_label_are_refused_with_what_would_help() -> None:
    twins = [ROOT, part(5, "ext4", "armbi_root")]
    assert refusal(twins, PI, {"root": "armbi_root"}).endswith("give each its own label")


# ------------------------------------------------------------------------------------------- exactly


def test_places_that_are_known_are_taken_without_a_look() -> None:
    looked = Looked(PI)
    places = Places(root=7, boot=None)
    assert exactly(places)(disk(BOOT, ROOT), looked) == places
    assert looked.partitions == []
