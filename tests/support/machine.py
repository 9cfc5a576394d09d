"""Boots an image in an emulated PC, to prove that it comes up and not only looks right.

Emulation without KVM, so that a test takes the same way everywhere; a boot to the login prompt takes one to
two minutes. The image itself is never written to.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipeline.boot import machine, session
from pipeline.boot.guest import Deadline

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
