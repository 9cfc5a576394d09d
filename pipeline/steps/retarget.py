"""What classes should run, as patches of the files that they stand in; the files themselves stay as they are.

`repin` is for goldens, and edits files. Who decides what a class should run is not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InventoryError, MetisError, about
from ..inventory.amend import amended, laid_over
from ..inventory.document import Document
from ..inventory.pin import diff
from ..inventory.read import Inventory
from ..inventory.resolve import class_chain
from ..inventory.validate import check

_KEY = "targets"


def retarget(
    inventory: Inventory, wanted: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], dict[str, MetisError]]:
    """Give a diff for each file that must change so that classes have the targets that are wanted of them.

    `git apply` takes them in the inventory's folder, one or all. What a class has already, be it from one
    that it extends, is not said again. Classes that cannot be amended are given with the reason.
    """
    texts = _Texts(inventory)
    errors: dict[str, MetisError] = {}
    for name in sorted(wanted, key=texts.depth):
        try:
            texts.set(name, wanted[name])
        except (MetisError, OSError) as error:
            errors[name] = about(f"class {name}", error)
    return list(texts.diffs()), errors


class _Texts:
    """The files of an inventory as they were read, and as they are to be."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._before: dict[Path, str] = {}
        self._after: dict[Path, str] = {}
        self._own: dict[str, Mapping[str, Any]] = {}

    def depth(self, name: str) -> int:
        """How many classes a class is made of, so that it comes after them; 0 for one that is broken."""
        try:
            return len(class_chain(name, self._class))
        except (MetisError, OSError):
            return 0

    def set(self, name: str, wanted: Mapping[str, Any]) -> None:
        """Set what a class lacks of its targets; all or nothing."""
        lacking = _lacking(self._targets(name), wanted)
        if not lacking:
            return
        *_, (_, document) = class_chain(name, self._class)
        own = laid_over(self._own_of(name, document), lacking)
        if problems := check(Document(document.file, {_KEY: own}, {}), "class"):
            raise InventoryError(problems)
        file = self._inventory.file("classes", name)
        self._after[file] = amended(self._read(file), document.written((_KEY,)), lacking)
        self._own[name] = own

    def diffs(self) -> Iterator[str]:
        """The diffs of the files that are to change."""
        for file, after in self._after.items():
            yield diff(self._inventory.shown(file), self._before[file], after)

    def _class(self, name: str) -> Document | None:
        return self._inventory.get("classes", name)

    def _own_of(self, name: str, document: Document) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._own.get(name, document.data.get(_KEY, {}))
        return found

    def _targets(self, name: str) -> Mapping[str, Any]:
        """What a class has, with all that it extends."""
        merged: Mapping[str, Any] = {}
        for each, document in class_chain(name, self._class):
            merged = laid_over(merged, self._own_of(each, document))
        return merged

    def _read(self, file: Path) -> str:
        if file in self._after:
            return self._after[file]
        shown = self._inventory.shown(file)
        if file.resolve() != self._inventory.root.resolve() / shown:
            raise MetisError(f"{shown} is a link, which no patch follows", "edit it by hand")
        try:
            self._before[file] = file.read_bytes().decode()
        except UnicodeDecodeError:
            raise MetisError(f"{shown} is not valid UTF-8") from None
        return self._before[file]


def _lacking(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What must be set so that a map has all that is wanted."""
    found: dict[str, Any] = {}
    for key, value in wanted.items():
        have = there.get(key)
        if isinstance(value, Mapping):
            below = _lacking(have if isinstance(have, Mapping) else {}, value)
            found.update({key: below} if below else {})
        elif have != value:
            found[key] = value
    return found
