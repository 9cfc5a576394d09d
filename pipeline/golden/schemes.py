"""Where a scheme finds its source. Another source is a file beside this one and a line in SCHEMES."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from ..cache.store import digest
from ..errors import UsageError
from ..machine.progress import Reporter
from ..registry_access import RegistryAccess
from .download import USUAL, Manners
from .file import FileSource
from .http import HttpSource
from .oci import OciSource
from .reference import Reference
from .registry import Registry
from .source import Source


class Registries:
    """The registries of one run; who logs in to one does so once."""

    def __init__(self, access: RegistryAccess, reporter: Reporter) -> None:
        self._access = access
        self._reporter = reporter
        self._known: dict[str, Registry] = {}
        self._lock = threading.Lock()

    def at(self, host: str) -> Registry:
        """The registry at a host and port."""
        with self._lock:
            if host not in self._known:
                self._known[host] = Registry(host, self._access, self._reporter)
            return self._known[host]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a source is opened with, beside its name.

    `folder` is where a relative `file:` starts from; `sha256` is of the file that is wanted, None where
    that is not known; `arch` is as Debian names it.
    """

    folder: Path
    arch: str
    registries: Registries
    sha256: str | None = None
    manners: Manners = USUAL


class DebianSource:
    """A Debian suite as a small image that is built here; see `debian`."""

    remote: ClassVar[bool] = True

    def __init__(self, source: str, arch: str) -> None:
        from . import debian

        self.name = source
        self._suite = source.partition(":")[2]
        self._arch = arch
        self.recipe = debian.recipe_key(self._suite, arch)

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Build the image and hash it."""
        from . import debian

        debian.build(self._suite, into, reporter, self._arch)
        return digest(into)


def _oci(source: str, terms: Terms) -> Source:
    reference = Reference.parse(source)
    registry = terms.registries.at(reference.host)
    return OciSource(reference, registry, terms.sha256, terms.arch, terms.manners)


SCHEMES: Mapping[str, Callable[[str, Terms], Source]] = MappingProxyType(
    {
        "file": lambda source, terms: FileSource(source, terms.folder),
        "http": lambda source, terms: HttpSource(source, terms.manners),
        "https": lambda source, terms: HttpSource(source, terms.manners),
        "oci": _oci,
        "debian": lambda source, terms: DebianSource(source, terms.arch),
    }
)
"""By scheme: from the source as declared to its Source."""


def opened(source: str, terms: Terms) -> Source:
    """The Source that a declared one names, not reached yet; raises UsageError for one of no known kind."""
    scheme = source.partition(":")[0].lower()
    if ":" not in source or scheme not in SCHEMES:
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise UsageError(f"the source {scheme[:80]!r} is of no known kind", f"a source begins with {known}")
    return SCHEMES[scheme](source, terms)
