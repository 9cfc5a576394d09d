"""docs/architecture.md is true: its picture is what the modules import, its boxes are the whole tree.

What stands on which floor is in test_floors.
"""

from __future__ import annotations

import ast
import copy
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from .test_floors import FLOORS, NAMES, ROOT, files, modules, ours

PAGE = (ROOT / "docs/architecture.md").read_text()
LONGEST = 300
"""Lines of a module that need no reason."""
SHORTEST = 6
"""Lines of a function that nobody may write again."""
ARROW = re.compile(r"^    (\w+) --> (\w+(?: & \w+)*)$", re.M)
TABLE = re.compile(r"`([A-Z]+)` in `(pipeline/[^`]+)`")
BOX = re.compile(r"^\| (\w+) \| (`(?:pipeline/|dodo\.py`)[^|]*) \| ", re.M)


# --------------------------------------------------------------------------------------- the picture


@cache
def boxes() -> dict[str, str]:
    """The box of each module, or of each folder of modules, as the page has them."""
    return {
        path.removeprefix("pipeline/").removesuffix(".py").strip("/"): box
        for box, cell in BOX.findall(PAGE)
        for path in re.findall(r"`([^`]+)`", cell)
    }


def box_of(name: str) -> str:
    return boxes().get(name) or boxes()[name.partition(".")[0]]


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """Which boxes each box imports from."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in NAMES:
        found[box_of(name)] |= {box_of(other) for other in ours(name)} - {box_of(name)}
    return {box: frozenset(others) for box, others in found.items()}


def beneath(box: str) -> set[str]:
    return {below for other in imports()[box] for below in {other, *beneath(other)}}


def drawn() -> set[tuple[str, str]]:
    """The imports that no chain of others says already."""
    return {
        (box, other)
        for box, others in imports().items()
        for other in others
        if not any(other in beneath(another) for another in others - {other})
    }


def test_every_module_is_in_a_box() -> None:
    assert not [name for name in NAMES if not {name, name.partition(".")[0]} & boxes().keys()]


def test_the_boxes_import_each_other_in_one_direction() -> None:
    TopologicalSorter(imports()).prepare()


def test_the_pictures_arrows_are_the_imports() -> None:
    arrows = {(box, other) for box, others in ARROW.findall(PAGE) for other in others.split(" & ")}
    assert arrows == drawn()


def test_the_page_names_each_floor_from_below() -> None:
    assert re.findall(r"^\| (\w+) \| [A-Z0-9]", PAGE.partition("## Floors")[2].partition("##")[0], re.M) == [
        *FLOORS
    ]


@pytest.mark.parametrize(("table", "file"), sorted(set(TABLE.findall(PAGE))))
def test_each_table_that_one_adds_to_is_there(table: str, file: str) -> None:
    tree = modules()[file.removeprefix("pipeline/").removesuffix(".py").replace("/", ".")]
    assigned: list[ast.expr] = [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    assigned += [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    assert table in map(ast.unparse, assigned)


# --------------------------------------------------------------------------------- length, repetition


def test_a_long_module_says_why_it_is_one_file() -> None:
    long = [name for name in NAMES if len(files()[name].read_text().splitlines()) > LONGEST]
    assert not [name for name in long if "one file" not in (ast.get_docstring(modules()[name]) or "").lower()]


def test_no_two_functions_say_the_same() -> None:
    said: dict[str, list[str]] = defaultdict(list)
    for name in NAMES:
        for function in functions(modules()[name]):
            said[what_it_says(function)].append(f"{name}.{function.name}")
    assert not [names for names in said.values() if len(names) > 1]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and (body[-1].end_lineno or 0) - body[0].lineno + 1 >= SHORTEST:
                yield node


def what_it_says(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """A function's statements, with its own names replaced by the order in which they come."""
    inner = copy.deepcopy(function)
    body = inner.body[1:] if ast.get_docstring(inner) else inner.body
    own = {argument.arg for argument in ast.walk(inner.args) if isinstance(argument, ast.arg)}
    own |= {
        node.id for node in ast.walk(inner) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    numbers: dict[str, str] = {}
    for node in ast.walk(inner):
        if isinstance(node, ast.Name) and node.id in own:
            node.id = numbers.setdefault(node.id, str(len(numbers)))
    return "\n".join(map(ast.dump, body))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("def f(a):\n    b = a + 1\n    return g(b)", True),
        ("def h(c):\n    '''Words.'''\n    d = c + 1\n    return g(d)", True),
        ("def f(a):\n    b = a + 2\n    return g(b)", False),
        ("def f(a):\n    b = a + 1\n    return h(b)", False),
    ],
)
def test_names_of_its_own_make_no_other_function(text: str, same: bool) -> None:
    first = ast.parse("def f(a):\n    b = a + 1\n    return g(b)").body[0]
    second = ast.parse(text).body[0]
    assert isinstance(first, ast.FunctionDef)
    assert isinstance(second, ast.FunctionDef)
    assert (what_it_says(first) == what_it_says(second)) == same


def test_the_page_is_the_first_that_a_newcomer_is_sent_to() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "docs/architecture.md" in Path(ROOT, page).read_text()
