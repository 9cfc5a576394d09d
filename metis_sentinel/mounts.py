"""File systems on disks where they are mounted, their UUIDs, and the disks of Longhorn on them."""

from __future__ import annotations

import json
from posixpath import basename

from .host import Host
from .mountinfo import Mounted
from .texts import line, text

_MOST = 2000
_MOST_DISKS = 64
_RECORD = 1 << 16
_LOOP = "7"
_ID = b"E:ID_FS_UUID="
_LONGHORN = "/var/lib/longhorn"
_CONFIG = "longhorn-disk.cfg"


def mounts(host: Host) -> list[dict[str, str | bool]]:
    """Each of them; what containers see as their root, and images in loop devices, are left out."""
    linked: dict[str, str] | None = None
    found: list[dict[str, str | bool]] = []
    for mount in filter(_is_on_disk, host.mounts()):
        if len(found) == _MOST:
            host.gap("mounts", f"there are more than {_MOST}")
            break
        about: dict[str, str | bool] = {
            "path": text(mount.path, 4096),
            "source": text(mount.source, 4096),
            "type": text(mount.type, 64),
            "read_only": mount.read_only,
        }
        number = _number(host, mount)
        uuid = _by_udev(host, number)
        if not uuid:
            linked = _by_links(host) if linked is None else linked
            uuid = linked.get(number, "")
        found.append({**about, "uuid": uuid} if uuid else about)
    return found


def longhorn_disks(host: Host) -> list[dict[str, str]]:
    """Where Longhorn keeps its volumes, by the file that it puts on each of its disks."""
    points = [mount.path for mount in host.mounts() if _is_on_disk(mount)]
    found = []
    for folder in dict.fromkeys((_LONGHORN, *points[:_MOST])):
        path = f"{folder.rstrip('/')}/{_CONFIG}"
        try:
            uuid = json.loads(host.files.read(path, _RECORD))["diskUUID"]
            if not isinstance(uuid, str):
                raise TypeError
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (LookupError, RecursionError, TypeError, ValueError):
            host.gap("longhorn_disks", f"{path}: has no diskUUID")
        except OSError as error:
            host.gap("longhorn_disks", error)
        else:
            found.append({"path": text(folder, 4096), "uuid": text(uuid, 64)})
    return found[:_MOST_DISKS]


def _is_on_disk(mount: Mounted) -> bool:
    major = mount.number.partition(":")[0]
    is_device = mount.source.startswith("/dev/") or major != "0"
    is_loop = major == _LOOP or mount.source.startswith("/dev/loop")
    return is_device and not is_loop and mount.path.startswith("/") and not mount.type.startswith("fuse.")


def _number(host: Host, mount: Mounted) -> str:
    """The device's number; btrfs has one of its own for what it mounts, so there its name is asked."""
    if not mount.number.startswith("0:"):
        return mount.number
    return _number_of(host, basename(mount.source))


def _number_of(host: Host, name: str) -> str:
    try:
        return line(host.kernel.read(f"/sys/class/block/{name}/dev", 64), 64)
    except OSError:
        return ""


def _by_udev(host: Host, number: str) -> str:
    """What udev found on a device, by its database (systemd's `udev-database`)."""
    try:
        record = host.files.read(f"/run/udev/data/b{number}", _RECORD)
    except OSError:
        return ""
    found = (each[len(_ID) :] for each in record.split(b"\n") if each.startswith(_ID))
    return line(next(found, b""), 64)


def _by_links(host: Host) -> dict[str, str]:
    """UUIDs by the devices' numbers, as the links in /dev/disk have them."""
    try:
        names = [name for name, _ in host.files.listed("/dev/disk/by-uuid", _MOST)]
    except OSError:
        return {}
    found = {}
    for uuid in names:
        try:
            device = basename(host.files.link(f"/dev/disk/by-uuid/{uuid}"))
        except OSError:
            continue
        found[_number_of(host, device)] = text(uuid, 64)
    found.pop("", None)
    return found
