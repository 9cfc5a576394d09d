"""What people ask of a lab's goldens: which one each class has, and that it be fetched and verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..cache.store import digest
from ..errors import MetisError, RottenError, UsageError
from ..golden import fetch
from ..golden.fetch import Fetched
from ..machine import durable
from ..model import DeclaredGolden, ResolvedClass
from ..wording import masked
from .lab import Lab


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a class's golden without asking anybody.

    `sha256` is None where nothing was pinned or recorded yet. `pinned` says who decides which golden it is:
    the inventory, the environment, an earlier run (recorded) or a recipe.
    """

    class_name: str
    source: str
    sha256: str | None
    pinned: str
    signed_by: str | None
    is_cached: bool

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "class": self.class_name,
            "source": self.source,
            "sha256": self.sha256,
            "pinned": self.pinned,
            "signed_by": self.signed_by,
            "cached": self.is_cached,
        }


class LabGoldens:
    """The goldens of a lab's classes."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def names(self, asked: Sequence[str]) -> Sequence[str]:
        """The classes that were asked for, else all with an image; raises UsageError for unknown ones."""
        unknown = [name for name in asked if name not in self._lab.classes]
        if unknown:
            raise UsageError(
                f"no class {', '.join(unknown)} with an image in {self._lab.settings.inventory}",
                "see `metis golden list`",
            )
        return tuple(dict.fromkeys(asked)) or self._lab.classes

    def state(self, name: str) -> State:
        """What is known of one."""
        klass, golden = self._declared(name)
        sha256 = self._lab.goldens.known(klass, golden)
        override = self._lab.settings.override(name)
        if override:
            pinned = override.variable
        elif fetch.recipe(golden.source, klass.arch):
            pinned = "recipe"
        elif golden.sha256:
            pinned = "inventory"
        else:
            pinned = "recorded" if sha256 else "nothing"
        keyring = golden.signature.keyring if golden.signature else None
        cached = sha256 is not None and self._lab.store.path(sha256).is_file()
        return State(name, masked(golden.source), sha256, pinned, keyring, cached)

    def pull(self, name: str) -> Fetched:
        """Bring one into the cache, checked; what its tag or list led to is recorded."""
        found = self._lab.goldens.fetched(name)
        receipt = self._lab.goldens.receipt(name, found)
        if "source" in receipt:  # where the inventory pins it, the graph has no need to hear of it
            durable.write_if_changed(self._lab.artifacts.golden_receipt(name), durable.as_json(receipt))
        return found

    def verify(self, name: str) -> Fetched:
        """Hash one in the cache again, and judge its signature; raises MetisError where it is not there."""
        klass, golden = self._declared(name)
        sha256 = self._lab.goldens.known(klass, golden)
        if sha256 is None or not self._lab.store.path(sha256).is_file():
            raise MetisError(
                f"the golden of class {name} is not in the cache", f"run `metis golden pull --class {name}`"
            )
        path = self._lab.store.path(sha256)
        with self._lab.reporter.step(f"{name}: checking its golden", path.stat().st_size) as advance:
            found = digest(path, advance)
        if found != sha256:
            raise RottenError(
                f"{path} rotted in the cache: its SHA-256 is {found}",
                "`metis cache verify` removes it, and the next build fetches it again",
            )
        return self._lab.goldens.fetched(name)

    def _declared(self, name: str) -> tuple[ResolvedClass, DeclaredGolden]:
        return self._lab.live_composer.klass(name), self._lab.goldens.declared(name)
