"""cmdline.txt of a Raspberry Pi's firmware: the options of the kernel, on the one line that it reads.

Source: https://www.raspberrypi.com/documentation/computers/configuration.html#kernel-command-line-cmdline-txt
and the kernel's Documentation/admin-guide/kernel-parameters.rst.
"""

from __future__ import annotations

import re

from ..errors import MetisError
from .lines import Arguments

# Spaces between two double quotes belong to a value.
_OPTION = re.compile(r'(?:[^\s"]|"[^"]*"|")+', re.ASCII)
_LINE_ENDS = re.compile(r"[\r\n]+")


def cmdline(text: str, arguments: Arguments, path: str) -> str:
    """Take options away, put others last, where the kernel lets them win, and name the root by its PARTUUID.

    `root` is that id; without one the root is named as it was. `remove` and `add` are options with spaces
    between them. One to be removed stands for itself, one without = for all options of that name, one with
    a * at its end for all that begin so. Raises MetisError where no root= is there, as the kernel would not
    find its root.
    """
    added = dict.fromkeys(arguments.get("add", "").split())
    removed = arguments.get("remove", "").split()
    found = _OPTION.findall(_LINE_ENDS.sub(" ", text))
    kept = [option for option in found if option not in added and not _is_among(option, removed)]
    place = next((index for index, option in enumerate(kept) if _name(option) == "root"), None)
    if place is None:
        raise MetisError(
            f"{path} of the golden is missing or has no root=",
            "use an image that a Raspberry Pi can start from",
        )
    rest = [option for option in kept[place:] if _name(option) != "root"]
    # What stands behind -- goes to init and not to the kernel.
    end = rest.index("--") if "--" in rest else len(rest)
    root = f"root=PARTUUID={arguments['root']}" if "root" in arguments else kept[place]
    options = [*kept[:place], root, *rest[:end], *added, *rest[end:]]
    return " ".join(options) + "\n"


def _name(option: str) -> str:
    return option.partition("=")[0]


def _is_among(option: str, patterns: list[str]) -> bool:
    return any(
        option.startswith(pattern[:-1]) if pattern.endswith("*") else pattern in {option, _name(option)}
        for pattern in patterns
    )
