"""Boots an image in an emulated PC, to prove that it comes up and not only looks right.

Emulation without KVM, so that a test takes the same way everywhere; a boot to the login prompt takes one to
two minutes. The image itself is never written to.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline import process

FIRMWARE = Path("/usr/share/OVMF")
LOGIN = "login: "
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()].|.)|\r")


@dataclass(frozen=True)
class Machine:
    """A machine that runs."""

    child: subprocess.Popen[bytes]
    log: Path

    @property
    def console(self) -> str:
        """What it has said on its serial console so far, without colours and cursor movements."""
        return _ESCAPES.sub("", self.log.read_bytes().decode(errors="replace"))

    def wait_for(self, until: str, timeout: float) -> str:
        """Wait until the console has said this, and give all of the console; `timeout` is in seconds."""
        end = time.monotonic() + timeout
        while until not in (console := self.console):
            ended = self.child.poll() is not None
            assert not ended, f"the machine ended before {until!r}; it said:\n{console[-3000:]}"
            assert time.monotonic() < end, f"no {until!r} in {timeout:g} s; it said:\n{console[-3000:]}"
            time.sleep(0.2)
        return console


@contextmanager
def running(
    image: Path, network: str = "user,restrict=on,model=virtio-net-pci", more: Sequence[str] = ()
) -> Iterator[Machine]:
    """Start a PC with UEFI from an amd64 image, and end it when the block is left.

    `network` is what qemu's -nic takes, for an address of one's own or a forwarded port; `more` are other
    options of qemu. Needs the Debian packages qemu-system-x86 and ovmf.
    """
    with tempfile.TemporaryDirectory() as folder:
        log, variables = Path(folder, "console"), Path(folder, "variables")
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", variables)
        argv = [
            *"qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024".split(),
            *"-display none -monitor none -no-reboot".split(),
            *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd"),
            *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
            *("-drive", f"if=virtio,format=raw,snapshot=on,file={image}"),
            *("-serial", f"file:{log}", "-nic", network, *more),
        ]
        log.touch()
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=process.environment()) as child:
            try:
                yield Machine(child, log)
            finally:
                child.kill()


def boot(image: Path, until: str = LOGIN, timeout: float = 600) -> str:
    """Boot an image, wait until its serial console has said `until`, and give what the console said."""
    with running(image) as machine:
        return machine.wait_for(until, timeout)
