"""Fixtures that every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import goldens


@pytest.fixture(scope="session")
def tiny_golden() -> Path:
    return goldens.tiny_golden()


@pytest.fixture(scope="session")
def tiny_pi_golden() -> Path:
    return goldens.tiny_pi_golden()


@pytest.fixture(scope="session")
def debian_golden() -> Path:
    return goldens.debian_golden()


@pytest.fixture(scope="session")
def pi_golden() -> Path:
    return goldens.pi_golden()
