"""The parts of the reference that are made from the code and from the tables of other pages.

A page says `<!-- generated: WHAT -->` where one belongs; what there is stands in PARTS.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import metis_sentinel.options
from pipeline import errors
from pipeline.graph.doit_setup import BURN_PARAMS
from pipeline.inventory.schema_files import Kind, Schema, address_of, contents, parts

ROOT = Path(__file__).parents[1]
TASK = re.compile(r"task_(?!_)")
MARK = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)
_VARIABLE = re.compile(r"^\| (?=`[A-Z]+(?:_[A-Z<>]+)*(?:=1)?`)")
_LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(#[^)\s]*)?\)")

# ------------------------------------------------------------------------------------------- tables


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; cells are Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def plain(text: str) -> str:
    """A text as Markdown that shows just that text."""
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", text)


# --------------------------------------------------------------------------------- keys of the inventory


@dataclass(frozen=True, slots=True)
class Key:
    """A key that a document may have: what it is for, and what its value must be."""

    path: str
    """Dotted; `NAME` stands for any name in a map, `[]` for each member of a list."""
    meaning: str
    form: str
    is_required: bool


def keys(kind: Kind) -> Iterator[Key]:
    """Every key of a kind of documents, outer ones first, in the order of the schemas."""
    yield from _below("", contents()[address_of(kind)], address_of(kind))


def _below(path: str, schema: Schema, address: str) -> Iterator[Key]:
    found = [*_parts(schema, address)]
    required = {name for part, _ in found for name in part.get("required", ())}
    for part, where in found:
        for name, inner in part.get("properties", {}).items():
            yield from _key(f"{path}.{name}".lstrip("."), inner, where, is_required=name in required)
        for keyword, step in (("additionalProperties", ".NAME"), ("items", "[]")):
            inner = part.get(keyword)
            if isinstance(inner, Mapping):
                yield from _member(f"{path}{step}".lstrip("."), inner, where)


def _parts(schema: Schema, address: str) -> Iterator[tuple[Schema, str]]:
    """All that a value may be held to, also by `then`: what only some values may have is a key too."""
    for part, where in parts(schema, address):
        yield part, where
        if "then" in part:
            yield from _parts(part["then"], where)


def _key(path: str, schema: Schema, address: str, *, is_required: bool) -> Iterator[Key]:
    if "not" not in schema:
        said = [part for part, _ in parts(schema, address)]
        yield Key(path, _first(said, "title"), _first(said, "description"), is_required)
        yield from _below(path, schema, address)


def _member(path: str, schema: Schema, address: str) -> Iterator[Key]:
    """A member of a map or a list has a line where it has keys of its own."""
    inner = [*_below(path, schema, address)]
    if inner:
        said = [part for part, _ in parts(schema, address)]
        yield Key(path, _first(said, "title"), _first(said, "description"), is_required=False)
        yield from inner


def _first(said: Iterable[Mapping[str, Any]], keyword: str) -> str:
    return next((part[keyword] for part in said if keyword in part), "")


def keys_table(found: Iterable[Key]) -> str:
    """A line for each key."""
    rows = [
        (f"`{key.path}`" + " (required)" * key.is_required, plain(key.meaning), plain(key.form))
        for key in found
    ]
    return table(("key", "is", "must be"), rows)


def _keys_of_a_class() -> Iterator[Key]:
    """What only a class has."""
    common = {key.path for key in keys("node")}
    return (key for key in keys("class") if key.path not in common)


# ------------------------------------------------------------------------------------------- variables


def variables() -> str:
    """The rows of all tables of variables, in README.md and in the pages, each with where it stands."""
    rows: list[tuple[str, ...]] = []
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))):
        lines = page.read_text("utf-8").splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if _VARIABLE.match(line) and "…`" not in line and not after.startswith("|---"):
                name, means, *default = (cell.strip() for cell in line.strip("|").split("|"))
                told_in = f"[{page.stem}]({_address(page)})"
                rows.append((name, *(linked(cell, page) for cell in (means, " ".join(default))), told_in))
    return table(("variable", "means", "default", "told in"), sorted(rows, key=lambda row: row[0].strip("`")))


# ------------------------------------------------------------------------------------------ exit codes


def exit_codes() -> str:
    """Each exit code with the kinds of errors that have it, from the tree of errors."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    ours = [kind for kind in kinds if issubclass(kind, errors.MetisError) and kind.exit_code > 1]
    ours.sort(key=lambda kind: (kind.exit_code, len(kind.__mro__)))
    rows = [(str(kind.exit_code), (kind.__doc__ or "").partition("\n")[0]) for kind in ours]
    return table(("code", "means"), [("0", "Done."), ("1", "Failed, for none of the reasons below."), *rows])


def tasks() -> str:
    """The tasks of the graph, as `doit list` names them."""
    graph = ast.parse((ROOT / "dodo.py").read_text("utf-8"))
    found = [node for node in graph.body if isinstance(node, ast.FunctionDef) and TASK.match(node.name)]
    rows = [(f"`{node.name.removeprefix('task_')}`", plain(ast.get_docstring(node) or "")) for node in found]
    return table(("task", "does"), rows)


def burn_options() -> str:
    """What `doit burn` takes."""
    rows = [(f"`--{each['long']}`", str(each["help"])) for each in BURN_PARAMS]
    return table(("option", "is"), rows)


def sentinel_help() -> str:
    """What `metis-sentinel --help` prints."""
    return f"```text\n{metis_sentinel.options.parse(['--help'], {}).text.decode()}```\n"


# ------------------------------------------------------------------------------------------------ pages


def _page_at_the_root(name: str) -> str:
    file = ROOT / name
    return linked(file.read_text("utf-8"), file)


AT_THE_ROOT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PARTS: Mapping[str, Callable[[], str]] = {
    "keys of a class": lambda: keys_table(_keys_of_a_class()),
    "keys of a node": lambda: keys_table(keys("node")),
    "keys of a cluster": lambda: keys_table(keys("cluster")),
    "keys of modes": lambda: keys_table(keys("modes")),
    "variables": variables,
    "exit codes": exit_codes,
    "tasks": tasks,
    "options of doit burn": burn_options,
    "metis-sentinel --help": sentinel_help,
    **{name: partial(_page_at_the_root, name) for name in AT_THE_ROOT},
}


def filled(page: str) -> str:
    """A page with its generated parts; raises KeyError for one that there is not."""
    return MARK.sub(lambda match: PARTS[match[1]](), page)


def linked(text: str, page: Path) -> str:
    """The text of a page, its links to other pages as the site has them, wherever in it the text stands."""

    def there(link: re.Match[str]) -> str:
        address = _address((page.parent / link[1]).resolve() if link[1] else page)
        return f"]({address}{link[2] or ''})" if address else link[0]

    return _LINK.sub(there, text)


def _address(file: Path) -> str:
    """Where the site has a file, from its top; empty for what is no page."""
    if file.parent == ROOT and file.name in AT_THE_ROOT:
        return f"/repository/{file.name.lower()}"
    if file.suffix == ".md" and file.is_relative_to(ROOT / "docs"):
        return f"/{file.relative_to(ROOT / 'docs')}"
    return ""
