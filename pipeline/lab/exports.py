"""A lab's images as packed files, for desktops that have no Metis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MetisError, MismatchError, RefusedError, one_line
from ..facts.show import stamp
from ..machine import durable
from ..machine.paths import DEVICES, lies_below
from ..machine.scratch import scratch
from ..steps.artifacts import bmap_of
from ..steps.packing import Packed, pack
from .images import finished_image

if TYPE_CHECKING:
    from ..history.exports import Export
    from .lab import Lab

LONGEST_WHO = 100
"""Letters that are kept of whoever made an export."""
MOST_OPEN = 4
"""Of a node: each has the size of an image, and a button that is pressed often must fill no disk."""


def make_export(lab: Lab, node: str, lasts: timedelta, by: str) -> Export:
    """Pack a node's image into an export, which is open for so long; nothing is built for that.

    `by` is who wants it, for the history. Raises MetisError where there is no finished image or there are
    MOST_OPEN exports of the node, MismatchError where it is not what its receipt says. What a cut has left,
    the next one removes.
    """
    from ..history.exports import Export, Exports

    exports = Exports(lab.artifacts.history, lab.artifacts.exports)
    begun = datetime.now(UTC)
    exports.sweep(begun)
    if sum(each.state(begun) == "open" for each in exports.listed(node)) >= MOST_OPEN:
        raise MetisError(f"{node} has {MOST_OPEN} open exports", "revoke one on its page, or fetch it")
    about = lab.live_composer.node(node).klass
    with scratch(exports.folder, "export", lab.reporter.note) as folder:
        part = folder / "image"
        packed = _packed(lab, node, part)
        now = datetime.now(UTC)
        export = Export(
            id=exports.new_id(),
            node=node,
            klass=about.name,
            arch=about.arch,
            image=packed.image,
            by=one_line(by)[:LONGEST_WHO],
            made_at=stamp(now),
            expires_at=stamp(now + lasts),
            size=packed.size,
            sha256=packed.sha256,
            raw_size=packed.raw_size,
            raw_sha256=packed.raw_sha256,
        )
        exports.add(part, export)
    return export


def export_to(lab: Lab, node: str, target: Path) -> Packed:
    """Pack a node's image into a new file, with its block map beside it for bmaptool(1).

    Raises RefusedError where something is there, and as `make_export` does.
    """
    bmap = bmap_of(target.with_suffix(""))
    for path in (target, bmap):
        if lies_below(path, DEVICES):
            raise RefusedError(
                f"{path} is below {DEVICES}", "`metis burn --device` writes an image to a card"
            )
        if path.exists() or path.is_symlink():
            raise RefusedError(f"{path} is there already", "name another place, or remove it first")
    with durable.replacing(target) as part:
        packed = _packed(lab, node, part)
        durable.write(bmap, packed.map.to_xml())
    return packed


def _packed(lab: Lab, node: str, into: Path) -> Packed:
    image = finished_image(lab, node)
    try:
        packed = pack(image, into, lab.reporter, deep=lab.settings.deep)
    except OSError as error:
        raise durable.out_of_room(into, error) from error
    if packed.subject != node:
        raise MismatchError(f"{image} is an image of {packed.subject}", "build it again")
    return packed
