"""Each platform that is listed says what it can do; elsewhere no card is written."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import get_type_hints

import pytest

from pipeline.card.here import PLATFORMS, here
from pipeline.card.platform import Platform
from pipeline.errors import MetisError


@pytest.mark.parametrize("module", PLATFORMS.values())
def test_a_platform_has_a_module_that_gives_it(module: str) -> None:
    gives = import_module(f"pipeline.card.{module}").platform
    assert get_type_hints(gives) == {"return": Platform}


def test_linux_knows_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux2")
    assert here().knows_file_systems


def test_a_platform_that_nobody_knows_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "sunos5")
    with pytest.raises(MetisError, match="no card is found or written on sunos5"):
        here()
