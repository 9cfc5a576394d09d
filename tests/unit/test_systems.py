"""What is known of each operating system stands in one place, and what follows from it holds for any."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.boot import session
from pipeline.errors import InventoryError, MetisError
from pipeline.machine.progress import QuietReporter
from pipeline.manifest import Contribution, collect
from pipeline.model import ResolvedNode
from pipeline.render.systems import table
from pipeline.render.systems.table import SYSTEMS
from tests.support.rendering import FOLDER, all_entries, node_of

PIPELINE = Path(table.__file__).parents[2]
ELSEWHERE = sorted(file for file in PIPELINE.rglob("*.py") if file.parent.name != "systems")
ARM64 = "{arch: arm64, os: debian}"


def test_a_class_may_name_exactly_the_systems_that_are_known() -> None:
    schema = json.loads(Path(table.__file__).with_name("systems.schema.json").read_text("utf-8"))
    *first, last = SYSTEMS
    assert schema["enum"] == [*SYSTEMS]
    assert schema["description"] == f"one of {', '.join(first)} and {last}"


def test_every_system_has_a_case_of_its_first_start() -> None:
    assert {path.name for path in (FOLDER / "quirks").iterdir()} >= SYSTEMS.keys()


def asked(tree: ast.AST) -> Iterator[ast.Attribute]:
    """The `.os` and `.arch` that are compared or matched with words."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others):
                parts = [left, *others]
            case ast.Match(subject=subject):
                parts = [subject, ast.Constant("")]
            case _:
                continue
        if any(isinstance(each, ast.Constant) for part in parts for each in ast.walk(part)):
            yield from (
                part for part in parts if isinstance(part, ast.Attribute) and part.attr in {"os", "arch"}
            )


@pytest.mark.parametrize("file", ELSEWHERE, ids=lambda file: str(file.relative_to(PIPELINE).with_suffix("")))
def test_nobody_else_asks_which_system_it_is(file: Path) -> None:
    lines = [found.lineno for found in asked(ast.parse(file.read_bytes()))]
    assert not lines, "ask `systems.table` what is true of the system"


@pytest.mark.parametrize(
    "text", ['a.os == "x"', '"x" != a.b.arch', 'a.os in {"x"}', "match a.os:\n case _: 1"]
)
def test_who_asks_is_found(text: str) -> None:
    assert list(asked(ast.parse(text)))


# --------------------------------------------------------------- a system that is started by a boot loader


@pytest.fixture
def without_firmware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian, as if its images for arm64 had a boot loader of their own."""
    changed = replace(SYSTEMS["debian"], by_firmware=False)
    monkeypatch.setattr(table, "SYSTEMS", {**SYSTEMS, "debian": changed})


def paths_of(node: ResolvedNode) -> set[str]:
    manifest = collect("titan-13", [Contribution("all", tuple(all_entries(node)))])
    return {item.entry.path for item in manifest.entries}


@pytest.mark.usefixtures("without_firmware")
def test_what_no_firmware_starts_gets_no_files_for_one() -> None:
    assert not {"/cmdline.txt", "/config.txt", "/etc/fstab"} & paths_of(node_of("class: pi\n", ARM64))


def test_what_a_firmware_starts_gets_them() -> None:
    assert {"/cmdline.txt", "/etc/fstab"} <= paths_of(node_of("class: pi\n", ARM64))


@pytest.mark.usefixtures("without_firmware")
def test_options_for_a_firmware_that_is_not_there_are_refused() -> None:
    said = "boot.cmdline: only a Raspberry Pi's firmware takes it, and the class is of debian: leave it out"
    with pytest.raises(InventoryError, match=said):
        node_of("class: pi\nboot: {cmdline: {add: [quiet]}}\n", ARM64)


@pytest.mark.usefixtures("without_firmware")
def test_what_cannot_be_started_here_is_said_before_anything_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "require", lambda _: None)
    node = node_of("class: pi\n", ARM64)
    nothing = collect("titan-13", [])
    tools = session.Tools(lambda *_: None, lambda: "tcg", lambda _: b"", QuietReporter())
    with pytest.raises(MetisError, match="started by a boot loader for arm64: only a Raspberry Pi's"):
        session.run(node, nothing, tmp_path / "image", tmp_path, session.Options(), tools)
