"""Boots an image in an emulated PC, to prove that it comes up and not only looks right.

Emulation without KVM, so that a test takes the same way everywhere; a boot to the login prompt takes one to
two minutes. The image itself is never written to.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.boot import additions, machine, network, session
from pipeline.boot.guest import Deadline, Guest
from pipeline.lab.boot import put_in
from pipeline.lab.lab import Lab as OfFiles
from pipeline.machine import process
from pipeline.raw import sparse
from pipeline.settings import Settings

from .lab import Lab

NETWORK = "user,restrict=on,model=virtio-net-pci"
"""What QEMU's -nic takes: a network that leads nowhere."""
LIMIT = 600


def boot(image: Path, until: str) -> str:
    """Boot an amd64 image, wait until its serial console has said `until`, and give what the console said.

    Needs the Debian packages qemu-system-x86 and ovmf.
    """
    wanted = machine.Machine("amd64", image, NETWORK, uefi=True, read_only=True)
    with tempfile.TemporaryDirectory() as folder, machine.running(wanted, Path(folder)) as emulated:
        return session.wait_for(emulated, until, Deadline.after(LIMIT))


def longhorn_disk(folder: Path, uuid: str, disk_uuid: str) -> Path:
    """A raw disk that Longhorn has used, by the UUIDs of its file system and of Longhorn."""
    (folder / "files").mkdir()
    (folder / "files/longhorn-disk.cfg").write_text(json.dumps({"diskUUID": disk_uuid}))
    image = folder / "longhorn.img"
    process.run(["mke2fs", "-q", "-t", "ext4", "-U", uuid, "-d", folder / "files", image, "64M"])
    return image


@dataclass(frozen=True, slots=True)
class Node:
    """A node that runs."""

    guest: Guest

    def run(self, command: str, stdin: bytes = b"") -> str:
        """Have root's shell run a command, and give what it says."""
        return self.guest.run(f"sudo sh -c {shlex.quote(command)}", Deadline.after(LIMIT), stdin)


@contextmanager
def node(lab: Lab, name: str, image: Path, folder: Path, disks: tuple[Path, ...]) -> Iterator[Node]:
    """Boot a copy of a node's amd64 image and let it settle; what is done to the copy is gone with it."""
    of_files = OfFiles(Settings.from_environment(lab.variables({}), folder))
    declared = of_files.live_composer.node(name)
    wires = network.wiring(declared, network.free_port())
    guest = Guest(declared.settings["ssh"]["user"], wires.port, folder)
    key, copy = guest.make_key(), folder / "copy.img"
    sparse.copy(image, copy, lambda _: None)
    labels = declared.klass.labels
    put_in(of_files, copy, labels, lambda exists: additions.entries(declared, wires, key, exists))
    wanted = machine.Machine("amd64", copy, network.nic(wires), uefi=True, disks=disks)
    with machine.running(wanted, folder) as emulated:
        deadline = Deadline.after(LIMIT)
        guest.wait_for_greeting(deadline, lambda: emulated.child.is_running)
        guest.trust(guest.host_keys(deadline).values())
        guest.run("systemctl is-system-running --wait", deadline)
        yield Node(guest)
