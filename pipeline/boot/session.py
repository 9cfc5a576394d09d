"""One image booted as its node: a copy that is made for it, and everything that was found.

The image itself is only read. Its copy holds secrets too, so it lies in a private folder and goes with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MetisError, one_line
from ..machine.progress import Reporter
from ..model import Entry, Manifest, ResolvedNode, Reveal
from ..raw import blkid, disk, sparse
from ..render.systems.table import starts_by_firmware
from ..tables import columns
from . import additions, checks, network, start
from .additions import OFF_REQUEST, Exists
from .checks import Check, Expected
from .guest import Deadline, GoneError, Guest, LateError
from .machine import WITH_BOOT_LOADERS, Kernel, Machine, Running, is_native, running
from .programs import require

_POLL = 0.2
ROOM = 512 << 20
"""Bytes by which the machine's disk is larger than the image: cards are, and the root grows into it."""
_UNSETTLED = frozenset({"", "initializing", "starting", "unknown"})
"""Of what systemctl(1) calls the state of a system: it has not come up yet."""

Inject = Callable[[Path, Callable[[Exists], Iterable[Entry]]], int | None]
"""Puts entries, which may hang on what is there, into an image; gives the number of its boot partition."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a boot works with; `accelerator` says what QEMU can use for a machine like this computer."""

    inject: Inject
    accelerator: Callable[[], str]
    reveal: Reveal
    reporter: Reporter


@dataclass(frozen=True, slots=True)
class Options:
    """How to boot.

    `timeout` is in seconds and for each boot. Before the `boots` that are checked there is one for each of
    `cuts`, whose power is cut as soon as the console says that text.
    """

    disks: tuple[Path, ...] = ()
    peer: network.Peer | None = None
    boots: int = 1
    timeout: float = 600
    cuts: tuple[str, ...] = ()
    ends_clean: bool = False
    """Whether the machine is switched off in good order after the last boot too."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What one boot showed; `seconds` is the time from the start until systemd had settled."""

    number: int
    seconds: float
    checks: tuple[Check, ...]
    k3s: dict[str, list[str]] = field(default_factory=dict)
    """What the stand-in for k3s noted; empty where there was none."""

    @property
    def has_its_keys(self) -> bool:
        """Whether the node showed its own host keys; else nothing more was asked of it."""
        return all(check.ok for check in self.checks if check.name.startswith(checks.HOST_KEY))


@dataclass(frozen=True, slots=True)
class Report:
    """All boots of one image."""

    node: str
    accelerator: str
    boots: tuple[Boot, ...]

    @property
    def differing(self) -> list[Check]:
        """The checks that failed, of those that say who the node is."""
        failed = [check for boot in self.boots for check in boot.checks if not check.ok]
        return [check for check in failed if check.name != checks.FAILED_UNITS]


def run(
    node: ResolvedNode, manifest: Manifest, image: Path, folder: Path, options: Options, tools: Tools
) -> Report:
    """Boot a copy of an image in `folder`, which is private and empty, and compare it with its node.

    Raises LateError or GoneError where it does not come up, MetisError for what keeps it from being started.
    """
    require(["ssh", "ssh-keygen", "ssh-keyscan"])
    by_firmware, arch = starts_by_firmware(node.klass), node.klass.arch
    if not by_firmware and arch not in WITH_BOOT_LOADERS:
        raise MetisError(
            f"{node.name} is started by a boot loader for {arch}",
            f"only a Raspberry Pi's {arch} images boot here",
        )
    wires = network.wiring(node, network.free_port())
    nic = network.nic(wires, node.settings.get("k3s", {}).get("server"), options.peer)
    wanted = checks.expected(
        node,
        manifest,
        tools.reveal,
        address=wires.address,
        uuids=uuids_on(options.disks),
        has_peer=options.peer is not None,
        root_size=max(disk.read(image).partitions, key=lambda part: part.start).size,
    )
    guest = Guest(node.settings.get("ssh", {}).get("user", "root"), wires.port, folder)
    guest.trust(wanted.host_keys.values())
    key = guest.make_key()
    copy = folder / f"{node.name}.img"
    with tools.reporter.step(f"{node.name}: copying the image", sparse.mapped_bytes(image)) as advance:
        sparse.copy(image, copy, advance)
    with tools.reporter.step(f"{node.name}: making it ready to be asked"):
        boot = tools.inject(copy, lambda exists: additions.entries(node, wires, key, exists))
    accelerator = tools.accelerator() if is_native(arch) else "tcg"
    kernel = _kernel(copy, boot, folder) if by_firmware else None
    uefi = kernel is None and start.has_uefi(disk.read(copy))
    machine = Machine(arch, copy, nic, uefi, kernel, accelerator, options.disks)
    os.truncate(copy, copy.stat().st_size + ROOM)
    boots = tuple(_boots(machine, guest, wanted, folder, options, tools.reporter))
    return Report(node.name, accelerator, boots)


def _kernel(copy: Path, boot: int | None, folder: Path) -> Kernel:
    """What a Raspberry Pi's firmware would start from the partition of this number."""
    fat = next((part for part in disk.read(copy).partitions if part.number == boot), None)
    if fat is None:
        raise MetisError(f"{copy.name} has no boot partition", "only a Raspberry Pi's arm64 images boot here")
    return start.pi_kernel(copy, fat, folder)


def _boots(
    machine: Machine, guest: Guest, wanted: Expected, folder: Path, options: Options, reporter: Reporter
) -> Iterator[Boot]:
    for text in options.cuts:
        with reporter.step(f"booting, to be cut off at {text!r}"), running(machine, folder) as emulated:
            wait_for(emulated, text, Deadline.after(options.timeout))
    seen: list[str] = []
    for number in range(1, options.boots + 1):
        with reporter.step(f"boot {number} of {options.boots}"), running(machine, folder) as emulated:
            try:
                boot = _ask(number, emulated, guest, wanted, seen, Deadline.after(options.timeout))
                if boot.has_its_keys and (number < options.boots or options.ends_clean):
                    _switch_off(emulated, guest, Deadline.after(options.timeout))
            except (LateError, GoneError):
                for line in emulated.last_words:
                    reporter.note(f"  console: {one_line(line)}")
                raise
        yield boot
        if not boot.has_its_keys:
            return


def _ask(
    number: int, emulated: Running, guest: Guest, wanted: Expected, seen: list[str], deadline: Deadline
) -> Boot:
    """Wait for the node and compare it; `seen` are the boot ids of earlier boots, to which its own is added.

    With other host keys than its own it is asked nothing more.
    """
    begin = time.monotonic()
    guest.wait_for_greeting(deadline, lambda: emulated.child.is_running)
    keys = checks.check_keys(wanted, guest.host_keys(deadline))
    if not all(check.ok for check in keys):
        return Boot(number, time.monotonic() - begin, tuple(keys))
    command = f"sh -s -- {wanted.k3s_unit or checks.NO_UNIT} {deadline.left:.0f}"
    found = checks.parts(guest.run(command, deadline, additions.asset("probe").encode()))
    if found.get("state", "starting") in _UNSETTLED:
        raise LateError(f"systemd had not settled within {deadline.limit:g} s", "allow more with --timeout")
    seconds = time.monotonic() - begin
    rows = checks.check_node(wanted, found, seen, time.time())
    seen.append(found.get("boot-id", ""))
    noted = found.get("stand-in", "")
    return Boot(number, seconds, (*keys, *rows), checks.stand_in(noted) if noted else {})


def _switch_off(emulated: Running, guest: Guest, deadline: Deadline) -> None:
    guest.run(f"touch {OFF_REQUEST}", deadline)
    if not emulated.child.wait(deadline.left):
        raise LateError(f"the machine did not switch itself off within {deadline.limit:g} s")


def wait_for(emulated: Running, text: str, deadline: Deadline) -> str:
    """Wait until the console has said a text, and give all of the console; raises LateError and GoneError."""
    while text not in (console := emulated.console):
        if not emulated.child.is_running:
            raise GoneError(f"the machine ended before it said {text!r} ({emulated.child.last_words})")
        if deadline.has_passed:
            raise LateError(f"the machine did not say {text!r} within {deadline.limit:g} s")
        time.sleep(_POLL)
    return console


def uuids_on(disks: Iterable[Path]) -> frozenset[str]:
    """The UUIDs of the file systems on raw disks, with or without a partition table, in lower case."""
    found: list[str | None] = []
    for image in disks:
        found.append(blkid.probed(image).get("ID_FS_UUID"))
        try:
            found += [part.uuid for part in disk.read(image).partitions]
        except MetisError:
            continue  # a file system without a partition table
    return frozenset(uuid.lower() for uuid in found if uuid)


def to_data(report: Report) -> dict[str, Any]:
    """A report for machines."""
    return {"ok": not report.differing, **asdict(report)}


def to_text(report: Report) -> str:
    """A report as one table for people: check, expected, found."""
    rows = [("", "check", "expected", "found")]
    for boot in report.boots:
        rows.append(("", f"boot {boot.number}", "", f"ready after {boot.seconds:.0f} s"))
        rows += [
            ("ok" if check.ok else "DIFFERS", check.name, check.expected or "-", one_line(check.found))
            for check in boot.checks
        ]
        if boot.k3s:
            rows.append(("", "k3s itself", "", "a stand-in, as the image has none"))
    return "".join(f"{line}\n" for line in columns(rows))
