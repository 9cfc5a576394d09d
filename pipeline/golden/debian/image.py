"""A root file system in a tar as a disk: a FAT that the firmware reads, and an ext4 root behind it.

The root is the last partition, so that it can grow. For amd64 that is a GPT and an ESP with systemd-boot,
kernel and initrd; for arm64 it is what a Raspberry Pi 3 or 4 starts from: an MBR and the FAT as Debian's
raspi-firmware fills it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...errors import MetisError
from .recipe import ENTRIES, MIB, PI_FIRMWARE, Recipe
from .tools import Words, run

SECTOR = 512
START = MIB
"""Where the first partition starts; everything is aligned to this."""

BACKUP_GPT = MIB
"""Kept free at the end for the backup of the partition table."""


def assemble(recipe: Recipe, tar: Path, work: Path, target: Path) -> None:
    """Make the disk: partitions, the FAT, and the root from the tar."""
    tree, owners = work / "tree", work / "owners"
    tree.mkdir()
    problem = "cannot make the root file system"
    # fakeroot(1) remembers the owners that an ordinary user cannot give to the unpacked files. It loses
    # extended attributes: no package here has capabilities, and the journal's ACL is set anew at boot.
    unpack: Words = ["tar", "--extract", "--preserve-permissions"]
    run(["fakeroot", "-s", owners, "--", *unpack, "--directory", tree, "--file", tar], problem)
    fat, root = START, START + recipe.fat_size
    size = -(-(tar.stat().st_size * 5 // 4 + recipe.slack) // MIB) * MIB
    tar.unlink()
    partitions = [(fat, recipe.fat_size, recipe.fat_type), (root, size, recipe.root_type)]
    _partition(target, recipe.table, root + size + BACKUP_GPT, partitions)
    _make_fat(recipe, _uefi_files(recipe, tree) if recipe.loader else _pi_files(tree), target, fat)
    _empty(tree / PI_FIRMWARE)
    label = recipe.root_label
    make: Words = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", tree, "-E", f"offset={root}"]
    run(["fakeroot", "-i", owners, "--", *make, target, f"{size // 1024}k"], problem)


def _empty(folder: Path) -> None:
    """Take out what lies where the FAT will be mounted; the folder, if there is one, stays."""
    for path in folder.glob("*"):
        path.unlink()


def _partition(target: Path, table: str, size: int, partitions: Iterable[tuple[int, int, str]]) -> None:
    """Make a sparse disk of `size` bytes; a partition is its start, size and type (sfdisk(8))."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.truncate(size)
    script = f"label: {table}\n"
    for start, length, kind in partitions:
        script += f"start={start // SECTOR}, size={length // SECTOR}, type={kind}\n"
    run(["sfdisk", "--quiet", target], "cannot partition the image", stdin=script.encode())


FatFiles = Mapping[str, Path | str]
"""What goes onto the FAT: by its path there a file, or a text."""


def _uefi_files(recipe: Recipe, tree: Path) -> FatFiles:
    """The boot loader, the kernel and its entry for an ESP, as kernel-install(8) lays them out."""
    assert recipe.loader is not None
    kernels = sorted((tree / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise MetisError("the packages brought no kernel", "this is an error in Metis: please report it")
    release = kernels[-1].name.removeprefix("vmlinuz-")
    folder = f"{ENTRIES}/{release}"
    entry = (
        f"title Debian\nsort-key debian\nversion {release}\noptions {recipe.cmdline}\n"
        f"linux /{folder}/linux\ninitrd /{folder}/initrd.img-{release}\n"
    )
    program, name = recipe.loader
    return {
        f"EFI/BOOT/{name}": tree / program,
        f"EFI/systemd/{Path(program).name}": tree / program,
        "loader/loader.conf": "timeout 0\n",
        f"loader/entries/{ENTRIES}-{release}.conf": entry,
        f"{folder}/linux": kernels[-1],
        f"{folder}/initrd.img-{release}": tree / "boot" / f"initrd.img-{release}",
    }


def _pi_files(tree: Path) -> FatFiles:
    """What raspi-firmware and the kernel's hooks have put where the FAT is mounted."""
    folder = tree / PI_FIRMWARE
    files = {file.name: file for file in folder.iterdir() if file.is_file()}
    missing = [name for name in ("config.txt", "cmdline.txt") if name not in files]
    if missing:
        raise MetisError(
            f"the packages brought no {missing[0]}", "this is an error in Metis: please report it"
        )
    return files


def _make_fat(recipe: Recipe, files: FatFiles, target: Path, offset: int) -> None:
    """Make the FAT with these files."""
    start, kib = str(offset // SECTOR), str(recipe.fat_size // 1024)
    disk = f"{target}@@{offset}"
    folders = {parent.as_posix() for path in files for parent in Path(path).parents} - {"."}
    problem = "cannot make the FAT"
    # Left to itself mkfs.vfat(8) looks at the whole file, and makes too few clusters for what is a FAT32.
    words = ["-F", "32", "-s", "2", "-n", recipe.fat_label, "-h", start, f"--offset={start}"]
    run(["mkfs.vfat", *words, target, kib], problem)
    if folders:
        run(["mmd", "-i", disk, *(f"::{path}" for path in sorted(folders))], problem)
    for path, content in files.items():
        source, data = ("-", content.encode()) if isinstance(content, str) else (content, b"")
        run(["mcopy", "-i", disk, source, f"::{path}"], problem, stdin=data)
