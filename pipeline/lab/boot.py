"""A lab's image, booted: a copy of it, with a few things more that let us ask it who it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..boot import session
from ..boot.additions import Exists
from ..inject.apply import apply
from ..inject.partitions import by_label_or_content
from ..inject.sources import Sources, no_secrets
from ..machine import durable
from ..manifest import Contribution, collect
from ..model import Entry, Side
from ..raw import disk
from .lab import Lab
from .verify import no_image


def boot(
    lab: Lab, name: str, options: session.Options, image: Path | None = None, *, keep: bool = False
) -> session.Report:
    """Boot a copy of a node's image, or of another one, and compare what comes up with the node.

    With `keep` the copy and what its console said stay among the artifacts.
    """
    node = lab.live_composer.node(name)
    source = image or lab.artifacts.image(name)
    if not source.is_file():
        raise no_image(name, source, "name an image with --image" if image else None)
    folder = lab.artifacts.boot(name)

    def inject(copy: Path, entries: Callable[[Exists], Iterable[Entry]]) -> int | None:
        return put_in(lab, copy, node.klass.labels, entries)

    def wait(holder: str) -> None:
        lab.reporter.note(f"booting {name}: waiting for {holder}")

    tools = session.Tools(inject, lab.appliance.accelerator, lab.keyring.as_they_are(name), lab.reporter)
    with durable.locked(folder.with_name(f".{name}.lock"), wait):
        shutil.rmtree(folder, ignore_errors=True)  # what a kill has left
        try:
            durable.make_private(folder)
            return session.run(node, lab.manifest(name), source, folder, options, tools)
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def put_in(
    lab: Lab, image: Path, labels: Mapping[Side, str], entries: Callable[[Exists], Iterable[Entry]]
) -> int | None:
    """Put a few more entries into an image, without a receipt; gives the number of its boot partition."""
    layout = disk.read(image)
    with lab.tools.injector.open(image, layout, by_label_or_content(labels)) as trees:
        wanted = entries(lambda path: trees.root.status(path) is not None)
        manifest = collect(image.name, [Contribution("boot", tuple(wanted))])
        apply(manifest, trees, Sources(lab.open_blob, no_secrets, {}), image.parent)
    return trees.places.boot
