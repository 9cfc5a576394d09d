"""What browsers are given is whole: they pass over what they do not understand, and nobody is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.service.rendering import STATIC, TEMPLATES

FILES = sorted([*STATIC.glob("*.css"), *STATIC.glob("*.js"), *TEMPLATES.glob("*.html")])
MARK = re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})(?: |$)", re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_mark_of_a_merge_was_left(file: Path) -> None:
    assert MARK.findall(file.read_text()) == []


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.css")), ids=lambda file: file.name)
def test_braces_of_a_style_sheet_close_what_they_open(file: Path) -> None:
    depth = 0
    for char in re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.DOTALL):
        depth += {"{": 1, "}": -1}.get(char, 0)
        assert 0 <= depth <= 2
    assert depth == 0
