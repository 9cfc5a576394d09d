"""What the documentation points to is there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from pipeline.cli import cli
from tests.support.documented import Command, Written, steps

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
    named -= {ROOT / step.path for step in steps(text) if isinstance(step, Written)}
    assert [str(file.relative_to(ROOT)) for file in named if not file.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_node_of_the_lab_that_a_page_shows_loses_nothing_to_who_pastes_it(page: Path) -> None:
    for step in steps(page.read_text("utf-8")):
        if isinstance(step, Written) and (ROOT / step.path).exists() and step.path.startswith("nodes/"):
            declared = set(keys(yaml.safe_load((ROOT / step.path).read_text("utf-8"))))
            assert declared - set(keys(yaml.safe_load(step.text))) == set(), step.path


def keys(document: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The dotted paths of all that a document says."""
    for key, value in document.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{above}{key}.")


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


COMMAND = re.compile(r"(?:^|bin/|Scripts\\|sudo |sudo -E )metis\s+([^|<>&#]*)")


def understood(words: list[str]) -> None:
    """Parse a command line of `metis` without doing anything; raises ClickException for a wrong one."""
    command: click.Command = cli
    context = cli.make_context("metis", words)
    while isinstance(command, click.Group):
        name, inner, words = command.resolve_command(context, words)
        assert inner is not None
        command, context = inner, inner.make_context(name, words, parent=context)


@pytest.mark.parametrize("words", ["verify --nodes titan-13", "verify", "secrets sealed", "frobnicate"])
def test_a_wrong_command_is_not_understood(words: str) -> None:
    with pytest.raises(click.UsageError):
        understood(words.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_in_a_block_is_understood(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("titan-13.img", "longhorn.img"):
        (tmp_path / name).touch()
    wrong = []
    for step in steps(page.read_text("utf-8")):
        if isinstance(step, Command) and (found := COMMAND.search(step.text)):
            try:
                understood(shlex.split(found[1]))
            except click.ClickException as error:
                wrong.append(f"{page.name}:{step.line}: {step.text}: {error.format_message()}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_within_a_sentence_has_such_a_name_and_such_options(page: Path) -> None:
    wrong = []
    for words in re.findall(r"`(?:\.venv/bin/)?metis ([a-z][^`…|]*)`", page.read_text("utf-8")):
        try:
            understood(words.replace("\n", " ").split())
        except click.NoSuchOption as error:
            wrong.append(f"metis {words}: {error.format_message()}")
        except click.UsageError as error:
            # A sentence need not say all that a command needs.
            wrong += [f"metis {words}"] if "No such command" in error.format_message() else []
    assert wrong == []


# ------------------------------------------------------------------------------------ troubleshooting


def text_of(node: ast.expr) -> str:
    """A text of the program, with … where a value stands; empty for what is none."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def said() -> Iterator[tuple[str, str]]:
    """The texts of the program, each with the kind of error that says it, if that is to be seen at once."""
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield from ((text_of(each), node.func.id) for each in node.args)
            elif isinstance(node, ast.expr):
                yield text_of(node), ""
    for file in sorted((ROOT / "pipeline/render/files").iterdir()):
        yield file.read_text("utf-8"), ""


def exit_code(kind: str, classes: Mapping[str, ast.ClassDef]) -> int:
    """The exit code of a kind of error: its own, or that of what it is a kind of; 0 for no error of ours."""
    if kind not in classes:
        return 0
    assigned = (each for each in classes[kind].body if isinstance(each, ast.Assign))
    own = [each.value for each in assigned if ast.unparse(each.targets[0]) == "exit_code"]
    inherited = (exit_code(ast.unparse(base), classes) for base in classes[kind].bases)
    return int(ast.literal_eval(own[0])) if own else max(inherited, default=0)


def test_every_error_in_the_troubleshooting_is_one_of_the_program_and_has_its_exit_code() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    told = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ", page, re.M)
    texts = list(said())
    nodes = (node for tree in modules().values() for node in ast.walk(tree))
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    assert len(told) > 30
    for text, code in told:
        wanted = re.compile(".*".join(re.escape(part.strip()) for part in text.split("…")))
        kinds = {kind for said, kind in texts if wanted.search(said)}
        assert kinds, text
        codes = {exit_code(kind, classes) for kind in kinds} - {0}
        assert not codes or int(code) in codes, text
