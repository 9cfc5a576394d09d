"""What the documentation points to is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .test_floors import modules

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PATH = re.compile(
    r"`((?:pipeline|metis_sentinel|deploy|tests|docs|hooks|classes|nodes|overlays)/[A-Za-z0-9_./-]+)`"
)
LINK = re.compile(r"\]\(([^)#:]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = {ROOT / path for path in PATH.findall(text) if "*" not in path}
    named |= {page.parent / path for path in LINK.findall(text)}
    assert [str(file.relative_to(ROOT)) for file in named if not file.exists()] == []


def test_every_kind_of_error_is_drawn_in_the_tree_of_errors() -> None:
    kinds = {
        kind.name: {ast.unparse(base) for base in kind.bases}
        for tree in modules().values()
        for kind in ast.walk(tree)
        if isinstance(kind, ast.ClassDef) and not kind.name.startswith("_")
    }
    ours = {"MetisError"}
    while more := {name for name, bases in kinds.items() if bases & ours} - ours:
        ours |= more
    drawn = set(re.findall(r"\w+Errors?\b", ast.get_docstring(modules()["errors"]) or ""))
    assert drawn == ours


def test_every_pitfall_has_its_line_with_a_place() -> None:
    rows = [line.split("|")[1:-1] for line in (ROOT / "docs/pitfalls.md").read_text("utf-8").splitlines()]
    pitfalls = {row[0].strip(): row for row in rows if row and re.fullmatch(r" P\d+ ", row[0])}
    assert list(pitfalls) == [f"P{number}" for number in range(1, 25)]
    for number, row in pitfalls.items():
        assert all(cell.strip() for cell in row), number
        assert len(row) == 4, number
