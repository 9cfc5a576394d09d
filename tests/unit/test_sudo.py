"""A run under sudo leaves to its caller what is the caller's, and gives away nothing else."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pipeline.machine import sudo
from pipeline.machine.sudo import Caller

MINE = Caller(os.getuid(), os.getgid(), "me", "/home/me")
OTHER = Caller(54321, 54321, "other", "/home/other")


def given(who: Caller, folders: Iterable[Path], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, ...]:
    """The folders that are given back when the process ends."""
    kept: list[tuple[Path, ...]] = []

    def register(_: Callable[..., None], __: Caller, kept_folders: tuple[Path, ...]) -> None:
        kept.append(kept_folders)

    monkeypatch.setattr(atexit, "register", register)
    sudo.give_back_at_exit(who, folders)
    return kept[0]


def test_only_folders_of_the_caller_and_new_ones_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("/etc")
    there, new, link = tmp_path / "there", tmp_path / "new", tmp_path / "link"
    assert given(MINE, [there, new, new / "of/it"], monkeypatch) == (there, new, new)
    assert given(OTHER, [there, new, link, Path("/"), Path("/etc")], monkeypatch) == (new,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_is_roots_below_a_folder_is_given_back_and_links_are_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "artifacts", tmp_path / "outside"
    (folder / "burns").mkdir(parents=True)
    outside.touch()
    (folder / "burns/one.json").touch()
    (folder / "link").symlink_to(outside)
    (folder / "of a third").touch()
    os.chown(folder / "of a third", 12345, 12345)
    sudo.give_back(OTHER, [tmp_path / "none", folder])
    owners = {path.name: path.lstat().st_uid for path in [folder, *folder.rglob("*")]}
    assert owners.pop("of a third") == 12345
    assert set(owners.values()) == {OTHER.uid}
    assert outside.stat().st_uid == 0


@pytest.mark.parametrize("words", ["", "0", "-1", "1000; rm", "99999999", "root"])
def test_nobody_called_who_is_not_named_as_sudo_does(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", words)
    assert sudo.caller() is None
