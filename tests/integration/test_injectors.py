"""The contract of the injector port, for each adapter: the same manifest gives the same files.

An appliance takes many seconds to start, so all good cases go into one image per adapter, which is then read
back in one go; the bad ones that leave the image as it was share another.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pytest

from pipeline.errors import MetisError
from pipeline.inject.apply import apply
from pipeline.inject.attaching import attached
from pipeline.inject.loop import LoopInjector
from pipeline.inject.partitions import by_label_or_content
from pipeline.inject.rehearsal import rehearsed
from pipeline.inject.sources import Sources, no_secrets
from pipeline.inject.tree import READ_LIMIT, Contents, Places, Tree, Trees
from pipeline.machine import process
from pipeline.manifest import Contribution, collect
from pipeline.model import Blob, Directory, Edit, Entry, File, Manifest, Remove, Side, Symlink, Text
from pipeline.raw import disk
from pipeline.raw.disk import Disk
from tests.support import goldens
from tests.support.injectors import ADAPTERS, SEARCHING, Adapter, those, usable

MIB = 1 << 20
BLOB = bytes(range(256)) * 4 * 1024 * 30  # 30 MiB
ODD = "/srv/a name with  spaces, ünïcödé, 'quotes\", back\\slash, $(sh) & *?"


def manifest(*entries: Entry) -> Manifest:
    return collect("titan-13", [Contribution("test", entries)])


def file(path: str, text: str = "", mode: int = 0o644, owner: str = "root", side: Side = "root") -> File:
    return File(path, (Text(text),), mode, owner, owner, side)


def open_blob(blob: Blob) -> BinaryIO:
    assert blob.source == "blob"
    return io.BytesIO(BLOB)


SOURCES = Sources(open_blob, no_secrets, {})


@pytest.fixture(params=those())
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return usable(request.param)


@pytest.fixture(params=SEARCHING)
def searching(request: pytest.FixtureRequest) -> Adapter:
    return usable(request.param)


# ------------------------------------------------------------------------------------------ good cases

ROOT_ENTRIES = (
    file("/lib/systemd/system/metis.service", "[Unit]\n"),
    File("/etc/metis/node.json", (Text("{}"),), 0o640, group="ours"),
    file("/etc/os-release", "replaced\n"),  # a link in the golden
    file("/opt/deep/er/file", "x"),
    file(ODD, "odd"),
    file("/srv/empty"),
    file(f"/srv/{'n' * 251}.txt", "a long name"),
    file("/usr/bin/setuid", "#!/bin/sh\n", 0o4755),
    File("/srv/blob", (Blob("0" * 64, "blob"),), 0o600),
    Directory("/etc/sudoers.d", 0o700),
    Directory("/home/atlas", 0o750, "atlas", "atlas"),
    file("/home/atlas/.ssh/authorized_keys", "ssh-ed25519 AAAA ops\n", 0o600, "atlas"),
    file("/srv/by-number", "n", 0o644, "12345"),
    Symlink("/var/run", "/somewhere/else"),  # a link in the golden
    Symlink("/etc/localtime", "../usr/share/zoneinfo/UTC"),
    Remove("/etc/netplan"),
    file("/etc/netplan/99-metis.yaml", "network: {}\n", 0o600),
    Remove("/etc/cloud"),
    Remove("/etc/never/there"),
    Remove("/bin"),  # a link in the golden: its target stays
    Edit("/etc/hosts", "hosts", (("names", "titan-13"),)),
    Edit("/etc/passwd", "passwd", (("home", "/home/atlas"), ("uid", "1000"), ("user", "atlas"))),
    Edit("/etc/shadow", "shadow", (("hash", "*"), ("user", "atlas"))),
    file("/evil-up/stolen", "beneath"),
    file("/evil-absolute/stolen-too", "beneath"),
    Remove("/evil-up/sentinel"),
    Directory("/mnt/longhorn", 0, immutable=True),
    Directory("/var/log", immutable=True),  # a directory of the golden
)
IMMUTABLE = tuple(entry for entry in ROOT_ENTRIES if isinstance(entry, Directory) and entry.immutable)
GROUPS = "root:x:0:\nours:x:42:\natlas:x:1000:\n"
BOOT_ENTRIES = (
    file("/ssh", "", side="boot"),
    file("/overlays/Some-Long.Overlay.dtbo", "d", side="boot"),
    file("/Name with Spaces and ünïcödé.TXT", "u", side="boot"),
    file("/CONFIG.txt", "over\n", side="boot"),
    Remove("/cmdline.txt", side="boot"),
)

Found = dict[str, tuple[str, int, int, int, bytes | str | None]]


@dataclass(frozen=True)
class Applied:
    image: Path
    layout: Disk
    places: Places
    root: Found
    boot: Found
    host: Path
    refused_writing: str
    immutable: frozenset[str]
    again: Found
    hashes: dict[str, str]
    rehearsed: Found


@pytest.fixture(scope="module")
def applied_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Applied]:
    """The image that an adapter made, read back through it; made once for each adapter."""
    return functools.cache(lambda name: make(usable(name), tmp_path_factory.mktemp(name)))


@pytest.fixture(params=those())
def applied(request: pytest.FixtureRequest, applied_by: Callable[[str], Applied]) -> Applied:
    return applied_by(request.param)


def make(adapter: Adapter, folder: Path) -> Applied:
    host = folder.parent / "host"  # the same for all adapters: it stands in the images
    host.mkdir(exist_ok=True)
    (host / "sentinel").write_text("untouched")
    image = folder / "node.img"
    shutil.copy(adapter.golden(), image)
    root = disk.read(image).partitions[-1]
    goldens.debugfs(
        image, root.start, f"symlink /evil-up /../../../..{host}", f"symlink /evil-absolute {host}"
    )
    disk.grow_last(image, root.number, 40 * MIB)
    entries = (*ROOT_ENTRIES, file("/etc/group", GROUPS))
    with adapter.open(image, grow=True) as trees:
        boot = BOOT_ENTRIES if trees.boot else ()
        as_if: Found = {}
        if adapter.rehearses:
            with rehearsed(trees) as tried:
                apply(manifest(*entries, *boot), tried, SOURCES, folder)
                as_if = dump(tried.root)
        apply(manifest(*entries, *boot), trees, SOURCES, folder)
    with refused() as said, adapter.open(image, read_only=True) as trees:
        found, boot_found = dump(trees.root), dump(trees.boot) if trees.boot else {}
        places = trees.places
        hashes = {path: trees.root.sha256(path) for path in ("/srv/blob", "/srv/empty", ODD)}
        folders = [path for path, about in found.items() if about[0] == "directory"]
        immutable = frozenset(path for path in folders if trees.root.is_immutable(path))
        trees.root.remove("/etc/hosts")
    with adapter.open(image) as trees:
        apply(manifest(*IMMUTABLE), trees, SOURCES, folder)
        again = dump(trees.root)
    layout = disk.read(image)
    return Applied(image, layout, places, found, boot_found, host, said[0], immutable, again, hashes, as_if)


class refused:  # noqa: N801 - reads as pytest.raises
    """Expects a MetisError and keeps its line."""

    def __enter__(self) -> list[str]:
        self.said: list[str] = []
        return self.said

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        assert isinstance(error, MetisError), error
        self.said.append(str(error))
        return True


TOO_LONG_TO_READ = {"/srv/blob", "/long"}


def dump(tree: Tree, top: str = "") -> Found:
    found: Found = {}
    for name in tree.list_names(top or "/"):
        path = f"{top}/{name}"
        status = tree.status(path)
        assert status is not None
        content: bytes | str | None = None
        if status.kind == "symlink":
            content = tree.read_link(path)
        elif status.kind == "file" and path not in TOO_LONG_TO_READ:
            content = tree.read(path)
        elif status.kind == "directory":
            found |= dump(tree, path)
        found[path] = (status.kind, status.mode, status.uid, status.gid, content)
    return found


def test_files_have_their_content_mode_and_owner(applied: Applied) -> None:
    root = applied.root
    assert root["/etc/metis/node.json"] == ("file", 0o640, 0, 42, b"{}")
    assert root["/usr/bin/setuid"] == ("file", 0o4755, 0, 0, b"#!/bin/sh\n")
    assert root["/srv/by-number"] == ("file", 0o644, 12345, 12345, b"n")
    assert root["/srv/empty"] == ("file", 0o644, 0, 0, b"")
    assert root[ODD] == ("file", 0o644, 0, 0, b"odd")
    assert root[f"/srv/{'n' * 251}.txt"][4] == b"a long name"


def test_a_large_file_is_whole(applied: Applied, tmp_path: Path) -> None:
    assert applied.root["/srv/blob"][:4] == ("file", 0o600, 0, 0)
    start = applied.layout.partitions[-1].start
    copy = tmp_path / "blob"
    process.run(["debugfs", "-R", f"dump /srv/blob {copy}", f"{applied.image}?offset={start}"])
    assert copy.read_bytes() == BLOB


def test_files_of_any_length_have_their_hash(applied: Applied) -> None:
    contents = {"/srv/blob": BLOB, "/srv/empty": b"", ODD: b"odd"}
    assert applied.hashes == {path: hashlib.sha256(text).hexdigest() for path, text in contents.items()}


def test_names_of_owners_are_those_of_the_image_after_its_edits(applied: Applied) -> None:
    assert applied.root["/home/atlas"][:4] == ("directory", 0o750, 1000, 1000)
    assert applied.root["/home/atlas/.ssh/authorized_keys"][:4] == ("file", 0o600, 1000, 1000)


def test_parents_that_nobody_names_are_made_for_everybody(applied: Applied) -> None:
    for path in ("/opt", "/opt/deep", "/opt/deep/er", "/etc/metis", "/home/atlas/.ssh"):
        assert applied.root[path][:4] == ("directory", 0o755, 0, 0)


def test_links_of_the_golden_are_followed_and_kept(applied: Applied) -> None:
    assert applied.root["/lib"][0::4] == ("symlink", "usr/lib")
    assert applied.root["/usr/lib/systemd/system/metis.service"][4] == b"[Unit]\n"


def test_a_file_replaces_a_link_and_not_its_target(applied: Applied) -> None:
    assert applied.root["/etc/os-release"][0::4] == ("file", b"replaced\n")
    assert applied.root["/usr/lib/os-release"][4] == goldens.OS_RELEASE.encode()


def test_links_hold_what_they_were_given(applied: Applied) -> None:
    assert applied.root["/var/run"][0::4] == ("symlink", "/somewhere/else")
    assert applied.root["/etc/localtime"][0::4] == ("symlink", "../usr/share/zoneinfo/UTC")


def test_what_was_removed_is_gone_and_nothing_else(applied: Applied) -> None:
    assert [path for path in applied.root if path.startswith(("/etc/cloud", "/bin"))] == []
    assert "/usr/bin/true" in applied.root


def test_a_removed_directory_may_be_filled_again(applied: Applied) -> None:
    assert [path for path in applied.root if path.startswith("/etc/netplan/")] == [
        "/etc/netplan/99-metis.yaml"
    ]


def test_edits_keep_mode_and_owner(applied: Applied) -> None:
    assert applied.root["/etc/shadow"][:4] == ("file", 0o640, 0, 42)
    assert "atlas:*:" in str(applied.root["/etc/shadow"][4])
    assert applied.root["/etc/hosts"][4] == (
        b"127.0.0.1\tlocalhost\n127.0.1.1\ttitan-13\n::1\tlocalhost ip6-localhost\n"
    )


def test_an_existing_directory_gets_its_mode(applied: Applied) -> None:
    assert applied.root["/etc/sudoers.d"][:4] == ("directory", 0o700, 0, 0)
    assert applied.root["/tmp"][:4] == ("directory", 0o1777, 0, 0)


def test_only_the_immutable_directories_are_immutable(applied: Applied) -> None:
    assert applied.immutable == {"/mnt/longhorn", "/var/log"}
    assert applied.root["/mnt/longhorn"][:4] == ("directory", 0, 0, 0)


def test_an_immutable_directory_that_is_there_is_no_hindrance(applied: Applied) -> None:
    assert applied.again == applied.root


def test_no_link_in_an_image_leads_to_the_host(applied: Applied) -> None:
    assert {each.name: each.read_text() for each in applied.host.iterdir()} == {"sentinel": "untouched"}
    assert applied.root[f"{applied.host}/stolen"][4] == b"beneath"
    assert applied.root[f"{applied.host}/stolen-too"][4] == b"beneath"


def test_what_is_open_for_reading_cannot_be_written(applied: Applied) -> None:
    assert "Read-only file system" in applied.refused_writing


@pytest.mark.parametrize("name", those(lambda adapter: adapter.rehearses))
def test_a_rehearsal_shows_what_will_be(applied_by: Callable[[str], Applied], name: str) -> None:
    assert applied_by(name).rehearsed == applied_by(name).root


def test_the_file_systems_are_clean(applied: Applied, tmp_path: Path) -> None:
    for part in applied.layout.partitions:
        copy = tmp_path / f"part{part.number}"
        process.run(
            [
                *f"dd bs=1M conv=sparse iflag=skip_bytes,count_bytes skip={part.start}".split(),
                *(f"count={part.size}", f"if={applied.image}", f"of={copy}"),
            ]
        )
        os.truncate(copy, part.size)
        process.run(
            ["fsck.vfat" if part.filesystem == "vfat" else "e2fsck", "-n", *FORCE[part.filesystem], copy]
        )


FORCE: dict[str | None, list[str]] = {"vfat": [], "ext4": ["-f"]}


@pytest.mark.parametrize("name", those(lambda adapter: adapter.mounts_fat))
def test_the_boot_side_keeps_names_and_case(applied_by: Callable[[str], Applied], name: str) -> None:
    boot = applied_by(name).boot
    assert sorted(path for path, found in boot.items() if found[0] == "file") == [
        "/CONFIG.txt",  # in the new file's case, and no second one beside it
        "/Name with Spaces and ünïcödé.TXT",
        "/overlays/Some-Long.Overlay.dtbo",
        "/ssh",
    ]
    assert boot["/CONFIG.txt"][4] == b"over\n"


@pytest.mark.slow
def test_all_adapters_leave_the_same_files(applied_by: Callable[[str], Applied]) -> None:
    one, *others = (dict(applied_by(name).root) for name in ADAPTERS)
    del one["/etc/fstab"]  # the goldens differ in it
    for other in others:
        del other["/etc/fstab"]
        assert one == other


# --------------------------------------------------------------------------------------------- bad cases

REFUSED: dict[str, tuple[Entry, str]] = {
    "a file over a directory": (file("/etc/ssh"), "/etc/ssh in the golden is a directory"),
    "an edit of a link": (Edit("/etc/mtab", "hosts"), "/etc/mtab in the golden is a symlink"),
    "a path beneath a file": (file("/etc/hosts/x"), "/etc/hosts in the golden is not a directory"),
    "a path through a circle": (file("/circle/x"), "leads in a circle"),
    "an owner nobody knows": (file("/srv/x", owner="who"), "/etc/passwd in the golden does not know 'who'"),
    "an edit of a long file": (Edit("/long", "hosts"), f"/long in the golden is {READ_LIMIT + 1} bytes long"),
}


def test_what_an_image_cannot_take_is_refused_before_it_is_changed(adapter: Adapter, tmp_path: Path) -> None:
    image = tmp_path / ".node.img.part"
    shutil.copy(adapter.golden(), image)
    long = tmp_path / "long"
    long.write_bytes(bytes(READ_LIMIT + 1))
    start = disk.read(image).partitions[-1].start
    goldens.debugfs(image, start, "symlink /circle other", "symlink /other /circle", f"write {long} long")
    with (  # noqa: PT012 - one launch for all
        pytest.raises(MetisError, match=r"^the files do not fit into .*: raise image.headroom of the class$"),
        adapter.open(image) as trees,
    ):
        before = dump(trees.root)
        for what, (entry, message) in REFUSED.items():
            with pytest.raises(MetisError) as caught:
                apply(manifest(entry, Remove("/etc/hostname")), trees, SOURCES, tmp_path)
            assert message in str(caught.value), what
        no_boot = Trees(trees.places, trees.root, None)
        with pytest.raises(MetisError, match=r"its golden has none: .*use a Raspberry Pi's image"):
            apply(manifest(file("/ssh", side="boot")), no_boot, SOURCES, tmp_path)
        assert dump(trees.root) == before
        apply(manifest(File("/srv/blob", (Blob("0" * 64, "blob"),))), trees, SOURCES, tmp_path)


def test_the_root_is_found_by_label_or_content_and_only_one(searching: Adapter, tmp_path: Path) -> None:
    image = tmp_path / "node.img"
    shutil.copy(searching.golden(roots=("one", "two")), image)
    last = disk.read(image).partitions[-1].number

    def choose(layout: Disk, contents: Contents) -> Places:
        with pytest.raises(
            MetisError, match=r"two partitions .* root: \d \(label one\) and \d \(label two\)"
        ):
            by_label_or_content({})(layout, contents)
        with pytest.raises(MetisError, match="no root partition with the label 'three'"):
            by_label_or_content({"root": "three"})(layout, contents)
        with pytest.raises(MetisError, match="no boot partition with the label 'NONE'"):
            by_label_or_content({"root": "two", "boot": "NONE"})(layout, contents)
        return by_label_or_content({"root": "two"})(layout, contents)

    with searching.open(image, choose=choose, read_only=True) as trees:
        assert trees.places.root == last
        assert b"LABEL=two" in trees.root.read("/etc/fstab")
        assert (trees.boot is None) == (last == 2)


def test_an_image_without_a_root_is_refused(searching: Adapter, tmp_path: Path) -> None:
    image = tmp_path / "node.img"
    shutil.copy(searching.golden(roots=()), image)
    with (
        pytest.raises(MetisError, match=r"^the golden has no root partition: expected a file system with"),
        searching.open(image),
    ):
        pass


# ----------------------------------------------------------------------------------- of the loop adapter


@pytest.fixture
def loops() -> Callable[[], str]:
    """Tells which files have a loop device."""
    usable("loop")
    return lambda: str(process.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"]).out)


def test_nothing_stays_mounted_or_attached(
    loops: Callable[[], str], tiny_golden: Path, tmp_path: Path
) -> None:
    image = tmp_path / "node.img"
    shutil.copy(tiny_golden, image)
    with pytest.raises(ZeroDivisionError), ADAPTERS["loop"].open(image, grow=True) as trees:  # noqa: PT012
        assert str(image) in loops()
        assert str(image) not in Path("/proc/self/mountinfo").read_text()
        raise ZeroDivisionError
    assert str(image) not in loops()
    assert trees.places.root == 1


def test_a_loop_device_shows_just_its_part_and_goes_when_nobody_has_it(
    loops: Callable[[], str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"".join(bytes([number]) * 512 for number in range(8)))
    for start, size, read_only in ((0, 4096, True), (512, 1024, False), (2048, 512, True)):
        with attached(file, start, size, read_only=read_only) as loop:
            assert str(file) in loops()
            assert Path(loop.device).read_bytes() == file.read_bytes()[start : start + size]
        loop.wait_until_gone()
        assert str(file) not in loops()


def test_what_cannot_be_attached_is_said(loops: Callable[[], str], tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with (
            pytest.raises(MetisError, match=f"cannot make a loop device of {path.name}: {why}"),
            attached(path, 0, 512, read_only=False),
        ):
            pass


def test_a_driver_that_the_kernel_lacks_is_said(loops: Callable[[], str], tmp_path: Path) -> None:
    image = tmp_path / "node.img"
    shutil.copy(goldens.tiny_golden(), image)
    layout = disk.read(image)
    strange = replace(layout, partitions=(replace(layout.partitions[0], filesystem="strangefs"),))
    opened = LoopInjector().open(image, strange, lambda *_: Places(1, None))
    with (
        pytest.raises(MetisError, match="this kernel has no driver for strangefs: use METIS_INJECTOR"),
        opened,
    ):
        pass
    assert str(image) not in loops()


def test_a_damaged_root_is_not_grown(loops: Callable[[], str], tmp_path: Path) -> None:
    image = tmp_path / "node.img"
    shutil.copy(goldens.tiny_golden(), image)
    start = disk.read(image).partitions[0].start
    goldens.debugfs(image, start, "clri /etc")
    with (
        pytest.raises(MetisError, match=r"the root of node.img is damaged"),
        ADAPTERS["loop"].open(image, grow=True),
    ):
        pass
    assert str(image) not in loops()


def test_only_root_may_use_loops(monkeypatch: pytest.MonkeyPatch, tiny_golden: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MetisError, match="METIS_INJECTOR=guestfs"), ADAPTERS["loop"].open(tiny_golden):
        pass
