"""Where a scheme finds its source. Another source is a file beside this one and a line in SCHEMES."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..errors import UsageError
from .debian.source import DebianSource
from .file import FileSource
from .http import HttpSource
from .oci import OciSource
from .source import Source
from .terms import Terms


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a declared source of a scheme is opened, and the variables that log in there.

    A source gets no other variables, and no child of a library gets these.
    """

    open: Callable[[str, Terms], Source]
    variables: tuple[str, ...] = ()


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "file": Scheme(FileSource.opened),
        "http": Scheme(HttpSource.opened),
        "https": Scheme(HttpSource.opened),
        "oci": Scheme(OciSource.opened),
        "debian": Scheme(DebianSource.opened),
    }
)
CREDENTIALS = tuple(name for scheme in SCHEMES.values() for name in scheme.variables)
"""All that any of them reads of the environment."""


def opened(source: str, terms: Terms) -> Source:
    """The Source that a declared one names, not reached yet; raises UsageError for one of no known kind."""
    name = source.partition(":")[0].lower()
    if ":" not in source or name not in SCHEMES:
        known = ", ".join(f"{scheme}:" for scheme in SCHEMES)
        raise UsageError(f"the source {name[:80]!r} is of no known kind", f"a source begins with {known}")
    scheme = SCHEMES[name]
    own = {name: text for name, text in terms.environment.items() if name in scheme.variables}
    return scheme.open(source, replace(terms, environment=own))
