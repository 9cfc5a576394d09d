"""Goldens that are made here: `debian:<suite>`, a small image that boots, from Debian's packages.

It lets a newcomer build a first card without a registry or a published image. What it is made of is in
`recipe`, how in `packages` and `image`.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from ...cache.store import digest
from ...machine.durable import PART, out_of_room
from ...machine.progress import Reporter
from ..terms import Terms
from .image import assemble
from .packages import install
from .recipe import recipe_key, recipe_of


class DebianSource:
    """A suite of Debian for an architecture."""

    remote: ClassVar[bool] = True

    def __init__(self, source: str, arch: str) -> None:
        self.name = source
        self._suite = source.partition(":")[2]
        self._arch = arch
        self.recipe = recipe_key(self._suite, arch)

    @classmethod
    def opened(cls, source: str, terms: Terms) -> DebianSource:
        """See `golden.schemes`."""
        return cls(source, terms.arch)

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Build the image and hash it."""
        build(self._suite, into, reporter, self._arch)
        return digest(into)


def build(suite: str, target: Path, reporter: Reporter, arch: str = "amd64") -> None:
    """Write a sparse raw image of a Debian suite to `target` (mode 0600).

    The caller makes `target` final. The packages come from `METIS_DEBIAN_MIRROR`, else from the archive of
    Debian that the host itself uses. On failure neither `target` nor a temporary folder is left. Raises
    UsageError for what cannot be built, SourceError where the archive cannot be reached or does not have
    the suite, MismatchError where its signature does not hold, MetisError for a full disk and all else.
    """
    recipe = recipe_of(suite, arch)
    name = f"debian:{suite}"
    try:
        with tempfile.TemporaryDirectory(prefix=f".{suite}-", suffix=PART, dir=target.parent) as folder:
            work = Path(folder)
            with reporter.step(f"{name}: installing packages"):
                tar = install(recipe, suite, arch, work)
            with reporter.step(f"{name}: making the image"):
                assemble(recipe, tar, work, target)
    except BaseException as error:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise out_of_room(target, error) from error
        raise
