"""The system itself: who it is, what it runs on, and how it was started."""

from __future__ import annotations

import hmac
import os
import re
from hashlib import sha256

from .host import Host
from .texts import amount, line, text

_PURPOSE = b"metis-sentinel"
_SMALL = 1 << 12
_SOUNDS_SECRET = re.compile(r"((?:pass|token|secret|key|credential)[^=]*=).+", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(r'(?:"[^"]*"?|[^\s"])+')
"""One parameter of the kernel: white space between quotes is part of it."""
_LOGIN = re.compile(r"(://)[^/@\s]+@")
_RELEASE = re.compile(rb"^(ID|VERSION_ID|PRETTY_NAME)=(.*)$", re.MULTILINE)
_FIELDS = {b"ID": ("id", 128), b"VERSION_ID": ("version", 128), b"PRETTY_NAME": ("name", 256)}
_MODELS = (
    "/sys/firmware/devicetree/base/model",
    "/proc/device-tree/model",
    "/sys/class/dmi/id/product_name",
    "/sys/class/dmi/id/board_name",
)


def hostname(host: Host) -> str:
    """What the running kernel says; beneath another root the host's file, as a container has its own name."""
    name = os.uname().nodename if host.is_live else line(host.files.read("/etc/hostname", _SMALL), 255)
    return text(name, 255)


def machine_id_hash(host: Host) -> str:
    """The machine's id keyed to this program, as machine-id(5) asks: the id itself is never told."""
    written = host.files.read("/etc/machine-id", _SMALL).strip()
    if not re.fullmatch(rb"[0-9a-f]{32}", written):
        raise ValueError("/etc/machine-id: is no id")
    return hmac.new(written, _PURPOSE, sha256).hexdigest()


def os_release(host: Host) -> dict[str, str]:
    """The parts of os-release(5) that name the system."""
    try:
        data = host.files.read("/etc/os-release", 1 << 16)
    except FileNotFoundError:
        data = host.files.read("/usr/lib/os-release", 1 << 16)
    found = {}
    for match in _RELEASE.finditer(data):
        name, most = _FIELDS[match[1]]
        found[name] = _unquoted(line(match[2], 4 * most))[:most]
    return found


def _unquoted(value: str) -> str:
    """A value as a shell reads it."""
    if value[:1] in {'"', "'"} and value[-1:] == value[:1] and len(value) > 1:
        value = value[1:-1]
    return re.sub(r"\\(.)", r"\1", value)


def kernel(host: Host) -> str:
    """The release of the kernel that runs."""
    return line(host.kernel.read("/proc/sys/kernel/osrelease", _SMALL), 256)


def arch(_: Host) -> str:
    """The machine that the kernel runs on, which is the same in a container."""
    return text(os.uname().machine, 64)


def board(host: Host) -> str:
    """The model by the device tree, else by DMI."""
    for path in _MODELS:
        try:
            said = line(host.kernel.read(path, _SMALL), 256)
        except OSError:
            continue
        if said:
            return said
    raise ValueError("neither the device tree nor DMI says which one it is")


def memory(host: Host) -> int:
    """Bytes that the kernel has (proc(5), meminfo)."""
    said = re.search(
        rb"^MemTotal:\s*(\d{1,18}) kB$", host.kernel.read("/proc/meminfo", 1 << 16), re.MULTILINE
    )
    if said is None:
        raise ValueError("/proc/meminfo: has no MemTotal")
    return amount(str(int(said[1]) * 1024))


def boot(host: Host) -> dict[str, str | int]:
    """Which start of the system this is, and the seconds since."""
    seconds = host.kernel.read("/proc/uptime", _SMALL).partition(b".")[0]
    started = line(host.kernel.read("/proc/sys/kernel/random/boot_id", _SMALL), 64)
    return {"id": started, "uptime": amount(seconds, 1 << 40)}


def cmdline(host: Host) -> str:
    """The kernel's command line, without what sounds like a secret."""
    said = line(host.kernel.read("/proc/cmdline", 1 << 16), 1 << 16)
    return " ".join(map(_masked, _WORD.findall(said)))[:8192]


def _masked(word: str) -> str:
    return _LOGIN.sub(r"\1***@", _SOUNDS_SECRET.sub(r"\1***", word))
