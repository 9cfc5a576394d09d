"""Where the inventory's files are: a folder with `classes/` and `nodes/`, or one YAML file with all.

Gives documents on demand and keeps them; what is in them is for `validate` and `resolve`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ..errors import InventoryError, MetisError, Problem, UsageError
from .document import Document, parse
from .validate import check

Kind = Literal["nodes", "classes"]
_CHECKED_AS: Mapping[Kind, Literal["node", "class"]] = {"nodes": "node", "classes": "class"}
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""Names become file names and task names."""


class Inventory:
    """The files of one inventory. Documents are parsed when first asked for; safe to use from threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.single = path.is_file()
        if not self.single and not (path / "nodes").is_dir():
            raise UsageError(
                f"no inventory at {path}",
                "name a folder with classes/ and nodes/, or one YAML file (METIS_INVENTORY, --inventory)",
            )
        self.root = path.parent if self.single else path
        self._documents: dict[Path, Document] = {}
        self._lock = threading.Lock()

    def files(self, kind: Kind) -> dict[str, Path]:
        """The YAML file of each node or class by name; for a single file, it alone under the name ''."""
        if self.single:
            return {"": self.path}
        folder = self.path / kind
        found = {item.stem: item for item in folder.glob("*.yaml")} if folder.is_dir() else {}
        return dict(sorted(found.items()))

    def file(self, kind: Kind, name: str) -> Path:
        """The file that a node or class stands in, whether it is there or not."""
        return self.path if self.single else self.path / kind / f"{name}.yaml"

    @property
    def cluster_file(self) -> Path:
        """The file that the cluster's values stand in, whether it is there or not."""
        return self.path if self.single else self.path / "cluster.yaml"

    def names(self, kind: Kind) -> tuple[str, ...]:
        """All nodes or classes by name."""
        if not self.single:
            return tuple(self.files(kind))
        part = self._parsed(self.path).data.get(kind)
        return tuple(sorted(part)) if isinstance(part, dict) else ()

    def get(self, kind: Kind, name: str) -> Document | None:
        """The checked document of a node or class, None where there is none.

        Raises InventoryError with everything that is wrong in it.
        """
        file = self.file(kind, name)
        if not file.is_file():
            return None
        document = self._parsed(file)
        if self.single:
            section = document.data.get(kind)
            if not isinstance(section, dict) or name not in section:
                return None
            document = document.part(kind, name)
        return self._checked(document, _CHECKED_AS[kind])

    def cluster(self) -> Document:
        """What all of the cluster share; empty where nothing is declared."""
        file = self.cluster_file
        if not file.is_file():
            return parse(b"{}", "cluster.yaml")
        document = self._parsed(file)
        if self.single:
            document = document.part("cluster") if "cluster" in document.data else parse(b"{}", document.file)
        return self._checked(document, "cluster")

    def modes_file(self, overlay_folder: str) -> Path:
        """The file of exceptions to an overlay's modes and owners, whether it is there or not."""
        return (self.root / overlay_folder).parent / "modes.yaml"

    def modes(self, overlay_folder: str) -> Mapping[str, object]:
        """The exceptions to an overlay's modes and owners, by path."""
        file = self.modes_file(overlay_folder)
        return self._checked(self._parsed(file), "modes").data if file.is_file() else {}

    def shown(self, file: Path) -> str:
        """A path as messages show it: relative to the inventory's folder where it lies in it."""
        return str(file.relative_to(self.root)) if file.is_relative_to(self.root) else str(file)

    @staticmethod
    def _checked(document: Document, kind: Literal["node", "class", "cluster", "modes"]) -> Document:
        problems = check(document, kind)
        if problems:
            raise InventoryError(problems)
        return document

    def _parsed(self, file: Path) -> Document:
        with self._lock:
            if file not in self._documents:
                self._documents[file] = parse(read_bounded(file), self.shown(file))
            return self._documents[file]


def read_bounded(file: Path) -> bytes:
    """The bytes of a file of the inventory, one more than allowed at most, so that the parser refuses it."""
    try:
        with file.open("rb") as stream:
            return stream.read((1 << 20) + 1)
    except OSError as error:
        raise MetisError(f"cannot read {file}", str(error.strerror)) from None


def check_name(name: str, file: str) -> None:
    """Refuse a node or class whose name cannot be a file name and a task name."""
    if not NAME.fullmatch(name):
        raise InventoryError([Problem(file, 0, "", f"not usable as a name: {name!r}")])
