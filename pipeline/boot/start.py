"""How an image wants to be started: by its own boot loader, or as a Raspberry Pi's firmware does it.

QEMU has no Raspberry Pi whose network works, so for one the kernel, the initrd and the command line are
taken from the FAT, by the same config.txt that the firmware reads, and started on QEMU's `virt` board.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from ..errors import MetisError
from ..machine import process
from ..raw import disk
from .machine import CONSOLES, Kernel
from .programs import require

ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
"""The type of a GPT partition that UEFI starts from."""
ESP_OF_MBR = "ef"

KERNELS = ("kernel8.img", "vmlinuz")
"""What a Raspberry Pi of 64 bits starts where config.txt names nothing, and what others call it."""

_SECTIONS = frozenset({"all", "pi4"})
"""Of config.txt: what holds for a Raspberry Pi 4."""


def has_uefi(layout: disk.Disk) -> bool:
    """Whether an image has a partition that UEFI starts from."""
    return any(part.type in {ESP, ESP_OF_MBR} for part in layout.partitions)


def firmware_settings(config: str) -> Mapping[str, str]:
    """What config.txt says to a Raspberry Pi 4: names and values; the last one of a name counts.

    `initramfs` is a line of its own form, with the file first ("initramfs initrd.img followkernel").
    """
    settings: dict[str, str] = {}
    holds = True
    for line in (line.strip() for line in config.splitlines()):
        if line.startswith("["):
            holds = line.strip("[] ").lower() in _SECTIONS
        elif holds and line and not line.startswith("#"):
            name, mark, value = line.partition("=")
            if line.startswith("initramfs") and (not mark or " " in name.strip()):
                name, value = "initramfs", line.removeprefix("initramfs")
            settings[name.strip()] = value.strip()
    return {name: value for name, value in settings.items() if value}


def command_line(own: str, console: str) -> str:
    """A kernel's command line with its consoles changed for the one that the emulated machine has."""
    words = [word for word in own.split() if not word.startswith(("console=", "earlycon"))]
    return " ".join([*words, f"console={console}"])


def pi_kernel(image: Path, boot: disk.Partition, folder: Path) -> Kernel:
    """Copy kernel and initrd from a Raspberry Pi's FAT into `folder`, and give them with the command line.

    Raises MetisError, naming what is missing.
    """
    require(["mcopy"])
    fat = _Fat(image, boot.start)
    settings = firmware_settings(fat.text("config.txt", optional=True))
    prefix = settings.get("os_prefix", "")
    names = [settings["kernel"]] if "kernel" in settings else list(KERNELS)
    kernel = next((found for name in names if (found := fat.copy(prefix + name, folder / "kernel"))), None)
    if kernel is None:
        raise MetisError(
            f"the boot partition of {image.name} has no {' or '.join(names)}",
            "it cannot start on a Raspberry Pi either: see its config.txt",
        )
    named = settings.get("initramfs", "").split()
    initrd = fat.copy(prefix + named[0], folder / "initrd") if named else None
    if named and initrd is None:
        raise MetisError(f"the boot partition of {image.name} has no {named[0]}", "see its config.txt")
    own = fat.text(prefix + settings.get("cmdline", "cmdline.txt"))
    return Kernel(kernel, initrd, command_line(own, CONSOLES["arm64"]))


class _Fat:
    """A FAT within an image, read with mtools: neither root nor an appliance is needed."""

    def __init__(self, image: Path, offset: int) -> None:
        self._image = image
        self._offset = offset

    def copy(self, name: str, target: Path) -> Path | None:
        """Copy a file out; None where it is not there."""
        # The names come from the image: none of them is a pattern or leads anywhere else.
        source = f"::{posixpath.normpath('/' + name)}"
        if set(source) & set("*?[]"):
            return None
        done = process.run(["mcopy", "-n", "-o", "-i", self._place, source, target], check=False)
        return target if done.code == 0 else None

    def text(self, name: str, *, optional: bool = False) -> str:
        """The content of a file; raises MetisError where it is not there, unless it is optional."""
        done = process.run(["mtype", "-i", self._place, f"::{posixpath.normpath('/' + name)}"], check=False)
        if done.code != 0 and not optional:
            raise MetisError(f"the boot partition of {self._image.name} has no {name}")
        return done.out.decode(errors="replace") if done.code == 0 else ""

    @property
    def _place(self) -> str:
        return f"{self._image.absolute()}@@{self._offset}"
