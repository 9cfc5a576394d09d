"""The golden that we make from packages comes up, by itself and soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import machine

pytestmark = [pytest.mark.slow]


def test_it_boots_without_a_network(debian_golden: Path) -> None:
    machine.boot(debian_golden, "golden login: ", network="none")
