"""The two heavy steps: a golden into a base, and a base into an image.

Both work on a part file, put a manifest into it and end with the receipt. What goes in is decided in
`compose`; how it gets in, in `inject`. The folder of what they make is there: whoever takes it away meanwhile
does not want it any more, and it is not made again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..errors import MetisError
from ..golden.fetch import Fetched
from ..golden.unpack import unpack
from ..inject.apply import apply
from ..inject.partitions import by_label_or_content, exactly
from ..inject.sources import OpenBlob, Sources, no_secrets
from ..inject.tree import Chooser, Coming, Contents, Injector, LostError, NotExactError, Places
from ..machine import durable
from ..machine.progress import Reporter
from ..manifest import has_image_facts, reserved
from ..model import Manifest
from ..raw import disk, slot, sparse
from ..secrets.keyring import Revealed
from . import receipts
from .ids import BaseManifest, base_made_from, image_made_from


@dataclass(frozen=True, slots=True)
class Tools:
    """What both steps work with."""

    injector: Injector
    open_blob: OpenBlob
    reporter: Reporter
    second: Callable[[], Injector] | None = None
    """Who makes anew what the injector found out too late that it cannot do just so."""


@dataclass(frozen=True, slots=True)
class ImageToMake:
    """An image that is to be made of a base, with a node's manifest and secrets in it.

    Before it takes the place of the `target` it is read back, where `wanted` says what its base must hold.
    """

    manifest: Manifest
    base: Path
    target: Path
    secrets: Revealed
    wanted: BaseManifest | None


T = TypeVar("T")

Check = Callable[[Path], None]
"""Raises where a file is not what it must be."""


def make_base(golden: Fetched, wanted: BaseManifest, target: Path, size_limit: int, tools: Tools) -> None:
    """Unpack a golden, of at most so many bytes then, make room in it, and put the class's files in."""
    tried(wanted.manifest.subject, tools, partial(_make_base, golden, wanted, target, size_limit))


def _make_base(golden: Fetched, wanted: BaseManifest, target: Path, size_limit: int, tools: Tools) -> None:
    subject = wanted.manifest.subject
    with durable.beside(target, makes_parent=False) as part:
        unpack(golden.path, part, golden.sha256, tools.reporter, size_limit)
        layout = disk.read(part)
        last = max(layout.partitions, key=lambda item: item.start).number
        choose = by_label_or_content(wanted.labels)
        if wanted.headroom:
            layout = disk.grow_last(part, last, wanted.headroom)
            choose = _root_is(last, choose)
        with (
            tools.reporter.step(f"{subject}: injecting"),
            tools.injector.open(part, layout, choose, grow=wanted.headroom > 0) as trees,
        ):
            sources = Sources(tools.open_blob, no_secrets, {})
            apply(wanted.manifest, trees, sources, target.parent)
        made_from = base_made_from(golden.sha256, wanted)
        places = asdict(trees.places)
        receipts.finish(part, target, subject, made_from, places, tools.reporter, layout=layout)


def make_image(
    manifest: Manifest,
    base: Path,
    target: Path,
    secrets: Revealed,
    tools: Tools,
    check: Check | None = None,
) -> None:
    """Copy a base and put a node's manifest, with its secrets, into the copy.

    `check` gets the finished file, and raises where it is not to take the place of the target.
    """
    make = partial(_make_image, manifest, base, target, secrets)
    tried(manifest.subject, tools, lambda tools: make(tools, check))


def tried(subject: str, tools: Tools, make: Callable[[Tools], T]) -> T:
    """Make something, and again from the start where an injector lost it with others, or cannot be exact."""
    try:
        return make(tools)
    except LostError as error:
        tools.reporter.note(f"{subject}: {error.message}: making it by itself")
        return make(tools)
    except NotExactError as error:
        if tools.second is None:
            raise
        tools.reporter.note(f"{subject}: {error.message}: the appliance does it")
        return make(replace(tools, injector=tools.second(), second=None))


def _make_image(
    manifest: Manifest, base: Path, target: Path, secrets: Revealed, tools: Tools, check: Check | None
) -> None:
    receipt = receipts.read(base)
    if receipt is None:
        raise MetisError(f"{base} has no receipt", "build the class's base first")
    subject = manifest.subject
    with durable.beside(target, makes_parent=False) as part:
        layout, places = _injected(manifest, base, receipt, part, secrets, tools)
        if check:
            check(part)
        made_from = image_made_from(manifest.id, receipt.id, secrets.used)
        place = _slot(part, layout, places.root, manifest)
        receipts.finish(
            part,
            target,
            subject,
            made_from,
            receipt.places,
            tools.reporter,
            secrets.versions,
            place,
            layout=layout,
            base=base,
        )


def _injected(
    manifest: Manifest, base: Path, receipt: receipts.Receipt, part: Path, secrets: Revealed, tools: Tools
) -> tuple[disk.Disk, Places]:
    """Make a copy of a base, with the manifest in it; the copying goes on while an appliance starts."""
    subject = manifest.subject
    with ExitStack() as stack:

        def fill() -> disk.Disk:
            with tools.reporter.step(f"{subject}: copying the base", sparse.mapped_bytes(base)) as advance:
                sparse.copy(base, part, advance)
            # What names partitions by id gets ids that no other node's card has.
            layout = disk.with_own_ids(part, subject) if has_image_facts(manifest) else disk.read(part)
            stack.enter_context(tools.reporter.step(f"{subject}: injecting"))
            layouts.append(layout)
            return layout

        layouts: list[disk.Disk] = []
        coming = Coming(base.stat().st_size, fill)
        choose = exactly(Places(**receipt.places))  # type: ignore[arg-type]
        trees = stack.enter_context(tools.injector.open(part, coming, choose))
        facts = disk.facts(layouts[-1], trees.places.root, trees.places.boot)
        sources = Sources(tools.open_blob, secrets.reveal, facts)
        for warning in apply(manifest, trees, sources, part.parent):
            tools.reporter.note(warning)
    return layouts[-1], trees.places


def _slot(image: Path, layout: disk.Disk, root: int, manifest: Manifest) -> int | None:
    """Where the content lies that a burn fills, if there is just one on the root."""
    wanted = reserved(manifest)
    partitions = [each for each in layout.partitions if each.number == root]
    if len(wanted) != 1 or len(partitions) != 1:
        return None
    ((path, piece),) = wanted
    return slot.find(image, partitions[0], path, piece.blank)


def _root_is(last: int, choose: Chooser) -> Chooser:
    """A chooser that insists on the partition that was grown."""

    def checked(layout: disk.Disk, contents: Contents) -> Places:
        places = choose(layout, contents)
        if places.root != last:
            raise MetisError(
                f"the golden's root (partition {places.root}) is not its last partition ({last})",
                "no room can be made for it: set image.headroom of the class to 0",
            )
        return places

    return checked
