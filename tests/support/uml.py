"""A Linux of its own, without KVM or root, for what the host's may lack: FAT, scanned partitions, SCSI.

User-mode Linux (Debian's user-mode-linux) runs as a process. Its root is the host's, for reading only; one
folder of the host is its /mnt, for reading and writing. Documentation/virt/uml of the kernel describes it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.machine import process

REPOSITORY = Path(__file__).parents[2]
MODULES = Path("/usr/lib/uml/modules")
MEMORY = "512M"
LIMIT = 240
"""Seconds; a guest takes four to start, and its processes several times as long as the host's."""

# modprobe(8) looks below lib/modules of a folder that it is given. Only /run is for writing: this repository
# may lie anywhere else.
INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/run/work TMPDIR=/run/work
export PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/work /run/modules/lib
mount -t hostfs none /mnt -o {folder}
ln -s {modules} /run/modules/lib/modules
for each in loop vfat nls_ascii nls_cp437 nls_iso8859-1 nls_utf8 sd_mod; do
    modprobe -d /run/modules $each || echo "no $each"
done
{{ {modprobe}; cd {repository} && {command}; }} >/mnt/out 2>&1
echo $? >/mnt/code
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ran in the guest: its exit code and all that it said, and what the kernel said."""

    code: int
    out: str
    console: str


def need() -> None:
    """Skip where there is no user-mode Linux."""
    if shutil.which("linux.uml") is None or not MODULES.is_dir():
        pytest.skip("user-mode-linux is not installed: `make slow` does it")


def run(folder: Path, module: str, *arguments: str, modules: Sequence[str] = ()) -> Ended:
    """Run a module of this repository as root in a guest, where `folder` is /mnt, and wait for its end.

    `modules` are those of the kernel that it needs besides, each with its parameters.
    """
    init = folder / "init"
    command = shlex.join([sys.executable, "-m", module, *arguments])
    modprobe = " && ".join(["true", *(f"modprobe -d /run/modules {each}" for each in modules)])
    init.write_text(
        INIT.format(folder=folder, modules=MODULES, modprobe=modprobe, repository=REPOSITORY, command=command)
    )
    init.chmod(0o755)
    words = f"mem={MEMORY} root=/dev/root rootfstype=hostfs rootflags=/ ro quiet panic=1".split()
    ended = process.run(
        ["linux.uml", *words, f"init={init}", "con=null", "ssl=null", "con0=null,fd:1", f"uml_dir={folder}"],
        timeout=LIMIT,
        check=False,
        extra_environment={"TMPDIR": os.fspath(folder)},
    )
    console = (ended.out + ended.err).decode(errors="replace")
    code, out = folder / "code", folder / "out"
    assert code.is_file(), console
    return Ended(int(code.read_text()), out.read_text(), console)
