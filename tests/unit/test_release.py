"""A version is said in one place, what it brought in the changelog, and what it needs in the README."""

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


def test_who_has_no_clone_is_told_of_the_same_packages_as_make_installs() -> None:
    found = re.search(r"^PACKAGES := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.M)
    told = re.search(r"^    sudo apt install ((?:.*\\\n)*.*)$", (ROOT / "README.md").read_text(), re.M)
    assert found
    assert told
    installed = found[1].replace("$(QEMU)", "qemu-system-x86").replace("$(ARCH)", "amd64")
    assert _words(told[1]) == _words(installed)


def _words(text: str) -> list[str]:
    return text.replace("\\\n", " ").split()
