"""What `apply` makes of a tree, over a folder: examples, and a property against a simple model.

What holds for every adapter, owners and modes among it, is in the integration tests of the injectors.
"""

from __future__ import annotations

import errno
import os
import posixpath
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InventoryError, MetisError
from pipeline.inject import syscalls
from pipeline.inject.apply import apply
from pipeline.inject.beneath import Beneath
from pipeline.inject.folder import FolderTree
from pipeline.inject.sources import Sources, no_secrets
from pipeline.inject.tree import Places, Trees
from pipeline.manifest import Contribution, collect
from pipeline.model import Blob, Directory, Edit, Entry, File, Needs, Remove, Reveal, SecretRef, Symlink, Text
from tests.support import blocks

Nodes = dict[str, bytes | str | None]
"""A tree: bytes are a file, text is a link's target, None is a directory."""


def no_blobs(blob: Blob) -> BinaryIO:
    raise MetisError(f"{blob.source} is gone")


def applied(top: Path, *entries: Entry, reveal: Reveal = no_secrets) -> list[str]:
    manifest = collect("node", [Contribution("test", entries)])
    with Beneath.folder(top) as beneath:
        tree = FolderTree(beneath, "node.img")
        return apply(manifest, Trees(Places(1, None), tree, None), Sources(no_blobs, reveal, {}), top.parent)


def plant(top: Path, nodes: Nodes) -> None:
    for path, node in sorted(nodes.items()):
        place = top / path.lstrip("/")
        if node is None:
            place.mkdir()
        elif isinstance(node, bytes):
            place.write_bytes(node)
        else:
            place.symlink_to(node)


def dump(top: Path) -> Nodes:
    found: Nodes = {}
    for path in top.rglob("*"):
        name = f"/{path.relative_to(top)}"
        if path.is_symlink():
            found[name] = os.readlink(path)  # noqa: PTH115 - a Path would tidy it up
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "top"
    folder.mkdir()
    return folder


def test_a_link_may_lead_through_another_and_back(top: Path) -> None:
    plant(
        top,
        {
            "/far": None,
            "/far/deep": None,
            "/far/there": None,
            "/short": "far/deep",
            "/link": "short/../there",
        },
    )
    applied(top, File("/link/x", (Text("here"),)))
    assert (top / "far/there/x").read_text() == "here"


def test_two_paths_that_are_one_in_the_golden_are_refused(top: Path) -> None:
    plant(top, {"/usr": None, "/usr/lib": None, "/lib": "usr/lib"})
    with pytest.raises(
        MetisError, match=r"/lib/x and /usr/lib/x are both /usr/lib/x in the golden: leave one"
    ):
        applied(top, File("/lib/x", ()), File("/usr/lib/x", ()))
    with pytest.raises(
        MetisError, match=r"/usr/lib/x/y in the golden lies beneath /lib/x, which is to be a file"
    ):
        applied(top, File("/lib/x", ()), File("/usr/lib/x/y", ()))
    applied(top, Directory("/lib/d"), Directory("/usr/lib/d"), File("/lib/d/x", ()))
    assert (top / "usr/lib/d/x").is_file()


def test_owners_are_found_through_links_and_in_files_of_the_manifest(top: Path) -> None:
    plant(
        top,
        {"/etc": None, "/etc/passwd": "/system/passwd", "/system": None, "/system/passwd": b"a:x:7:7::/:\n"},
    )
    applied(top, File("/one", (), owner="a"))
    assert (top / "one").stat().st_uid == 7
    users = File("/etc/passwd", (Text("a:x:8:8::/:\nbad:x:²:\na:x:9:9::/:\n"),))
    applied(top, users, File("/two", (), owner="a"), File("/three", (), owner="4294967294"))
    assert (top / "two").stat().st_uid == 8
    for owner in ("bad", "4294967295"):
        with pytest.raises(MetisError, match=f"/etc/passwd in the golden does not know '{owner}'"):
            applied(top, File("/four", (), owner=owner))


def test_nothing_is_changed_where_a_blob_is_missing(top: Path) -> None:
    plant(top, {"/old": b"old"})
    with pytest.raises(MetisError, match="away is gone"):
        applied(top, Remove("/old"), File("/a", ()), File("/b", (Blob("0" * 64, "away"),)))
    assert dump(top) == {"/old": b"old"}


def test_an_edit_of_what_is_not_there_makes_it(top: Path) -> None:
    applied(top, Edit("/etc/deep/hosts", "hosts", (("names", "n"),)))
    assert (top / "etc/deep/hosts").read_text() == "127.0.0.1\tlocalhost\n127.0.1.1\tn\n"


NEEDED = Needs("/lib/netplan", "netplan.io")


@pytest.mark.parametrize(
    ("there", "brought"),
    [
        ({"/usr/lib/netplan": b""}, []),
        ({"/usr/lib/netplan": "real", "/usr/lib/real": b""}, []),
        ({}, [File("/lib/netplan", (Text("x"),))]),
        ({}, [File("/usr/lib/netplan", (Text("x"),))]),
    ],
    ids=["in the golden", "behind a link", "from a layer", "from a layer, by its real path"],
)
def test_what_is_needed_may_come_from_anywhere(top: Path, there: Nodes, brought: list[Entry]) -> None:
    plant(top, {"/usr": None, "/usr/lib": None, "/lib": "usr/lib", **there})
    applied(top, NEEDED, *brought)


def test_an_image_without_what_is_needed_is_refused_before_anything_is_changed(top: Path) -> None:
    plant(top, {"/usr": None, "/usr/lib": None, "/lib": "usr/lib", "/etc": None, "/etc/old": b"1"})
    before = dump(top)
    with pytest.raises(MetisError, match=r"no /lib/netplan.*use one with the package netplan\.io"):
        applied(top, NEEDED, Remove("/etc/old"), File("/etc/new", ()))
    assert dump(top) == before


OPTIONAL = Needs("/k3s", "k3s", optional=True)


@pytest.mark.parametrize(
    ("there", "more", "is_warned"),
    [
        ({}, [], True),
        ({"/k3s": b""}, [Remove("/k3s")], True),
        ({"/k3s": b""}, [], False),
        ({}, [File("/k3s", (Text("x"),))], False),
    ],
    ids=["nowhere", "removed", "in the golden", "from a layer"],
)
def test_without_what_is_optional_all_else_goes_in_with_a_warning(
    top: Path, there: Nodes, more: list[Entry], is_warned: bool
) -> None:
    plant(top, there)
    warnings = applied(top, OPTIONAL, File("/new", ()), *more)
    assert ["node: warning: nothing brings /k3s" in each for each in warnings] == [True] * is_warned
    assert "/new" in dump(top)


def test_what_is_removed_cannot_be_what_is_needed(top: Path) -> None:
    plant(top, {"/lib": None, "/lib/netplan": b""})
    with pytest.raises(MetisError, match="no /lib/netplan"):
        applied(top, NEEDED, Remove("/lib/netplan"), File("/etc/new", ()))


def test_all_has_the_time_of_the_build(top: Path) -> None:
    before = int(time.time())
    applied(top, File("/d/x", ()), Symlink("/d/l", "x"))
    times = {os.lstat(top / path).st_mtime for path in ("d", "d/x", "d/l")}
    assert len(times) == 1
    assert before <= times.pop() <= time.time()


@pytest.fixture
def guarded(top: Path) -> Iterator[Path]:
    """A folder whose immutable directory is mended afterwards, so that it can be removed."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a directory immutable")
    with blocks.removable(top):
        yield top


def test_nobody_makes_anything_in_an_immutable_directory(guarded: Path) -> None:
    applied(guarded, Directory("/mnt/disk", 0, immutable=True))
    with pytest.raises(PermissionError):
        (guarded / "mnt/disk/after").touch()
    assert dump(guarded) == {"/mnt": None, "/mnt/disk": None}
    (guarded / "mnt/beside").touch()


def test_an_immutable_directory_that_is_there_stays_as_it_is(guarded: Path) -> None:
    applied(guarded, Directory("/disk", 0o700, immutable=True))
    applied(guarded, Directory("/disk", 0, immutable=True), File("/other", ()))
    assert (guarded / "disk").stat().st_mode & 0o777 == 0o700
    assert (guarded / "other").exists()


def test_what_can_have_no_attributes_is_refused_in_one_line(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr(syscalls, "set_immutable", refuse)
    with pytest.raises(MetisError, match=r"^/disk of node\.img: Inappropriate ioctl for device$"):
        applied(top, Directory("/disk", immutable=True))


# -------------------------------------------------------------------------------------------- property


class RefusedError(Exception):
    """The model cannot take an entry."""


def locate(nodes: Nodes, path: str, links: int = 0) -> str:
    """Where a path is, its last name not followed."""
    *todo, last = path.strip("/").split("/")
    here = "/"
    while todo:
        name, *todo = todo
        if name in {"", "."}:
            continue
        if name == "..":
            here = posixpath.dirname(here)
            continue
        here = posixpath.join(here, name)
        node = nodes.get(here)
        if isinstance(node, bytes):
            raise RefusedError
        if isinstance(node, str):
            links += 1
            if links > 200:
                raise RefusedError
            todo = [*node.split("/"), *todo]
            here = "/" if node.startswith("/") else posixpath.dirname(here)
    return posixpath.join(here, last)


def model(nodes: Nodes, entries: Iterable[Entry]) -> Nodes:
    """What the entries leave, in the simplest words."""
    removed = [locate(nodes, entry.path) for entry in entries if isinstance(entry, Remove)]
    nodes = {
        path: node
        for path, node in nodes.items()
        if not any(path == gone or path.startswith(f"{gone}/") for gone in removed)
    }
    placed: Nodes = {}
    for entry in entries:
        if isinstance(entry, Remove):
            continue
        path, new = place(nodes, entry)
        twice = path in placed and (new is not None or placed[path] is not None)
        over_directory = new is not None and nodes.get(path, b"") is None
        if twice or over_directory or path == "/":
            raise RefusedError
        placed[path] = new
    above = {parent for path in placed for parent in parents(path)}
    if any(placed.get(parent) is not None for parent in above):
        raise RefusedError
    return {**dict.fromkeys(above), **nodes, **placed}


def place(nodes: Nodes, entry: Entry) -> tuple[str, bytes | str | None]:
    """Where an entry goes, and as what."""
    match entry:
        case Directory():
            return posixpath.dirname(locate(nodes, f"{entry.path}/x")), None
        case Symlink():
            return locate(nodes, entry.path), entry.target
        case _:
            return locate(nodes, entry.path), b"new"


def parents(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(2, len(names))]


NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))
TARGETS = st.builds(
    lambda start, names: start + "/".join(names),
    st.sampled_from(["", "/"]),
    st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4),
)
ENTRIES = st.lists(
    st.one_of(
        PATHS.map(lambda path: File(path, (Text("new"),))),
        PATHS.map(Directory),
        PATHS.map(Remove),
        st.builds(Symlink, PATHS, TARGETS),
    ),
    max_size=5,
)


@st.composite
def trees(draw: st.DrawFn) -> Nodes:
    wanted = draw(st.dictionaries(PATHS, st.one_of(st.none(), st.just(b"old"), TARGETS), max_size=10))
    nodes: Nodes = {}
    for path, node in sorted(wanted.items()):
        parent = posixpath.dirname(path)
        if parent == "/" or (parent in nodes and nodes[parent] is None):
            nodes[path] = node
    return nodes


@given(trees(), ENTRIES)
def test_apply_leaves_what_the_model_says(nodes: Nodes, entries: list[Entry]) -> None:
    try:
        collect("node", [Contribution("test", entries)])
    except InventoryError:
        return
    expected: Nodes | None
    try:
        expected = model(nodes, entries)
    except RefusedError:
        expected = None
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch, "top")
        top.mkdir()
        plant(top, nodes)
        if expected is None:
            with pytest.raises(MetisError):
                applied(top, *entries)
            assert dump(top) == nodes
        else:
            applied(top, *entries)
            assert dump(top) == expected


def test_a_file_that_an_edit_makes_is_private_where_a_secret_goes_in(tmp_path: Path) -> None:
    top = tmp_path / "top"
    plant(tmp_path, {"/top": None, "/top/etc": None})
    password = (("hash", SecretRef("ssh_password", "password-hash")), ("user", "atlas"))
    edits = (Edit("/etc/shadow", "shadow", password), Edit("/etc/hosts", "hosts", (("names", "titan-13"),)))
    applied(top, *edits, reveal=lambda _: b"*")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (top / "etc").iterdir()}
    assert modes == {"shadow": 0o600, "hosts": 0o644}
