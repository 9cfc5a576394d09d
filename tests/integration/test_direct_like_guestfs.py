"""Any tree of files: the direct injector puts it in as it is asked, and just as the appliance does.

The trees that hypothesis thinks of go into one image, one beside the other; the appliance, which takes long
to start, gets all of them in one launch, and reads both images.
"""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.golden.schemes import CREDENTIALS
from pipeline.inject.appliance import Appliance
from pipeline.inject.apply import apply
from pipeline.inject.direct import DirectInjector
from pipeline.inject.guestfs import GuestfsTree
from pipeline.inject.partitions import exactly
from pipeline.inject.sources import Sources, no_secrets
from pipeline.inject.tree import Places, Status, Tree, Trees
from pipeline.lab.lab import user_cache
from pipeline.machine.progress import QuietReporter
from pipeline.manifest import Contribution, collect
from pipeline.model import Directory, Entry, File, Manifest, Remove, Side, Symlink, Text
from pipeline.raw import disk
from tests.support import goldens
from tests.support.injectors import usable

PLACES = Places(2, 1)
EXAMPLES = 10
SIZES = (0, 1, 59, 60, 1023, 1024, 1025, 5000, 70_000)

Leaf = tuple[str, int, int, int, str]
"""What it is, its mode, user and group, and its content or target."""
Shape = Mapping[str, "Leaf | Shape"]

# ---------------------------------------------------------------------------------------- any tree


def named(forbidden: str, last: int) -> st.SearchStrategy[str]:
    letters = st.characters(
        max_codepoint=last, categories=("L", "M", "N", "P", "S", "Zs"), exclude_characters=forbidden
    )
    return st.text(letters, min_size=1, max_size=40).filter(
        lambda name: name not in {".", ".."} and name[-1] not in ". " and len(name.encode()) <= 255
    )


modes = st.integers(0, 0o7777)
owners = st.sampled_from((0, 1, 1000, 65534, 65536, 100_000, 0xFFFF_FFFE))
texts = st.builds(
    lambda word, size: (word * size)[:size], st.text(min_size=1, max_size=8), st.sampled_from(SIZES)
)
files = st.tuples(st.just("file"), modes, owners, owners, texts)
folders = st.tuples(st.just("directory"), modes, owners, owners, st.just(""))
targets = st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs")), min_size=1, max_size=300)
links = st.tuples(st.just("symlink"), st.just(0o777), st.just(0), st.just(0), targets)


def shapes(
    names: st.SearchStrategy[str], leaves: st.SearchStrategy[Leaf], most: int
) -> st.SearchStrategy[Shape]:
    below = st.recursive(leaves, lambda deeper: st.dictionaries(names, deeper, max_size=3), max_leaves=most)
    return st.dictionaries(names, below, max_size=most)


root_shapes = shapes(named("/", 0x10FFFF), st.one_of(files, folders, links), 6)
plain = st.tuples(st.just("file"), st.just(0o644), st.just(0), st.just(0), texts)
sayable = named('/<>:"|?*\\[]', 0xD7FF).filter(lambda name: name.isascii() or len(name) > 12)
boot_shapes = shapes(sayable, plain, 2)


def entries(shape: Shape, top: str, side: Side) -> Iterator[Entry]:
    """A shape beneath a directory; on FAT the first of two names that differ in case only."""
    seen: set[str] = set()
    for name, node in shape.items():
        key = name.casefold() if side == "boot" else name
        path = posixpath.join(top, name)
        if key in seen:
            continue
        seen.add(key)
        if isinstance(node, Mapping):
            yield from entries(node, path, side)
            continue
        kind, mode, uid, gid, text = node
        owner, group = (str(uid), str(gid)) if side == "root" else ("root", "root")
        if kind == "file":
            yield File(path, (Text(text),), mode, owner, group, side)
        elif kind == "directory":
            yield Directory(path, mode, owner, group, side)
        else:
            yield Symlink(path, text)


def manifests(number: int, shape: Shape, boot: Shape, removed: Sequence[int]) -> list[Manifest]:
    """One that puts a tree in, and one that takes some of it out and puts other things there."""
    top = f"/srv/{number}"
    first = [*entries(shape, top, "root"), *entries(boot, f"/{number}", "boot")]
    second: dict[str, Entry] = {}
    for index in removed:
        entry = first[index % len(first)] if first else Remove(top)
        second[f"{entry.side}{entry.path}"] = (
            File(entry.path, (Text("instead"),), side=entry.side)
            if index % 3 == 0 and isinstance(entry, File | Symlink)
            else Remove(entry.path, side=entry.side)
        )
    return [collect("titan-13", [Contribution("test", each)]) for each in (first, [*second.values()])]


# ----------------------------------------------------------------------------------------- the test

Found = dict[str, tuple[Status | str, str | bytes]]


def dump(tree: Tree, top: str) -> Found:
    found: Found = {}
    for name in tree.list_names(top):
        path = posixpath.join(top, name)
        status = tree.status(path)
        assert status is not None
        if status.kind == "directory":
            found |= dump(tree, path)
        content: str | bytes = ""
        if status.kind != "directory":
            content = tree.read_link(path) if status.kind == "symlink" else tree.read(path)
        found[path] = (status if top.startswith("/srv") else status.kind, content)
    return found


def dumps(trees: Trees) -> tuple[Found, Found]:
    assert trees.boot is not None
    return dump(trees.root, "/srv"), dump(trees.boot, "/")  # where modes are the mount's matter


def expected(manifest: Manifest) -> Found:
    """What a manifest says of the root, where nothing was before."""
    found: Found = {}
    for item in manifest.entries:
        match item.entry:
            case File(path, (Text(text),), mode, owner, group, "root"):
                found[path] = (Status("file", mode, int(owner), int(group)), text.encode())
            case Directory(path, mode, owner, group, side="root"):
                found[path] = (Status("directory", mode, int(owner), int(group)), "")
            case Symlink(path, target):
                found[path] = (Status("symlink", 0o777, 0, 0), target)
    return found


def no_blob(_: object) -> None:
    raise AssertionError


SOURCES = Sources(no_blob, no_secrets, {})  # type: ignore[arg-type]


def opened(image: Path, *, read_only: bool = False) -> AbstractContextManager[Trees]:
    return DirectInjector().open(image, disk.read(image), exactly(PLACES), read_only=read_only)


@contextmanager
def in_an_appliance(image: Path, other: Path) -> Iterator[tuple[Trees, Trees]]:
    """The trees of two images in one appliance, the second ones for reading."""
    import guestfs

    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    if Appliance(user_cache() / "appliance.json", QuietReporter(), CREDENTIALS).accelerator() == "tcg":
        handle.set_backend_settings(["force_tcg"])
    handle.add_drive_opts(str(image), format="raw", cachemode="unsafe")
    handle.add_drive_opts(str(other), format="raw", readonly=True)
    handle.launch()
    for device, mount in (("a", handle.mount), ("b", handle.mount_ro)):
        for number in (1, 2):
            handle.mkmountpoint(f"/{device}{number}")
            mount(f"/dev/sd{device}{number}", f"/{device}{number}")
    one, two = (
        Trees(PLACES, GuestfsTree(handle, f"/{device}2"), GuestfsTree(handle, f"/{device}1"))
        for device in "ab"
    )
    try:
        yield one, two
        handle.umount_all()
        handle.shutdown()
    finally:
        handle.close()


@pytest.mark.slow
def test_any_tree_is_put_in_as_it_is_asked_and_as_the_appliance_does_it(tmp_path: Path) -> None:
    usable("guestfs")
    golden = goldens.tiny_pi_golden(size=128)
    ours, theirs = (Path(shutil.copy(golden, tmp_path / name)) for name in ("direct.img", "guestfs.img"))
    put: list[Manifest] = []
    for image in (ours, theirs):
        goldens.debugfs(image, disk.read(image).partitions[-1].start, "mkdir srv")
    with opened(ours) as trees:

        @settings(max_examples=EXAMPLES, suppress_health_check=[*HealthCheck], database=None)
        @given(root_shapes, boot_shapes, st.lists(st.integers(0, 1000), max_size=3))
        def all_are_put_in(shape: Shape, boot: Shape, removed: Sequence[int]) -> None:
            first, second = manifests(len(put), shape, boot, removed)
            apply(first, trees, SOURCES, tmp_path)
            found = dump(trees.root, "/srv")
            assert expected(first).items() <= found.items()
            apply(second, trees, SOURCES, tmp_path)
            put.extend((first, second))

        all_are_put_in()
    with in_an_appliance(theirs, ours) as (trees, read):
        for each in put:
            apply(each, trees, SOURCES, tmp_path)
        made, ours_there = dumps(trees), dumps(read)
    assert ours_there == made
    for image in (ours, theirs):
        with opened(image, read_only=True) as trees:
            assert dumps(trees) == made
    assert sum(map(len, made)) > EXAMPLES
