"""Folders for a while: gone afterwards, swept up when their owner died, and left alone while it lives."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pipeline.machine.durable import own_folder
from pipeline.machine.scratch import scratch, sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A folder whose owner was killed at work in it."""
    code = (
        "import sys, time, pathlib; from pipeline.machine.scratch import scratch\n"
        "with scratch(pathlib.Path(sys.argv[1]), 'push', print) as folder:\n"
        "    (folder / 'image').write_bytes(b'secret'); print(folder, flush=True); time.sleep(600)"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        child.send_signal(signal.SIGKILL)
    assert (folder / "image").is_file()
    return folder


def test_a_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    place = tmp_path / "new"
    with suppress(RuntimeError), scratch(place, "push", print) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "image").touch()
        raise RuntimeError
    assert list(place.iterdir()) == []


def test_a_folder_that_is_removed_early_is_no_trouble(tmp_path: Path) -> None:
    with scratch(tmp_path, "burn", print) as folder:
        shutil.rmtree(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_has_left_is_removed_by_the_next_who_works_there(tmp_path: Path, left: Path) -> None:
    with scratch(tmp_path, "push", print) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_what_cannot_be_removed_is_told(tmp_path: Path, left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a medium that fails, or was made read-only meanwhile."""
    notes: list[str] = []
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with scratch(tmp_path, "push", notes.append) as folder:
        (folder / "image").touch()
    assert notes == [
        f"{each} could not be removed, and may hold secrets: remove it" for each in (left, folder)
    ]


def test_what_a_kill_has_left_is_removed_by_a_sweep(tmp_path: Path, left: Path) -> None:
    sweep(tmp_path, tmp_path / "cache")
    assert not left.exists()


def test_a_folder_whose_owner_was_killed_before_it_had_a_lock_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".push-abc.part").mkdir()
    sweep(tmp_path, tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_just_being_made_is_not_taken_for_one_that_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maker goes on, and has its lock, when the sweep has found none and is about to remove it."""
    made = Path(tempfile.mkdtemp(prefix=".push-", suffix=".part", dir=tmp_path))
    make, remove = tempfile.mkdtemp, shutil.rmtree
    with ExitStack() as stack:
        working: list[Path] = []

        def later(folder: Path, *, ignore_errors: bool = False) -> None:
            if not working:
                folders = iter([str(made)])
                monkeypatch.setattr("tempfile.mkdtemp", lambda **where: next(folders, None) or make(**where))
                working.append(stack.enter_context(own_folder(tmp_path, "push")))
            remove(folder, ignore_errors=ignore_errors)

        monkeypatch.setattr("shutil.rmtree", later)
        sweep(tmp_path, tmp_path / "cache")
        assert list(tmp_path.iterdir()) == working


def test_nobody_removes_what_another_works_in(tmp_path: Path) -> None:
    with scratch(tmp_path, "push", print) as one, scratch(tmp_path, "push", print) as other:
        sweep(tmp_path, tmp_path / "cache")
        assert one.is_dir()
        assert other.is_dir()


def test_a_sweep_removes_what_is_not_finished_and_nothing_else(tmp_path: Path) -> None:
    parts = [
        tmp_path / name
        for name in ("cache/.a.part", "cache/partial/.b.part", ".one.img-a.part", "base/.pi-b.part")
    ]
    for part in parts:
        part.mkdir(parents=True)
        (part / ".lock").touch()
    files = [tmp_path / name for name in ("one.img", "base/pi.img", "mine.part")]
    for file in files:
        file.touch()
    (tmp_path / ".elsewhere.part").symlink_to(tmp_path / "base")
    left = tmp_path / ".one.receipt.json-a.part"
    left.touch()
    for root in (tmp_path, tmp_path / "cache/partial"):
        sweep(root, tmp_path / "cache")
        assert all(file.exists() for file in files)
        assert [part.exists() for part in (*parts, left)] == [True, True, False, False, False]
