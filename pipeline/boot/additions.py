"""What is put into the copy that boots, and never into an image for a card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files

from ..errors import MetisError
from ..model import Entry, File, ResolvedNode, Symlink, Text
from ..render.k3s import unit_of
from ..render.k3s_units import PROGRAM
from .network import Wiring

Exists = Callable[[str], bool]
"""Whether a path is in the image's root file system."""

SSHD_DROP_INS = "/etc/ssh/sshd_config.d"
OFF_REQUEST = "/dev/shm/metis-boot-off"  # noqa: S108 - in the machine, gone when it starts anew
_OFF_UNIT = "metis-boot-off.path"
WAIT_ONLINE = "/usr/lib/systemd/systemd-networkd-wait-online"
_PATIENT = f"[Service]\nExecStart=\nExecStart={WAIT_ONLINE} --any --timeout=300\n"
_KEYS = "/etc/ssh/metis-boot-keys"


def asset(name: str) -> str:
    """The text of `files/<name>`."""
    return files("pipeline.boot").joinpath("files", name).read_text("utf-8")


def entries(node: ResolvedNode, wires: Wiring, key: str, exists: Exists) -> Iterator[Entry]:
    """A door for the key of this boot, the network card's name, a way to end it, and k3s where it is missing.

    `key` is the line of a public key. Raises MetisError for an image whose sshd would not read the key.
    """
    if not exists(SSHD_DROP_INS):
        raise MetisError(
            f"the image of {node.name} has no {SSHD_DROP_INS}", "metis boot logs in through a file in it"
        )
    # Beside the user's own files, whose owner cloud-init may have yet to make.
    keys = f".ssh/authorized_keys .ssh/authorized_keys2 {_KEYS}"
    yield File(f"{SSHD_DROP_INS}/00-metis-boot.conf", (Text(f"AuthorizedKeysFile {keys}\n"),))
    yield File(_KEYS, (Text(key),))
    yield File(f"/etc/systemd/system/{_OFF_UNIT}", (Text(asset(_OFF_UNIT)),))
    yield Symlink(f"/etc/systemd/system/multi-user.target.wants/{_OFF_UNIT}", f"../{_OFF_UNIT}")
    if exists(WAIT_ONLINE):
        # An emulated machine may take minutes to find its network card, and that is no fault of the node.
        folder = "/etc/systemd/system/systemd-networkd-wait-online.service.d"
        yield File(f"{folder}/99-metis-boot.conf", (Text(_PATIENT),))
    if wires.interface is not None:
        link = f"[Match]\nMACAddress={wires.mac}\n\n[Link]\nName={wires.interface}\n"
        yield File("/etc/systemd/network/00-metis-boot.link", (Text(link),))
    if unit_of(node) is not None and not exists(PROGRAM):
        yield File(PROGRAM, (Text(asset("k3s")),), mode=0o755)
