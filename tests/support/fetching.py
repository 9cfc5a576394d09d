"""What fetching works with, in a cache of a test's own."""

from __future__ import annotations

from pathlib import Path

from pipeline.cache.store import Store
from pipeline.golden.fetch import Means
from pipeline.golden.registry.access import RegistryAccess
from pipeline.golden.registry.registry import Registries
from pipeline.golden.terms import Environment
from pipeline.machine.progress import QuietReporter, Reporter

NO_LIMIT = 1 << 40


def means(
    folder: Path,
    cache: Path,
    reporter: Reporter | None = None,
    *,
    access: RegistryAccess | None = None,
    environment: Environment | None = None,
    offline: bool = False,
    limit: int = NO_LIMIT,
) -> Means:
    """The means of a run of its own: nothing but the cache is shared with another."""
    told = reporter or QuietReporter()
    registries = Registries(access or RegistryAccess(), told)
    return Means(folder, Store(cache, told), told, registries, environment or {}, offline, limit)
