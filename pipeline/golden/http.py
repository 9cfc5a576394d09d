"""Goldens from the web: `http:` and `https:`; how they get here is in `download`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..machine.progress import Reporter
from ..wording import masked
from . import urls
from .asking import USUAL, Manners
from .download import Download
from .terms import Terms


class HttpSource:
    """A file on a web server."""

    recipe: ClassVar[None] = None
    remote: ClassVar[bool] = True

    def __init__(self, source: str, manners: Manners = USUAL) -> None:
        self.name = masked(urls.checked(source))
        self._download = Download(source, self.name, manners=manners)

    @classmethod
    def opened(cls, source: str, terms: Terms) -> HttpSource:
        """See `schemes.SCHEMES`."""
        return cls(source, terms.manners)

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Download what is missing of the file."""
        return self._download.fetch(into, reporter, limit)
