"""The injector that tries a quick one, and another one where the quick one would not be exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .tree import Chooser, Injector, Layout, NotExactError, Trees, filled


class AutoInjector:
    """Opens images by the `first` injector; where that refuses one, by the `second`, and notes why."""

    def __init__(self, first: Injector, second: Callable[[], Injector], note: Callable[[str], None]) -> None:
        self._first = first
        self.second = second
        self._note = note

    @contextmanager
    def open(
        self, image: Path, disk: Layout, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> Iterator[Trees]:
        """See `tree.Injector`. Raises NotExactError for what was only found out after the image was open."""
        layout = filled(disk)
        with ExitStack() as stack:
            try:
                trees = stack.enter_context(
                    self._first.open(image, layout, choose, grow=grow, read_only=read_only)
                )
            except NotExactError as why:
                self._note(f"{why.message}: the appliance does it")
                trees = stack.enter_context(
                    self.second().open(image, layout, choose, grow=grow, read_only=read_only)
                )
            yield trees
