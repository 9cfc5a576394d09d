"""A removable card with FAT is found, burned and filled, on a kernel that has all that this takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.machine.in_uml import CHECKS
from tests.support import uml

pytestmark = pytest.mark.slow

DISK = "scsi_debug removable=1 dev_size_mb=64 medium_error_start=18434 medium_error_count=1"
"""A card of 64 MiB of which, when it is told so, the second KiB of the root file system cannot be read."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tiny_pi_golden: Path) -> dict[str, str]:
    """What went wrong in each check; all run in one guest, which takes most of the time."""
    uml.need()
    folder = tmp_path_factory.mktemp("uml")
    shutil.copy(tiny_pi_golden, folder / "card.img")
    ended = uml.run(folder, "tests.machine.in_uml", "/mnt", modules=[DISK])
    assert ended.code == 0, ended
    found: dict[str, str] = json.loads((folder / "results.json").read_text())
    return found


@pytest.mark.parametrize("name", CHECKS)
def test_in_user_mode_linux(results: dict[str, str], name: str) -> None:
    assert results[name] == ""
