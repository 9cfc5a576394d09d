"""Overlays: whatever an operator may put into a folder becomes entries, or one line that says why not."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InventoryError, MetisError
from pipeline.inventory.overlay import (
    Listed,
    _check_target,
    entries,
    folder_of,
    listing,
    signature,
)
from pipeline.model import Blob, Directory, Entry, File, Overlay, Symlink

NAME = "overlays/lab/root"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / NAME
    made.mkdir(parents=True)
    return made


def put(folder: Path, path: str, text: str = "", mode: int = 0o644) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def laid_over(folder: Path, modes: Mapping[str, object] | None = None) -> dict[str, Entry]:
    found = listing(folder, NAME)
    return {item.path: item for item in entries(Overlay("class lab", "root", NAME), found, modes or {})}


def refused(folder: Path) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        listing(folder, NAME)
    lines = str(caught.value).splitlines()
    assert all(line.isprintable() for line in lines)
    return lines


# -------------------------------------------------------------------------------------- what is taken


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o644, 0o644), (0o600, 0o644), (0o666, 0o644), (0o755, 0o755), (0o744, 0o755), (0o4711, 0o755)],
)
def test_a_file_gets_0644_or_0755_by_its_x_bit_and_nothing_else(
    folder: Path, mode: int, expected: int
) -> None:
    put(folder, "usr/local/bin/tool", mode=mode)
    assert laid_over(folder) == {
        "/usr/local/bin/tool": File(
            "/usr/local/bin/tool", (Blob(NOTHING, f"{NAME}/usr/local/bin/tool"),), expected
        )
    }


def test_folders_that_hold_something_are_not_touched_in_the_image(folder: Path) -> None:
    put(folder, "root/.ssh/config")
    assert list(laid_over(folder)) == ["/root/.ssh/config"]


def test_an_empty_folder_is_made(folder: Path) -> None:
    (folder / "srv/data").mkdir(parents=True)
    assert laid_over(folder) == {"/srv/data": Directory("/srv/data")}


def test_gitkeep_stands_for_an_empty_folder_and_is_not_copied(folder: Path) -> None:
    put(folder, ".gitkeep")
    put(folder, "srv/data/.gitkeep")
    assert laid_over(folder) == {"/srv/data": Directory("/srv/data")}


def test_an_empty_overlay_is_nothing(folder: Path) -> None:
    assert laid_over(folder) == {}


def test_names_may_have_spaces_and_any_script(folder: Path) -> None:
    put(folder, "etc/a b/é-語")
    assert list(laid_over(folder)) == ["/etc/a b/é-語"]


def test_a_listing_is_in_the_order_of_paths(folder: Path) -> None:
    for path in ("b/x", "a/y", "a.b", "a/x"):
        put(folder, path)
    found = [item.path for item in listing(folder, NAME)]
    assert found == sorted(found)


def test_a_listing_comes_back_from_json(folder: Path) -> None:
    put(folder, "a", mode=0o755)
    (folder / "l").symlink_to("a")
    found = listing(folder, NAME)
    assert tuple(Listed(**asdict(item)) for item in found) == found


# ---------------------------------------------------------------------------------------- modes.yaml


def test_modes_give_a_mode_or_an_owner_or_both(folder: Path) -> None:
    for path in ("a", "b", "c"):
        put(folder, path, mode=0o755)
    modes = {"/a": "0440", "/b": {"owner": "atlas"}, "/c": {"mode": "4711", "group": "adm"}}
    found = laid_over(folder, modes)
    about = [(item.mode, item.owner, item.group) for item in found.values() if isinstance(item, File)]
    assert about == [(0o440, "root", "root"), (0o755, "atlas", "root"), (0o4711, "root", "adm")]


@pytest.mark.parametrize("keep", ["etc/sudoers.d/ops", "etc/sudoers.d/.gitkeep"], ids=["full", "empty"])
def test_modes_of_a_folder_hold_whether_it_is_empty_or_not(folder: Path, keep: str) -> None:
    put(folder, keep)
    found = laid_over(folder, {"/etc/sudoers.d": "0750"})
    assert found["/etc/sudoers.d"] == Directory("/etc/sudoers.d", 0o750)


def test_modes_of_what_is_not_there_are_refused_all_at_once(folder: Path) -> None:
    put(folder, "etc/motd")
    with pytest.raises(InventoryError) as caught:
        laid_over(folder, {"/etc/modt": "0440", "/etc/motd": "0440", "/x": "0440"})
    assert str(caught.value).splitlines() == [
        "overlays/lab/modes.yaml: /etc/modt: not in overlays/lab/root",
        "overlays/lab/modes.yaml: /x: not in overlays/lab/root",
    ]


def test_modes_of_a_link_are_refused(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/motd")
    with pytest.raises(InventoryError, match="a link, which has neither mode nor owner"):
        laid_over(folder, {"/link": "0440"})


def test_modes_are_for_the_root_as_fat_has_none(folder: Path) -> None:
    put(folder, "config.txt")
    overlay = Overlay("class lab", "boot", "overlays/lab/boot")
    (entry,) = entries(overlay, listing(folder, NAME), {"/config.txt": "0600", "/etc/motd": "0600"})
    assert isinstance(entry, File)
    assert (entry.mode, entry.side) == (0o644, "boot")


# --------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("etc/mtab", "../proc/self/mounts"),
        ("etc/systemd/system/a.service", "/dev/null"),
        ("a", "b"),
        ("a", "."),
        ("etc/a", ".."),
        ("etc/a", "/../../etc/shadow"),
        ("etc/x/dangling", "../../no/such/file"),
    ],
)
def test_a_link_is_kept_as_it_is_and_never_followed(folder: Path, path: str, target: str) -> None:
    link = folder / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    assert laid_over(folder) == {f"/{path}": Symlink(f"/{path}", target)}


def test_a_link_to_a_folder_is_not_entered(folder: Path) -> None:
    put(folder, "real/file")
    (folder / "link").symlink_to("real")
    (folder / "loop").symlink_to(".")
    assert list(laid_over(folder)) == ["/link", "/loop", "/real/file"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", ".."),
        ("a", "../a"),
        ("etc/a", "../../shadow"),
        ("etc/a", "x/../../../shadow"),
        ("etc/a", "./..//../../x"),
    ],
)
def test_a_relative_link_that_points_out_of_the_overlay_is_refused(
    folder: Path, path: str, target: str
) -> None:
    link = folder / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    assert refused(folder) == [f"{NAME}: /{path}: a link that points outside the overlay: {target}"]


steps = st.lists(st.sampled_from(["..", ".", "", "a", "b"]), max_size=8)


@given(steps, st.lists(st.sampled_from("ab"), max_size=4))
def test_a_target_is_refused_exactly_when_some_step_of_it_leaves_the_overlay(
    target: list[str], parents: list[str]
) -> None:
    """The model: a stack of names, as path_resolution(7) walks where there are no other links."""
    text = "/".join(target)
    stack: list[str] = list(parents)
    leaves = False
    for step in target if not text.startswith("/") else ():
        if step == ".." and not stack:
            leaves = True
            break
        if step == "..":
            stack.pop()
        elif step not in {"", "."}:
            stack.append(step)
    path = "/".join(["", *parents, "link"])
    if leaves:
        with pytest.raises(ValueError, match="points outside"):
            _check_target(path, text)
    else:
        _check_target(path, text)


# --------------------------------------------------------------------------- what cannot be on an image


def test_a_fifo_is_refused_and_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert refused(folder) == [
        f"{NAME}: /pipe: neither a file, a folder nor a link: it cannot be put on an image"
    ]


def test_a_socket_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # its path would be too long for sun_path
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    assert "neither a file, a folder nor a link" in refused(folder)[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device node")
def test_a_device_node_is_refused(folder: Path) -> None:
    try:
        os.mknod(folder / "null", 0o20666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("not even root can make a device node here")
    assert "neither a file, a folder nor a link" in refused(folder)[0]


def test_names_that_are_not_utf8_are_refused_in_characters_that_can_be_shown(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).touch()
    assert refused(folder) == [rf"{NAME}: /caf\udce9: a name that is not UTF-8: '/caf\udce9'"]


def test_a_links_target_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to(os.fsdecode(b"caf\xe9"))
    assert refused(folder) == [rf"{NAME}: /link: a link's target that is not UTF-8: 'caf\udce9'"]


def test_what_a_terminal_would_obey_is_not_repeated(folder: Path) -> None:
    (folder / "\x1b[2J").symlink_to("../\x1b]0;x\x07")
    assert refused(folder) == [
        rf"{NAME}: /\x1b[2J: a link that points outside the overlay: ../\x1b]0;x\x07",
    ]


def test_everything_that_is_wrong_is_said_at_once(folder: Path) -> None:
    os.mkfifo(folder / "a")
    os.mkfifo(folder / "b")
    (folder / "c").symlink_to("..")
    assert len(refused(folder)) == 3


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


@pytest.mark.parametrize("unreadable", ["file", "folder"])
def test_what_cannot_be_read_is_one_line_and_no_traceback(unreadable: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        secret = put(folder, "folder/file")
        secret = secret if unreadable == "file" else secret.parent
        secret.chmod(0)
        with an_ordinary_user(), pytest.raises(MetisError) as caught:
            listing(folder, NAME)
        assert str(caught.value) == f"cannot read {secret}: permission denied"
        secret.chmod(0o755)


# ------------------------------------------------------------------------------------ where it may lie


def test_an_overlay_lies_in_the_inventory(tmp_path: Path, folder: Path) -> None:
    assert folder_of(tmp_path, NAME) == folder


@pytest.mark.parametrize("name", ["overlays/none", "overlays/file"])
def test_a_folder_that_is_not_there_gets_a_line_that_says_what_to_do(
    tmp_path: Path, folder: Path, name: str
) -> None:
    put(tmp_path, "overlays/file")
    with pytest.raises(MetisError, match=f"{name}: no such folder: make it, or take it out"):
        folder_of(tmp_path, name)


@pytest.mark.parametrize("name", ["../outside", "overlays/../../outside", "link", "link/below"])
def test_a_folder_outside_the_inventory_is_refused(tmp_path: Path, name: str) -> None:
    inventory, outside = tmp_path / "inventory", tmp_path / "outside"
    (inventory / "overlays").mkdir(parents=True)
    (outside / "below").mkdir(parents=True)
    (inventory / "link").symlink_to(outside)
    with pytest.raises(MetisError, match="points outside the inventory"):
        folder_of(inventory, name)


def test_a_link_that_stays_in_the_inventory_is_an_overlay_too(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "short").symlink_to(NAME)
    assert folder_of(tmp_path, "short").samefile(folder)


def test_the_inventory_itself_may_be_reached_by_a_link(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "link").symlink_to(".")
    assert folder_of(tmp_path / "link", NAME).samefile(folder)


# ----------------------------------------------------------------------------------------- signature


def rewrite_in_disguise(folder: Path) -> None:
    file = folder / "etc/motd"
    before = file.stat()
    file.write_text("HELLO")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def point_elsewhere(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("b")


CHANGES: dict[str, Callable[[Path], object]] = {
    "another content": lambda folder: (folder / "etc/motd").write_text("longer than before"),
    "another content of the same length and time": rewrite_in_disguise,
    "another mode": lambda folder: (folder / "etc/motd").chmod(0o755),
    "another name": lambda folder: (folder / "etc/motd").rename(folder / "etc/issue"),
    "a new file": lambda folder: (folder / "etc/new").touch(),
    "a new file deep down": lambda folder: (folder / "srv/deep/new").touch(),
    "a new folder": lambda folder: (folder / "new").mkdir(),
    "a file less": lambda folder: (folder / "etc/motd").unlink(),
    "another target": point_elsewhere,
    "a name that is not UTF-8": lambda folder: (folder / os.fsdecode(b"\xff")).touch(),
}


def fill(folder: Path) -> None:
    put(folder, "etc/motd", "hello")
    (folder / "srv/deep").mkdir(parents=True)
    (folder / "link").symlink_to("a")


@pytest.mark.parametrize("change", CHANGES, ids=list(CHANGES))
def test_a_signature_changes_with_whatever_changes_in_the_folder(folder: Path, change: str) -> None:
    fill(folder)
    before = signature(folder)
    CHANGES[change](folder)
    assert signature(folder) != before


def test_a_signature_stays_when_files_are_only_read(folder: Path) -> None:
    fill(folder)
    before = signature(folder)
    listing(folder, NAME)
    (folder / "etc/motd").read_text()
    assert signature(folder) == before
