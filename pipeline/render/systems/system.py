"""What there is to know of an operating system."""

from __future__ import annotations

from dataclasses import dataclass

from ...model import Entry


@dataclass(frozen=True, slots=True)
class System:
    """An operating system that a golden may be of.

    `quirks` take away what would undo the node's identity at the first start. `by_firmware` says that a
    Raspberry Pi's own firmware starts its images for arm64, from cmdline.txt and config.txt; all others are
    started by a boot loader that names the root in places of its own. `renderer` is the one of `network` that
    its images have. `addresses` are files of its images that would give the node other addresses, `seeds`
    those that lead cloud-init to another seed than ours. `kernel_4k` is the kernel whose pages have 4 KiB, as
    config.txt names it, where there is a choice. `has_known_root` says that everyone knows the password of
    the image's root.
    """

    quirks: tuple[Entry, ...]
    by_firmware: bool
    renderer: str
    addresses: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    kernel_4k: str | None = None
    has_known_root: bool = False
