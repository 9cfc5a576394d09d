"""An emulated machine: QEMU with one image as its disk, for as long as a block runs.

What is started is data (`Machine`), and the command is made of it without looking at the world. How an image
is started at all is found in `start`, the network in `network`.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..machine import emulated, process
from .programs import require, require_file

OVMF = Path("/usr/share/OVMF")
"""UEFI for virtual machines; from Debian's package ovmf."""

CONSOLES = MappingProxyType({"amd64": "ttyS0", "arm64": "ttyAMA0"})
"""What Linux calls the serial line of the emulated machine, by the architecture's name in Debian."""

PROGRAMS = MappingProxyType({"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"})

# On arm64 `max` emulates so much that it takes several times as long.
_BOARDS = MappingProxyType({"amd64": ("q35", emulated.AMD64), "arm64": ("virt", "cortex-a72")})
_HOSTS = MappingProxyType({"x86_64": "amd64", "aarch64": "arm64"})
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()].|.)|\r")
WITH_BOOT_LOADERS = frozenset({"amd64"})
"""Architectures whose machine starts a disk's own boot loader."""

# A Raspberry Pi has no clock that runs without power.
_PI_CLOCK = ["-rtc", "base=1970-01-01T00:00:00"]
MEMORY_MIB = 1024
CPUS = 2


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that is started without a boot loader, as a Raspberry Pi's firmware does it."""

    image: Path
    initrd: Path | None
    cmdline: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What to start.

    `nic` is what QEMU's `-nic` takes. The disk keeps what is written to it unless it is `read_only`; `disks`
    are more raw ones, never written to. Without `kernel` and `uefi` a BIOS starts the disk.
    """

    arch: str
    disk: Path
    nic: str = "none"
    uefi: bool = False
    kernel: Kernel | None = None
    accelerator: str = "tcg"
    disks: tuple[Path, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A machine that was started; `log` is where its serial console goes."""

    child: process.Background
    log: Path

    @property
    def console(self) -> str:
        """What it has said on its serial console so far, without colours and cursor movements."""
        return _ESCAPES.sub("", self.log.read_bytes().decode(errors="replace"))

    @property
    def last_words(self) -> list[str]:
        """The last lines that the console said."""
        return self.console.strip().splitlines()[-20:]


def is_native(arch: str) -> bool:
    """Whether this computer is of the architecture itself, so that KVM could run it."""
    return _HOSTS.get(platform.machine()) == arch


def command(machine: Machine, log: Path, variables: Path) -> list[str]:
    """The words that start a machine; `variables` is where its UEFI keeps what it is told to remember."""
    board, processor = _BOARDS[machine.arch]
    kvm = machine.accelerator == "kvm"
    words = [PROGRAMS[machine.arch], "-machine", board, "-smp", str(CPUS), "-m", str(MEMORY_MIB)]
    words += ["-accel", "kvm"] if kvm else ["-accel", "tcg,thread=multi"]
    words += ["-cpu", "host" if kvm else processor]
    words += ["-display", "none", "-monitor", "none", "-no-reboot", "-nodefaults"]
    words += ["-serial", f"file:{log}", "-nic", machine.nic]
    words += _PI_CLOCK if machine.kernel is not None else []
    if machine.uefi:
        words += _flash(0, OVMF / "OVMF_CODE_4M.fd", "readonly=on") + _flash(1, variables)
    if machine.kernel is not None:
        words += ["-kernel", str(machine.kernel.image), "-append", machine.kernel.cmdline]
        words += ["-initrd", str(machine.kernel.initrd)] if machine.kernel.initrd else []
    words += _drive(machine.disk, 0, snapshot=machine.read_only)
    for number, disk in enumerate(machine.disks, 1):
        words += _drive(disk, number, snapshot=True)
    return words


def _flash(unit: int, file: Path, *more: str) -> list[str]:
    return ["-drive", ",".join(["if=pflash", f"unit={unit}", "format=raw", *more, f"file={_value(file)}"])]


def _drive(file: Path, number: int, *, snapshot: bool) -> list[str]:
    kept = "snapshot=on" if snapshot else "cache=unsafe"
    return ["-drive", f"if=virtio,index={number},format=raw,{kept},file={_value(file)}"]


def _value(file: Path) -> str:
    """A path within an option of QEMU, where a comma ends a value unless it is doubled."""
    return str(file.absolute()).replace(",", ",,")


@contextmanager
def running(machine: Machine, folder: Path) -> Iterator[Running]:
    """Start a machine, and end it when the block is left; `folder` is for its console and its leavings.

    Raises MetisError where a program or a firmware is missing.
    """
    require([PROGRAMS[machine.arch], "setpriv"])
    log, variables = folder / "console", folder / "variables"
    if machine.uefi:
        require_file(OVMF / "OVMF_CODE_4M.fd", "ovmf")
        if not variables.exists():
            shutil.copyfile(require_file(OVMF / "OVMF_VARS_4M.fd", "ovmf"), variables)
    log.write_bytes(b"")
    words: Sequence[str] = command(machine, log, variables)
    # What is written to a disk that must stay as it is goes to a nameless file there.
    with process.background(words, folder / "qemu", extra_environment={"TMPDIR": str(folder)}) as child:
        yield Running(child, log)
