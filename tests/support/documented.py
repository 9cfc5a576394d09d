"""What pages of the documentation tell a reader to run and to write, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt

PROGRAMS = frozenset(
    ".venv/bin/metis .venv/bin/doit .venv\\Scripts\\metis age curl doit export git kubectl make metis "
    "metis-sentinel pipx py rpi-imager ssh sudo systemctl vault".split()
)
"""How a block of commands begins."""
_FILE = re.compile(r"# ((?:\w[\w.-]*/)*\w[\w.-]*\.(?:yaml|py))\n")


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a shell takes it; `line` is where it stands, `begins` whether it is first in its block."""

    line: int
    text: str
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the inventory, which its first line names."""

    path: str
    text: str


def steps(page: str) -> Iterator[Command | Written]:
    """The commands and files of a page: in fences of `sh`, `yaml` and `python`, or indented as code is."""
    for language, line, text in _blocks(page):
        first = next((each for each in text.splitlines() if not each.startswith("#")), "")
        if language == "sh" or (not language and first.split(" ")[0] in PROGRAMS):
            yield from _commands(line, text)
        elif language in {"yaml", "python"} and (named := _FILE.match(text)):
            yield Written(named[1], text)


def _blocks(page: str) -> Iterator[tuple[str, int, str]]:
    """The language, the first line and the text of each block."""
    for token in MarkdownIt().parse(page):
        if token.type in {"fence", "code_block"} and token.map:
            yield token.info, token.map[0] + (2 if token.type == "fence" else 1), token.content


def _commands(line: int, text: str) -> Iterator[Command]:
    """One for each line, or for several whose ends are escaped."""
    whole, begins = "", True
    for number, each in enumerate(text.splitlines(), line):
        whole += each
        if whole.endswith("\\"):
            whole = whole[:-1]
        else:
            if whole.strip() and not whole.startswith("#"):
                yield Command(number, whole, begins)
                begins = False
            whole = ""
