"""The lab's own inventory: every file is valid, is known to editors, and invents nothing."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest

from pipeline.inventory.document import Document, parse
from pipeline.inventory.schema_files import Kind
from pipeline.inventory.validate import check, claims, duplicates
from pipeline.model import SIDES

ROOT = Path(__file__).parents[2]
KINDS: dict[str, Kind] = {"nodes/*.yaml": "node", "classes/*.yaml": "class", "cluster.yaml": "cluster"}
KINDS |= {"overlays/*/modes.yaml": "modes"}
FILES = [(file, kind) for pattern, kind in KINDS.items() for file in sorted(ROOT.glob(pattern))]
each_file = pytest.mark.parametrize(
    ("file", "kind"), FILES, ids=[str(file.relative_to(ROOT)) for file, _ in FILES]
)


def read(file: Path) -> Document:
    return parse(file.read_bytes(), str(file.relative_to(ROOT)))


def documents(pattern: str) -> dict[str, Document]:
    return {file.stem: read(file) for file in ROOT.glob(pattern)}


@each_file
def test_a_file_is_valid(file: Path, kind: Kind) -> None:
    assert check(read(file), kind) == ()


@each_file
def test_a_file_names_its_schema_to_editors(file: Path, kind: Kind) -> None:
    first = file.read_text("utf-8").splitlines()[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / schema).resolve() == ROOT / f"pipeline/inventory/schema/{kind}.schema.json"
    assert (file.parent / schema).is_file()


@each_file
def test_a_file_holds_no_hash_that_nobody_can_know(file: Path, kind: Kind) -> None:
    assert not re.search(r"\b[0-9a-f]{64}\b", file.read_text("utf-8"))


def test_the_same_inventory_is_valid_as_one_file() -> None:
    data = {
        "cluster": read(ROOT / "cluster.yaml").data,
        "classes": {name: document.data for name, document in documents("classes/*.yaml").items()},
        "nodes": {name: document.data for name, document in documents("nodes/*.yaml").items()},
    }
    assert check(Document("inventory.yaml", data, {}), "inventory") == ()


def test_every_class_that_is_named_exists() -> None:
    classes = documents("classes/*.yaml")
    named = {document.data["class"] for document in documents("nodes/*.yaml").values()}
    named |= {document.data["extends"] for document in classes.values() if "extends" in document.data}
    assert named <= classes.keys()


def test_no_two_nodes_claim_the_same() -> None:
    nodes = documents("nodes/*.yaml")
    assert (
        duplicates({name: chain(*claims(document.data, name).values()) for name, document in nodes.items()})
        == {}
    )


def test_every_overlay_that_is_named_is_a_folder() -> None:
    for document in (*documents("classes/*.yaml").values(), *documents("nodes/*.yaml").values()):
        for side in SIDES:
            folder = document.data.get(f"{side}_overlay")
            assert folder is None or (ROOT / folder).is_dir(), document.file


def test_modes_speak_of_files_that_are_there() -> None:
    for file in ROOT.glob("overlays/*/modes.yaml"):
        for path in read(file).data:
            assert (file.parent / f"root{path}").is_file()


def test_the_flash_host_is_a_node() -> None:
    assert read(ROOT / "cluster.yaml").data["flash_host"] in documents("nodes/*.yaml")
