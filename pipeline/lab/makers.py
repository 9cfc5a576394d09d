"""Who makes a lab's bases and images: this process, or the workers of a scheduler; the step is the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

# What builds is imported where it is used: most runs find nothing to do.
if TYPE_CHECKING:
    from ..golden.fetch import Fetched
    from ..steps.build import ImageToMake
    from ..steps.ids import BaseManifest
    from .lab import Lab


class Maker(Protocol):
    """Carries out the two heavy steps; see `steps.build` for what they do, and what they raise."""

    def make_base(self, golden: Fetched, wanted: BaseManifest, target: Path) -> None:
        """Make a class's base of its golden."""

    def make_image(self, image: ImageToMake) -> None:
        """Make a node's image of its base."""


class Here:
    """This process does it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def make_base(self, golden: Fetched, wanted: BaseManifest, target: Path) -> None:
        """Make it with the lab's tools."""
        from ..steps import build

        build.make_base(golden, wanted, target, self._lab.size_limit, self._lab.tools)

    def make_image(self, image: ImageToMake) -> None:
        """Make it with the lab's tools."""
        from ..steps import build, verify

        tools, wanted, secrets = self._lab.tools, image.wanted, image.secrets
        check = verify.check(wanted, image.manifest, secrets.reveal, tools) if wanted else None
        build.make_image(image.manifest, image.base, image.target, secrets, tools, check)


def maker(lab: Lab) -> Maker:
    """As the settings choose it; who needs nothing made pays for neither."""
    if lab.settings.scheduler is None:
        return Here(lab)
    from .workers import Workers

    return Workers(lab, lab.settings.scheduler)
