"""What of a node is its identity, where it lies on the root, and how the bytes of a file become a value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..render.identity import HOST_KEYS

MAX_BYTES = 64 << 10
"""No file of an identity is nearly as long: who brings a longer one brings something else."""


@dataclass(frozen=True, slots=True)
class Item:
    """One part of an identity: the name and form of its secret, and its file on the node.

    `public` is the file beside it with the public half, where there is one.
    """

    name: str
    form: str
    path: str
    public: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """What a file has: the value as it is kept, or None and why there is none."""

    text: str | None
    remark: str = ""


MACHINE_ID = Item("extra.machine_id", "machine-id", "/etc/machine-id")
INITIATOR = Item("extra.iscsi_initiator", "initiator-name", "/etc/iscsi/initiatorname.iscsi")
ITEMS = (
    MACHINE_ID,
    *(
        Item(
            f"extra.ssh_host_{kind}_key",
            "private-key",
            f"/etc/ssh/ssh_host_{kind}_key",
            f"/etc/ssh/ssh_host_{kind}_key.pub",
        )
        for kind in HOST_KEYS
    ),
    Item("extra.node_password", "node-password", "/etc/rancher/node/password"),
    INITIATOR,
)
HOST_NAME_PATH = "/etc/hostname"
"""Whose the rest is; it is no part of what is kept, for a node's name stands in the inventory."""
PATHS = (*(path for item in ITEMS for path in (item.path, item.public) if path), HOST_NAME_PATH)

_INITIATOR_LINE = re.compile(r"\s*InitiatorName\s*=\s*(\S*)\s*")


def host_name(content: bytes) -> str:
    """What /etc/hostname says, in lower case and without a domain; empty for nothing or nobody's name.

    As hostname(5) has it: a line, among comments. Whoever shows it must know it from elsewhere: a link can
    make any file of the node this one.
    """
    lines = (line.strip() for line in content.decode(errors="replace").splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    name = first.partition(".")[0].lower()
    return "" if name == "localhost" else name


def value_of(item: Item, content: bytes) -> Value:
    """What the content of an item's file says. Raises ValueError, which shows nothing of it.

    A file that is there and says that there is nothing yet counts as not found.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"longer than {MAX_BYTES >> 10} KiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("not a text") from None
    if not text.strip():
        return Value(None, "the file is empty")
    if item == MACHINE_ID and text.strip() == "uninitialized":
        return Value(None, "uninitialized: it never started (machine-id(5))")
    if item == INITIATOR:
        return _initiator(text)
    return Value(text if item.public else text.removesuffix("\n"))


def _initiator(text: str) -> Value:
    """The name in initiatorname.iscsi, in which `#` begins a comment; Debian's says at first to make one."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    names = {match[1] for line in lines if (match := _INITIATOR_LINE.fullmatch(line))}
    if len(names) > 1:
        raise ValueError("more than one InitiatorName=")
    if names:
        return Value(names.pop())
    if any(line.split("=")[0].strip() == "GenerateName" for line in lines):
        return Value(None, "none was made yet")
    raise ValueError("no line with InitiatorName=")
