"""Rendering in tests: a node from a few lines of YAML, and what becomes of it.

A case is a folder tests/cases/render/<concern>/<case> with a node's `node.yaml`, and `class.yaml` and
`cluster.yaml` where they matter. `expected.json` holds the entries as a manifest does, but what lies in
pipeline/render/files by its name; `problems.txt` instead of it holds the lines that the operator gets.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.inventory.document import parse
from pipeline.inventory.resolve import resolve_class, resolve_node
from pipeline.inventory.validate import check
from pipeline.manifest import Contribution, collect
from pipeline.manifest_json import to_data
from pipeline.model import Entry, File, ResolvedNode, SecretRef, Text
from pipeline.render import assets
from pipeline.render.concerns import CONCERNS, checked

FOLDER = Path(__file__).parents[1] / "cases/render"
CASES = sorted(file.parent for file in FOLDER.glob("*/*/node.yaml"))
ASSETS = {file.read_text("utf-8"): file.name for file in Path(assets.__file__).with_name("files").iterdir()}
CLASS = "{arch: arm64, os: debian}"
CLUSTER = "k3s: {flags: {cluster-cidr: 10.42.0.0/16, flannel-backend: vxlan, disable: [servicelb]}}"


def cases_of(concern: str) -> list[Path]:
    """The cases of a concern that have entries."""
    return [case for case in CASES if case.parent.name == concern and (case / "expected.json").exists()]


def name_of(case: Path) -> str:
    """A case in the names of tests."""
    return f"{case.parent.name}/{case.name}"


def node_of(text: str, klass: str = CLASS, cluster: str = CLUSTER) -> ResolvedNode:
    """The node titan-13 of the class pi; raises InventoryError for what is wrong with it."""
    document = parse(text, "node.yaml")
    assert check(document, "node") == ()
    class_document, cluster_document = parse(klass, "class.yaml"), parse(cluster, "cluster.yaml")
    assert check(class_document, "class") == check(cluster_document, "cluster") == ()
    found = resolve_class("pi", lambda _: class_document)
    return checked(resolve_node("titan-13", document, found, cluster_document))


def node_of_case(case: Path) -> ResolvedNode:
    """The node of a case."""
    own = {"klass": case / "class.yaml", "cluster": case / "cluster.yaml"}
    texts = {name: file.read_text("utf-8") for name, file in own.items() if file.exists()}
    return node_of((case / "node.yaml").read_text("utf-8"), **texts)


def rendered(case: Path) -> tuple[Entry, ...]:
    """What a case's own concern makes of it."""
    return CONCERNS[case.parent.name].render(node_of_case(case))


def data_of(case: Path) -> list[dict[str, Any]]:
    """What `expected.json` of a case must hold."""
    manifest = collect("titan-13", [Contribution(case.parent.name, rendered(case))])
    data: list[dict[str, Any]] = to_data(manifest)["entries"]
    for piece in (piece for entry in data for piece in entry.get("content", ())):
        if piece.get("text") in ASSETS:
            piece["asset"] = ASSETS[piece.pop("text")]
    return data


def all_entries(node: ResolvedNode) -> list[Entry]:
    """What all concerns make of a node."""
    return [entry for concern in CONCERNS.values() for entry in concern.render(node)]


def files(entries: Iterable[Entry]) -> dict[str, str]:
    """The text of each file, with `<name>` or `<name:form>` where a secret stands."""
    return {entry.path: "".join(map(_shown, entry.content)) for entry in entries if isinstance(entry, File)}


def _shown(piece: object) -> str:
    match piece:
        case Text(text):
            return text
        case SecretRef(name, form):
            return f"<{name}>" if form == "text" else f"<{name}:{form}>"
    return ""


def program(name: str, package: str) -> str:
    """A program that reads what we write: it may be missing on a desk."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is missing: install the package {package}")
    return found
