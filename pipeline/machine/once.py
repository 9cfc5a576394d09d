"""What is made once, however many threads ask at the same time; what `functools` has may make it twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from typing import Any, TypeVar

T = TypeVar("T")


def once(make: Callable[[], T]) -> Callable[[], T]:
    """A function that gives what `make` has made, by then or with this call; what it raises is not kept."""
    lock, made = threading.RLock(), cache(make)

    def asked() -> T:
        with lock:
            return made()

    return update_wrapper(asked, make)


def shared_property(make: Callable[[Any], T]) -> cached_property[T]:
    """The same for a property: since Python 3.12 `functools.cached_property` has no lock any more."""
    return _SharedProperty(make)


class _SharedProperty(cached_property[T]):
    def __init__(self, make: Callable[[Any], T]) -> None:
        super().__init__(make)
        self._making = threading.RLock()

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:  # noqa: ANN401
        with self._making:
            return super().__get__(instance, owner)
