"""A node's image as an artifact of a registry: packed and, for whom it is meant, sealed; and back again.

The artifact has three files: the image, packed by zstd(1), its block map and its receipt. Sealed by age, all
three are, as a block map has hashes of what is secret. What is sealed can be read by its recipients alone,
but anybody can seal: that it is the image that was pushed, only the artifact's digest tells.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ..errors import MetisError, MismatchError
from ..golden.registry.artifact import NODE_IMAGE, Artifact, Layer
from ..golden.registry.push import Part
from ..inventory.read import NAME
from ..machine import durable, process
from ..machine.progress import Advance, Reporter
from ..raw import bmap, sparse
from ..secrets.age_stream import Reads, Writes
from ..settings import LARGEST_CARD
from . import packing, receipts
from .artifacts import bmap_of, receipt_of
from .burnable import Burnable
from .receipts import Receipt

NODE, SEALED = "dev.metis.node", "dev.metis.sealed"
"""Annotations: whose image it is, and whether age has sealed it, `true` or `false`."""
SEALED_ENDING = ".age"
_SEALED_MORE = 1 << 20
"""Bytes that a sealed file may have more than what is in it, but for a thousandth of it."""
_TYPES = ("image.v1.raw+zstd", "image.v1.bmap+xml", "image.v1.receipt+json")
_UNPACK = ("zstd", "-d", "-c", "-q", "--memory=32MB")
"""More threads, and other windows than the usual ones, take more memory."""

Seal = Callable[[Reads, Writes], None]
"""Passes a stream on to another one, sealed."""


# ------------------------------------------------------------------------------------------- out


def pack(what: Burnable, image: Path, folder: Path, reporter: Reporter, seal: Seal | None) -> list[Part]:
    """Pack an open image, with what lies beside `image`, into new files of a private folder.

    What the block map does not name is packed as zeros. Raises MismatchError where the image is not what its
    block map says.
    """
    xml, receipt = bmap_of(image).read_bytes(), receipts.read(image)
    is_its = receipt is not None and receipt.bmap_sha256 == hashlib.sha256(xml).hexdigest()
    # The same may be built anew, with other bytes: the id alone does not tell.
    if receipt is None or not is_its or receipt.id != what.id or bmap.parse(xml) != what.map:
        raise MismatchError(f"{image} was built anew meanwhile", "run again")
    # How the file looks here is nobody else's concern.
    about = durable.as_json(asdict(replace(receipt, stamp={})))
    files = [folder / title for title in _titles(what.subject, is_sealed=seal is not None)]
    with (
        reporter.step(f"{what.subject}: packing", what.map.mapped) as advance,
        packing.packed(what, image.name, advance) as packed,
    ):
        _write(packed, files[0], seal)
    for file, content in zip(files[1:], (xml, about), strict=True):
        _write(BytesIO(content), file, seal)
    ending = "+age" if seal else ""
    return [
        Part(file, f"application/vnd.metis.{kind}{ending}", file.name)
        for file, kind in zip(files, _TYPES, strict=True)
    ]


def labels(node: str, *, is_sealed: bool) -> Mapping[str, str]:
    """What the artifact of a node's image says of itself: its annotations."""
    return {NODE: node, SEALED: "true" if is_sealed else "false"}


def _write(content: Reads, into: Path, seal: Seal | None) -> None:
    """Write a stream to a new file."""
    with into.open("xb") as file:
        if seal is None:
            shutil.copyfileobj(content, file, sparse.CHUNK)
        else:
            seal(content, file)


# -------------------------------------------------------------------------------------------- in


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of an artifact that is a node's image."""

    name: str
    node: str
    is_sealed: bool
    image: Layer
    bmap: Layer
    receipt: Layer

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All of them."""
        return (self.image, self.bmap, self.receipt)


def contents(artifact: Artifact, name: str) -> Contents:
    """What an artifact has, as far as its manifest tells; raises MetisError for what is no node's image."""
    if artifact.type != NODE_IMAGE:
        raise MetisError(f"{name} is no image of a node", "name what `metis push` has pushed")
    node, sealed = artifact.annotations.get(NODE, ""), artifact.annotations.get(SEALED)
    found = {layer.title: layer for layer in artifact.layers}
    wanted = _titles(node, is_sealed=sealed == "true")
    if not NAME.fullmatch(node) or len(artifact.layers) != len(wanted) or found.keys() != set(wanted):
        raise MetisError(f"{name} does not have the files of a node's image", "push it again")
    made = Contents(name, node, sealed == "true", *(found[title] for title in wanted))
    limits = (LARGEST_CARD, bmap.LARGEST_FILE, receipts.LARGEST)
    for layer, limit in zip(made.layers, limits, strict=True):
        if layer.size > limit + limit // 1000 + _SEALED_MORE:
            raise MetisError(
                f"{name}: {layer.title} has {layer.size} bytes, which is too much", "push it again"
            )
    return made


@dataclass(frozen=True, slots=True)
class About:
    """What an artifact says of its image: as much of the receipt as a burn uses, and the block map."""

    receipt: Receipt
    xml: bytes


def about(what: Contents, receipt: bytes, xml: bytes) -> About:
    """Read a receipt and a block map that came with an image, which may be anybody's.

    Raises MismatchError where they are not of one image of that node, MetisError where they are none.
    """
    found = receipts.parse(receipt)
    if found is None or not 0 < found.size <= LARGEST_CARD:
        raise MetisError(
            f"{what.name}: its receipt cannot be read", "push it again, with the same Metis as here"
        )
    if found.subject != what.node or found.bmap_sha256 != hashlib.sha256(xml).hexdigest():
        raise MismatchError(f"{what.name}: its files are not of one image of {what.node}", "push it again")
    if bmap.parse(xml).size != found.size:
        raise MismatchError(f"{what.name}: its block map is of an image of another size", "push it again")
    # Without a stamp nobody takes the image for one that was looked at.
    kept = Receipt(
        subject=found.subject,
        id=found.id,
        made_from={},
        places={},
        size=found.size,
        mapped=found.mapped,
        bmap_sha256=found.bmap_sha256,
        stamp={},
        slot=found.slot,
    )
    return About(kept, xml)


def unpack(
    packed: BinaryIO, size: int, what: Contents, said: About, folder: Path, reporter: Reporter
) -> Path:
    """Unpack an image of `size` bytes packed into a private folder, with block map and receipt beside it.

    They say what it must be; whoever opens it to burn it finds out by its hashes, as it was never looked at.
    Raises MismatchError where it cannot be unpacked, or has not the length that its receipt names.
    """
    image = folder / f"{what.node}.img"
    length = said.receipt.size
    try:
        with (
            reporter.step(f"{what.node}: unpacking", size) as advance,
            process.piped(_UNPACK, _chunks(packed, advance)) as out,
        ):
            found = sparse.write_stream(iter(lambda: out.read(sparse.CHUNK), b""), image, length)
    except sparse.TooLongError:
        found = length + 1
    except process.FilterError as error:
        raise MismatchError(
            f"{what.name}: its image cannot be unpacked: {error.message}", "push it again"
        ) from None
    if found != length:
        raise MismatchError(
            f"{what.name}: its image has not the {length} bytes that its receipt names", "push it again"
        )
    durable.write(bmap_of(image), said.xml)
    durable.write(receipt_of(image), durable.as_json(asdict(said.receipt)))
    return image


def _chunks(packed: BinaryIO, advance: Advance) -> Iterable[bytes]:
    while chunk := packed.read(sparse.CHUNK):
        advance(len(chunk))
        yield chunk


def _titles(node: str, *, is_sealed: bool) -> tuple[str, str, str]:
    """The names of an artifact's files."""
    ending = SEALED_ENDING if is_sealed else ""
    image = Path(f"{node}.img")
    return f"{image}.zst{ending}", f"{bmap_of(image)}{ending}", f"{receipt_of(image)}{ending}"
