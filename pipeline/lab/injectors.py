"""What METIS_INJECTOR may name: another injector is a file in `inject` and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..machine.once import once

# Only the one that is chosen is imported.
if TYPE_CHECKING:
    from ..inject.appliance import Appliance
    from ..inject.tree import Injector

Note = Callable[[str], None]
Maker = Callable[[Callable[[], "Appliance"], Note], "Injector"]
"""Makes an injector; who needs the lab's appliance asks for it, and who has something to tell notes it."""


def _guestfs(appliance: Callable[[], Appliance], _note: Note) -> Injector:
    from ..inject.guestfs import GuestfsInjector

    return GuestfsInjector(appliance())


def _loop(_appliance: Callable[[], Appliance], _note: Note) -> Injector:
    from ..inject.loop import LoopInjector

    return LoopInjector()


def _direct(_appliance: Callable[[], Appliance], _note: Note) -> Injector:
    from ..inject.direct import DirectInjector

    return DirectInjector()


def _auto(appliance: Callable[[], Appliance], note: Note) -> Injector:
    from ..inject.auto import AutoInjector

    # One for all images: those that wait at the same time share an appliance.
    return AutoInjector(_direct(appliance, note), once(lambda: _guestfs(appliance, note)), note)


INJECTORS: Mapping[str, Maker] = MappingProxyType(
    {"guestfs": _guestfs, "loop": _loop, "direct": _direct, "auto": _auto}
)


def second_of(injector: Injector) -> Callable[[], Injector] | None:
    """Makes the injector for what one found out too late that it cannot do, where it has such a second."""
    from ..inject.auto import AutoInjector

    return injector.second if isinstance(injector, AutoInjector) else None


def check(name: str) -> None:
    """Raise UsageError for a name that stands for no injector."""
    if name not in INJECTORS:
        raise UsageError(f"METIS_INJECTOR is {name!r}", f"use one of {', '.join(INJECTORS)}")
