"""Nodes' images to a registry, and from one to whoever burns them; the latter needs no inventory."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MetisError, MismatchError, RottenError, SourceError
from ..golden.kept import KeptArtifact
from ..golden.registry.artifact import NODE_IMAGE
from ..golden.registry.push import push
from ..golden.registry.reference import Reference
from ..golden.registry.registry import Registries
from ..machine import durable
from ..machine.scratch import scratch
from ..secrets import age_stream
from ..secrets.age_keys import AgeKeys
from ..secrets.places import age_identity
from ..steps import node_artifact, receipts
from ..steps.burnable import Burnable, opened

if TYPE_CHECKING:
    from ..golden.registry.artifact import Layer
    from ..steps.node_artifact import Contents
    from .lab import Lab


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image in a registry; `reference` names it by tag and digest, `size` is in bytes."""

    node: str
    reference: Reference
    is_sealed: bool
    size: int

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "node": self.node,
            "reference": str(self.reference),
            "digest": self.reference.digest,
            "encrypted": self.is_sealed,
            "size": self.size,
        }


def finished_image(lab: Lab, node: str) -> Path:
    """A node's image. Raises UsageError for no node, MetisError where nobody has built its image."""
    lab.refuse_unknown(node)
    image = lab.artifacts.image(node)
    if not image.is_file() or receipts.read(image) is None:
        raise MetisError(f"there is no finished image of {node}", f"`metis image --node {node}` makes it")
    return image


class LabImages:
    """The images of a lab as artifacts of registries."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    # ----------------------------------------------------------------------------------------- out

    def push(self, node: str, to: Reference, recipients: Sequence[age_stream.Recipient]) -> Pushed:
        """Store a node's image in a registry, sealed where there are recipients.

        It is not built for that. Raises MetisError where there is none, MismatchError where it is not what
        its receipt says, SourceError where the registry does not take it.
        """
        lab = self._lab
        if lab.settings.offline:
            raise SourceError(f"nothing is pushed to {to.host}: METIS_OFFLINE is set", "run without it")
        seal = partial(age_stream.seal, whom=recipients) if recipients else None
        image = finished_image(lab, node)
        with self._has_room(), scratch(lab.artifacts.root, "push", lab.reporter.note) as folder:
            with opened(image, lab.reporter, deep=lab.settings.deep) as what:
                if what.subject != node:
                    raise MismatchError(f"{image} is an image of {what.subject}", "build it again")
                parts = node_artifact.pack(what, image, folder, lab.reporter, seal)
            labels = node_artifact.labels(node, is_sealed=bool(recipients))
            registry, size = self._registries.at(to.host), sum(part.file.stat().st_size for part in parts)
            pinned = push(NODE_IMAGE, parts, labels, to, registry, lab.reporter)
            return Pushed(node, pinned, bool(recipients), size)

    # ------------------------------------------------------------------------------------------ in

    @contextmanager
    def pulled(self, source: Reference, judge: Callable[[int], object]) -> Iterator[Burnable]:
        """An image from a registry while it is burned; what was unpacked has no name any more by then.

        `judge` gets its size in bytes before it is fetched, and raises where that is in vain. What was
        downloaded stays in the cache. Raises SourceError where it is out of reach, or we have no key to it,
        MismatchError where it is not what its parts say of each other, MetisError for what is none.
        """
        lab, registry = self._lab, self._registries.at(source.host)
        kept = KeptArtifact(source, registry, lab.store, lab.reporter, offline=lab.settings.offline)
        what = node_artifact.contents(kept.artifact, kept.name)
        if what.is_sealed:
            _ = self._keys.identities  # before gigabytes are fetched that nobody can open
        with scratch(lab.artifacts.root, "burn", lab.reporter.note) as folder, ExitStack() as stack:
            with self._has_room(), _naming(kept, what, folder):
                image = self._unpacked(what, kept, folder, judge)
                found = stack.enter_context(opened(image, lab.reporter))
            shutil.rmtree(folder)  # what is open stays until it is closed, and no kill leaves it behind
            lab.reporter.note(f"{what.node}: {kept.pinned}")
            yield found

    def _unpacked(
        self, what: Contents, kept: KeptArtifact, folder: Path, judge: Callable[[int], object]
    ) -> Path:
        receipt, xml = (self._content(layer, what, kept) for layer in (what.receipt, what.bmap))
        said = node_artifact.about(what, receipt, xml)
        judge(said.receipt.size)
        with kept.open(what.image) as packed, ExitStack() as stack:
            content = packed
            if what.is_sealed:
                content = stack.enter_context((folder / "packed").open("x+b"))
                with self._lab.reporter.step(f"{what.node}: opening what is sealed"):
                    self._keys.unseal(packed, content, f"{kept.name}: {what.image.title}")
                content.seek(0)
            size = os.fstat(content.fileno()).st_size
            return node_artifact.unpack(content, size, what, said, folder, self._lab.reporter)

    def _content(self, layer: Layer, what: Contents, kept: KeptArtifact) -> bytes:
        """What a small file of an artifact holds."""
        with kept.open(layer) as content:
            if not what.is_sealed:
                return content.read()
            into = BytesIO()
            self._keys.unseal(content, into, f"{kept.name}: {layer.title}")
            return into.getvalue()

    # ----------------------------------------------------------------------------------- what is used

    @cached_property
    def _registries(self) -> Registries:
        return Registries(self._lab.settings.registries, self._lab.reporter)

    @cached_property
    def _keys(self) -> AgeKeys:
        """Our own keys, which are made by nobody who only opens; asked for where something is sealed."""
        given = {name: value for name, value in os.environ.items() if value}
        return AgeKeys(age_identity(given, Path.cwd()), tuple, makes_key=False)

    @contextmanager
    def _has_room(self) -> Iterator[None]:
        root = self._lab.artifacts.root
        try:
            yield
        except OSError as error:
            raise durable.out_of_room(root, error) from error


_MADE_HERE = re.compile(r"(make|build|fetch)\b.* again")
"""A hint for who has made what cannot be used."""


@contextmanager
def _naming(kept: KeptArtifact, what: Contents, folder: Path) -> Iterator[None]:
    """Say of what is wrong with an artifact whose it is; but rot of the cache explains any other trouble."""
    try:
        yield
    except MetisError as error:
        if kept.drop_rotten(what.layers):
            raise RottenError(
                f"{kept.name} rotted in the cache and is removed from it", "run again to fetch it"
            ) from None
        # What is wrong with this machine, or with the card, is no fault of the artifact.
        is_its = type(error) in {MetisError, MismatchError} and not isinstance(error.__cause__, OSError)
        if not is_its or error.message.startswith(kept.name):
            raise
        message = error.message.replace(f"{folder}{os.sep}", "")
        hint = "push it again" if _MADE_HERE.match(error.hint) else error.hint
        raise type(error)(f"{kept.name}: {message}", hint) from error
