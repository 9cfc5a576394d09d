"""A version is said in one place, and what it brought stands in the changelog."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_changelog_has_a_section_for_the_version() -> None:
    sections = re.findall(r"^## (\S+)(?: - \d{4}-\d{2}-\d{2})?$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert sections[:2] == ["Unreleased", VERSION]


def test_what_is_installed_says_that_version() -> None:
    assert version("metis") == VERSION
