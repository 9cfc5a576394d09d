"""Where the inventory's files are: a folder with `classes/` and `nodes/`, or one YAML file with all.

Gives documents on demand and keeps them; what is in them is for `validate` and `resolve`.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import InventoryError, MetisError, Problem, UsageError, reason_of
from .renames import rewritten, understood

# What parses and checks is imported with the first document: most runs ask for none.
if TYPE_CHECKING:
    from .builder import Keys
    from .document import Document
    from .schema_files import Kind

Group = Literal["nodes", "classes"]
"""A folder of the inventory, or a key of the file that has all."""
KINDS: Mapping[Group, Kind] = {"classes": "class", "nodes": "node"}
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""Names become file names and task names."""


class Inventory:
    """The files of one inventory. Documents are parsed when first asked for; safe to use from threads.

    `today` decides which old names of keys are understood; see `renames`.
    """

    def __init__(self, path: Path, today: str = "") -> None:
        self.path = path
        self.today = today or f"{datetime.now(UTC):%Y-%m-%d}"
        self.single = path.is_file()
        if not self.single and not (path / "nodes").is_dir():
            raise UsageError(
                f"no inventory at {path}",
                "name a folder with classes/ and nodes/, or one YAML file (METIS_INVENTORY, --inventory)",
            )
        self.root = path.parent if self.single else path
        self._documents: dict[Path, Document] = {}
        self._good: set[tuple[str, Keys]] = set()
        self._lock = threading.Lock()
        self._checking = threading.Lock()

    def files(self, group: Group) -> dict[str, Path]:
        """The YAML file of each node or class by name; for a single file, it alone under the name ''."""
        if self.single:
            return {"": self.path}
        folder = self.path / group
        found = os.listdir(folder) if folder.is_dir() else ()  # noqa: PTH208 - glob takes ten times as long
        # Hidden files are those of editors (.#titan-13.yaml) and of file managers.
        return {
            name.removesuffix(".yaml"): folder / name
            for name in sorted(found)
            if name.endswith(".yaml") and not name.startswith(".")
        }

    def misnamed(self) -> tuple[Path, ...]:
        """Files that look like nodes or classes, but for their ending."""
        folders = [] if self.single else [self.path / "classes", self.path / "nodes"]
        return tuple(sorted(file for folder in folders for file in folder.glob("*.yml")))

    def file(self, group: Group, name: str) -> Path:
        """The file that a node or class stands in, whether it is there or not."""
        return self.path if self.single else self.path.joinpath(group, f"{name}.yaml")

    @property
    def cluster_file(self) -> Path:
        """The file that the cluster's values stand in, whether it is there or not."""
        return self.path if self.single else self.path / "cluster.yaml"

    def names(self, group: Group) -> tuple[str, ...]:
        """All nodes or classes by name."""
        if not self.single:
            return tuple(self.files(group))
        return tuple(sorted(self._parsed(self.path, KINDS[group]).data.get(group, ())))

    def get(self, group: Group, name: str) -> Document | None:
        """The checked document of a node or class, None where there is none.

        Raises InventoryError with everything that is wrong in it.
        """
        if not NAME.fullmatch(name):
            return None
        file = self.file(group, name)
        if not file.is_file():
            return None
        document = self._parsed(file, KINDS[group])
        if self.single:
            if name not in document.data.get(group, ()):
                return None
            document = document.part(group, name)
        return self._checked(document, KINDS[group])

    def cluster(self) -> Document:
        """What all of the cluster share; empty where nothing is declared."""
        file = self.cluster_file
        if not file.is_file():
            return _empty("cluster.yaml")
        document = self._parsed(file, "cluster")
        if self.single:
            document = document.part("cluster") if "cluster" in document.data else _empty(document.file)
        return self._checked(document, "cluster")

    def modes_file(self, overlay_folder: str) -> Path:
        """The file of exceptions to an overlay's modes and owners, whether it is there or not."""
        return (self.root / overlay_folder).parent / "modes.yaml"

    def modes(self, overlay_folder: str) -> Mapping[str, object]:
        """The exceptions to an overlay's modes and owners, by path."""
        file = self.modes_file(overlay_folder)
        return self._checked(self._parsed(file, "modes"), "modes").data if file.is_file() else {}

    def shown(self, file: Path) -> str:
        """A path as messages show it: relative to the inventory's folder where it lies in it."""
        return str(file.relative_to(self.root)) if file.is_relative_to(self.root) else str(file)

    def _checked(self, document: Document, kind: Kind) -> Document:
        """A document that is kept (see `_parsed`), checked once: every node asks for its class."""
        key = (document.file, document.prefix)
        if key not in self._good:
            self._check(document, kind)
            self._good.add(key)
        return document

    def _check(self, document: Document, kind: Kind) -> None:
        from .validate import check

        with self._checking:  # the schemas are put together at their first use, which must be one
            problems = check(document, kind)
        if problems:
            raise InventoryError(problems)

    def parse(self, file: Path, kind: Kind) -> Document:
        """The document in a file as it is now, its keys by their present names.

        Whoever wants one gets it from here. Of an inventory in one file, its parts are checked.
        """
        from .document import parse

        is_whole = self.single and file == self.path
        renames = understood("inventory" if is_whole else kind, self.today)
        document = rewritten(parse(_read_bounded(file), self.shown(file)), renames)
        if is_whole:
            # What is in the parts is checked one by one: a bad node must not keep the others back.
            parts = {key: {} if isinstance(value, dict) else value for key, value in document.data.items()}
            self._check(replace(document, data=parts), "inventory")
        return document

    def _parsed(self, file: Path, kind: Kind) -> Document:
        with self._lock:
            if file not in self._documents:
                self._documents[file] = self.parse(file, kind)
            return self._documents[file]


def _empty(file: str) -> Document:
    from .document import parse

    return parse(b"{}", file)


def _read_bounded(file: Path) -> bytes:
    """The bytes of a file of the inventory, one more than allowed at most, so that the parser refuses it."""
    from .document import MAX_BYTES

    if not file.is_file():
        raise MetisError(f"{file} is not a file")
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise MetisError(f"cannot read {file}: {reason_of(error)}") from None


def check_name(name: str, file: str) -> None:
    """Refuse a node or class whose name cannot be a file name and a task name."""
    if not NAME.fullmatch(name):
        raise InventoryError([Problem(file, 0, "", f"not usable as a name: {name!r}")])
