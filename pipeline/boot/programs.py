"""The programs that a boot needs, each with the Debian package that brings it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ..errors import MetisError
from ..machine import process

PACKAGES = {
    "mcopy": "mtools",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ssh-keyscan": "openssh-client",
}


def require(programs: Iterable[str]) -> None:
    """Raise MetisError for the first program that is not installed."""
    path = process.environment()["PATH"]
    for program in programs:
        if shutil.which(program, path=path) is None:
            raise MetisError(f"{program} is not installed", f"install the package {PACKAGES[program]}")


def require_file(file: Path, package: str) -> Path:
    """A file of another package; raises MetisError where it is not installed."""
    if not file.is_file():
        raise MetisError(f"{file} is not there", f"install the package {package}")
    return file
