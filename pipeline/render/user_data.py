"""User-data for cloud-init: an operator's own under ours, which keep a node the one that it replaces.

User-data override almost all other settings of cloud-init, so what would undo the identity is refused.
Source: https://docs.cloud-init.io/en/latest/reference/modules.html.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ..errors import InventoryError, SecretError
from ..inventory.document import parse
from .cloud_init import OURS
from .owned import PROTECTED, REFUSED
from .yaml_text import yaml_text

HEADER = "#cloud-config\n"

_COMMANDS = ("bootcmd", "runcmd")
_UNDOING = re.compile(
    r"hostnamectl|set-hostname|machine-id|INSTALL_K3S|get\.k3s\.io|rancher|cluster-init|ssh_host_|ssh-keygen"
    r"|cloud-init\s+clean|/etc/(hostname|hosts|fstab|netplan|shadow)\b|mkfs|wipefs|swapon"
    r"|\b(reboot|poweroff|shutdown)\b"
)
"""Words of commands that rename the node, join it elsewhere, make new keys, format a disk or stop it.

Only what stands there plainly is found: who writes commands for a node can undo anything.
"""
_PROTECTED = re.compile(
    "|".join(f"{re.escape(path)}(/.*)?".replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for path in PROTECTED),
    re.DOTALL,
)


def merged(text: str | None, what: str = "cloud_init") -> str:
    """Give the user-data of a node: what the operator wrote, if anything, with ours laid over it.

    Raises SecretError for what is not plain cloud-config, or would undo the node's identity. It calls the
    text `what`, and names keys that cloud-init has and never a value: the whole text is a secret.
    """
    own = {} if text is None else _read(text, what)
    faults = "; ".join(dict.fromkeys(_faults(own)))
    if faults:
        raise SecretError(f"{what} would undo what the inventory says of the node", faults)
    return HEADER + yaml_text(own | dict(OURS)).text


def _read(text: str, what: str) -> dict[str, Any]:
    """The settings as cloud-init reads them (by YAML 1.1: `yes` is true), if they are plain enough."""
    lines = text.split("\n")
    if lines[0].rstrip() != HEADER.rstrip():
        raise SecretError(
            f"{what} does not begin with the line #cloud-config",
            "write one cloud-config: scripts, templates, archives and includes are not taken",
        )
    if all(not line.strip() or line.lstrip().startswith("#") for line in lines):
        return {}
    data, line = _loaded(text)
    # on, off, yes and no are keys that are not strings.
    if data is None or not all(isinstance(key, str) for key in data):
        where = f", by line {line}" if line else ""
        raise SecretError(
            f"{what} is not the plain YAML of a cloud-config{where}",
            "write one map of keys, each once, without tags and merge keys",
        )
    return data


def _loaded(text: str) -> tuple[dict[str, Any] | None, int]:
    """The data, or nothing and the line of what is wrong: an exception would carry a part of the text."""
    try:
        parse(text, "")
        data: dict[str, Any] = yaml.safe_load(text)
    except InventoryError as error:
        return None, error.problems[0].line
    except (yaml.YAMLError, ValueError, OverflowError):
        return None, 0
    return data, 0


def _faults(own: Mapping[str, Any]) -> Iterator[str]:
    for key, reason in REFUSED.items():
        if key in own:
            yield f"take {key} out of it: {reason}"
    for key, ours in OURS.items():
        if key in own and own[key] != ours:
            yield f"take {key} out of it: Metis sets it"
    yield from _users(own.get("users"))
    for key in _COMMANDS:
        if any(_UNDOING.search(word) for word in _texts(own.get(key))):
            yield f"take what would rename, rejoin, format or restart the node out of its {key}"
    yield from _written(own.get("write_files"))


def _users(users: object) -> Iterator[str]:
    """The default user is the image's; one that is a map with a name is the operator's own."""
    if users is None:
        return
    names = _each(users, "name")
    if names is None:
        yield "make its users a list of maps with a name: the default user of the image is not the node's"
    elif {"default", "root"} & set(names):
        yield f"take default and root out of its users: {REFUSED['user']}"


def _written(files: object) -> Iterator[str]:
    if files is None:
        return
    paths = _each(files, "path")
    if paths is None:
        yield "make its write_files a list of maps with a path"
    elif any(_PROTECTED.fullmatch(posixpath.normpath("/" + path.lstrip("/"))) for path in paths):
        yield "take the files that Metis writes, such as names and addresses, out of its write_files"


def _each(items: object, key: str) -> list[str] | None:
    """The text under a key of each map in a list; None where it is not such a list."""
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    found = [item.get(key) for item in items]
    return found if all(isinstance(text, str) for text in found) else None


def _texts(value: object) -> Iterator[str]:
    """All texts in nested lists and maps; the words of one command as the line that they are."""
    match value:
        case str():
            yield value
        case list():
            yield " ".join(word for word in value if isinstance(word, str))
            for item in value:
                yield from _texts(item)
        case dict():
            for item in value.values():
                yield from _texts(item)
