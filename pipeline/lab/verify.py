"""A lab's image or card, read back and compared with what the inventory says."""

from __future__ import annotations

from pathlib import Path

from ..errors import MetisError
from ..steps.verify import Verdict, read_back
from .lab import Lab


def verify(lab: Lab, name: str, image: Path | None = None) -> Verdict:
    """Compare a node's image, or another image or card of it, with what the inventory says at present."""
    target = image or lab.artifacts.image(name)
    if not (target.is_file() or target.is_block_device()):
        raise no_image(name, target, "name an image or a card with --image" if image else None)
    wanted = lab.live_composer.base_manifest(lab.live_composer.node(name).klass.name)
    manifest = lab.live_composer.manifest(name)
    return read_back(target, wanted, manifest, lab.keyring.as_they_are(name), lab.tools)


def no_image(name: str, path: Path, hint: str | None) -> MetisError:
    """What to say where a node's image should be, and is not."""
    return MetisError(f"{path} is no image", hint or f"`metis image --node {name}` makes it")
