"""No path of a hostile image leads out of the folder that it is opened beneath."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.inject import syscalls
from pipeline.inject.beneath import Beneath, directory_in
from pipeline.inject.folder import FolderTree
from tests.support.descriptors import descriptors


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder that stands for an image, beside one of the host."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_text("the host's")
    top = tmp_path / "image"
    (top / "etc").mkdir(parents=True)
    return top


@pytest.fixture
def beneath(top: Path) -> Iterator[Beneath]:
    with Beneath.folder(top) as opened:
        yield opened


@pytest.fixture
def tree(beneath: Beneath) -> FolderTree:
    return FolderTree(beneath, "node.img")


def opens(beneath: Beneath, path: str) -> str:
    with beneath.opened(path, os.O_RDONLY) as found:
        return os.read(found, 100).decode()


@pytest.mark.parametrize(
    "target",
    [
        "{host}",
        "../../../../../../..{host}",
        "/../../..{host}",
        "../host",
        "../../host",
        "/proc/self/root{host}",
    ],
)
def test_links_out_end_beneath_the_top(top: Path, beneath: Beneath, target: str) -> None:
    (top / "evil").symlink_to(target.format(host=top.parent / "host"))
    assert not beneath.has("/evil/secret")
    with pytest.raises(FileNotFoundError):
        opens(beneath, "/evil/secret")


@pytest.mark.parametrize(
    "path", ["../host/secret", "/../host/secret", "/etc/../../host/secret", "{host}/secret"]
)
def test_paths_out_end_beneath_the_top(top: Path, beneath: Beneath, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        opens(beneath, path.format(host=top.parent / "host"))


def test_an_absolute_link_starts_at_the_top(top: Path, beneath: Beneath) -> None:
    (top / "etc/issue").write_text("the image's")
    (top / "link").symlink_to("/../../etc/issue")
    assert opens(beneath, "/link") == "the image's"


@pytest.mark.parametrize("path", ["/self/root/etc/passwd", "/self/cwd", "/self/fd/0", "/self/exe"])
def test_magic_links_are_no_way_out(path: str) -> None:
    with Beneath.folder(Path("/proc")) as beneath, pytest.raises(OSError, match="symbolic links") as caught:
        opens(beneath, path)
    assert caught.value.errno == errno.ELOOP


def test_another_file_system_beneath_is_not_entered() -> None:
    with Beneath.folder(Path("/")) as beneath:
        with pytest.raises(OSError, match="cross-device") as caught:
            opens(beneath, "/proc/version")
        assert caught.value.errno == errno.EXDEV
        with pytest.raises(
            MetisError, match="/proc/version of card is on another file system: unmount that one"
        ):
            FolderTree(beneath, "card").read("/proc/version")


@pytest.mark.parametrize("path", ["/", "", ".", "/etc/..", "/etc/.", "/etc/", "/a\0b"])
def test_a_name_that_may_mean_something_else_is_not_changed(tree: FolderTree, path: str) -> None:
    with pytest.raises(MetisError, match="does not name anything"):
        tree.remove(path)


def test_only_a_real_directory_is_entered(top: Path) -> None:
    (top / "link").symlink_to("etc")
    descriptor = os.open(top, os.O_RDONLY)
    try:
        for name in ("link", "..", "/etc"):
            with pytest.raises(OSError, match=r"."), directory_in(descriptor, name):
                pass
    finally:
        os.close(descriptor)


def test_descriptors_are_closed(top: Path, tree: FolderTree) -> None:
    before = descriptors()
    (top / "d/e").mkdir(parents=True)
    for _ in range(3):
        tree.status("/etc")
        tree.status("/nope/x")
        tree.remove("/d")
        with pytest.raises(MetisError):
            tree.read("/etc")
    assert descriptors() <= before


def test_removing_takes_links_as_links(top: Path, tree: FolderTree) -> None:
    (top / "etc/out").symlink_to(top.parent / "host")
    (top / "etc/deep/er").mkdir(parents=True)
    tree.remove("/etc")
    tree.remove("/etc")
    tree.remove("/etc/nothing/here")
    assert list(top.iterdir()) == []
    assert (top.parent / "host/secret").read_text() == "the host's"


def test_directories_without_end_are_refused_in_one_line(top: Path, tree: FolderTree) -> None:
    path = top / "d"
    for _ in range(210):
        path.mkdir()
        path /= "d"
    with pytest.raises(MetisError, match="more than 200 directories in each other"):
        tree.remove("/d")


def test_reading_does_not_wait_for_a_pipe(top: Path, tree: FolderTree) -> None:
    os.mkfifo(top / "pipe")
    assert tree.status("/pipe") is not None
    with pytest.raises(MetisError, match=r"/pipe of node\.img is not a regular file"):
        tree.read("/pipe")
    (top / "link").symlink_to("etc")
    with pytest.raises(MetisError, match="symbolic links"):
        tree.read("/link")


def archive(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path = folder / "archive.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as opened:
        for header, content in members:
            header.size = len(content)
            opened.addfile(header, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.mode = kind, target, 0o644
    return header


def test_a_member_is_never_written_through_a_link(top: Path, tree: FolderTree, tmp_path: Path) -> None:
    secret = tmp_path / "host/secret"
    (top / "file").symlink_to(secret)
    tree.extract(
        archive(tmp_path, (member("file"), b"ours"), (member("evil", tarfile.SYMTYPE, str(tmp_path)), b""))
    )
    assert secret.read_text() == "the host's"
    assert (top / "file").read_text() == "ours"
    with pytest.raises(MetisError, match="No such file"):
        tree.extract(archive(tmp_path, (member("evil/host/secret"), b"over")))
    assert secret.read_text() == "the host's"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (member("../host/secret"), "No such file"),
        (member("etc/.."), "does not name anything"),
        (member("dev/null", tarfile.CHRTYPE), "No such file"),
        (member("null", tarfile.CHRTYPE), "neither a file, a directory nor a link"),
        (member("hard", tarfile.LNKTYPE, "etc/passwd"), "neither a file, a directory nor a link"),
        (member("etc"), "/etc of node.img: Is a directory"),
        (member("etc", tarfile.SYMTYPE, "x"), "/etc of node.img: Is a directory"),
        (member("plain/x"), "/plain/x of node.img: Not a directory"),
        (member("plain", tarfile.DIRTYPE), "/plain of node.img: Not a directory"),
    ],
)
def test_what_cannot_be_unpacked_is_one_line(
    top: Path, tree: FolderTree, tmp_path: Path, made: tarfile.TarInfo, message: str
) -> None:
    (top / "plain").write_text("a file")
    with pytest.raises(MetisError, match=message):
        tree.extract(archive(tmp_path, (made, b"")))
    assert (tmp_path / "host/secret").read_text() == "the host's"


@pytest.mark.parametrize("plain", [True, False])
def test_a_plain_tree_needs_no_owners(
    top: Path, beneath: Beneath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tree = FolderTree(beneath, "card", plain=plain)
    made = archive(tmp_path, (member("file"), b"x"))
    if plain:
        tree.extract(made)
        assert (top / "file").read_text() == "x"
    else:
        with pytest.raises(MetisError, match="/file of card: Operation not permitted"):
            tree.extract(made)


def test_a_kernel_without_the_call_is_named(monkeypatch: pytest.MonkeyPatch, beneath: Beneath) -> None:
    monkeypatch.setattr(syscalls, "OPENAT2", 100_000)
    with pytest.raises(MetisError, match=r"this kernel .* system call 100000: Linux 5.8 or newer"):
        opens(beneath, "/etc")


def test_a_path_in_motion_is_tried_again(monkeypatch: pytest.MonkeyPatch, beneath: Beneath) -> None:
    answers = [errno.EAGAIN, errno.EAGAIN, 0]
    real = syscalls.call

    def call(number: int, *arguments: int | bytes | ctypes.Structure | None) -> int:
        code = answers.pop(0) if answers else 0
        if code:
            raise OSError(code, os.strerror(code))
        return real(number, *arguments)

    monkeypatch.setattr(syscalls, "call", call)
    assert beneath.has("/etc")
    answers[:] = [errno.EAGAIN] * 1000
    with pytest.raises(MetisError, match="is being changed by somebody else"):
        opens(beneath, "/etc")
