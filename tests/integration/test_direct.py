"""What the direct injector refuses, the traps of its tools, and images that are made to mislead it."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
import shutil
import struct
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.golden.fetch import Fetched
from pipeline.inject import direct, ext_tree, strays
from pipeline.inject.apply import apply
from pipeline.inject.auto import AutoInjector
from pipeline.inject.compare import compare
from pipeline.inject.direct import DirectInjector
from pipeline.inject.loop import LoopInjector
from pipeline.inject.partitions import by_label_or_content, exactly
from pipeline.inject.sources import Sources, no_secrets
from pipeline.inject.tree import Chooser, NotExactError, Places, Trees
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.manifest import Contribution, collect
from pipeline.model import Directory, Entry, File, Manifest, Remove, Side, Symlink, Text
from pipeline.raw import disk
from pipeline.steps.build import Tools, make_base
from pipeline.steps.ids import BaseManifest
from pipeline.steps.verify import read_back
from tests.support import goldens
from tests.support.injectors import usable
from tests.support.lab import REPOSITORY
from tests.support.waiting import PATIENCE

MIB = 1 << 20
SEARCH = by_label_or_content({})


def no_blob(_: object) -> object:
    raise AssertionError


SOURCES = Sources(no_blob, no_secrets, {})  # type: ignore[arg-type]


def manifest(*entries: Entry) -> Manifest:
    return collect("titan-13", [Contribution("test", entries)])


def file(path: str, text: str = "new", side: Side = "root") -> File:
    return File(path, (Text(text),), 0o644, side=side)


def opened(
    image: Path, choose: Chooser = SEARCH, *, grow: bool = False, read_only: bool = False
) -> AbstractContextManager[Trees]:
    return DirectInjector().open(image, disk.read(image), choose, grow=grow, read_only=read_only)


def put(image: Path, *entries: Entry, choose: Chooser = SEARCH) -> None:
    with opened(image, choose) as trees:
        apply(manifest(*entries), trees, SOURCES, image.parent)


def debugfs(image: Path, *commands: str) -> None:
    goldens.debugfs(image, disk.read(image).partitions[-1].start, *commands)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return Path(shutil.copy(goldens.tiny_golden(), tmp_path / "node.img"))


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    return Path(shutil.copy(goldens.tiny_pi_golden(), tmp_path / "pi.img"))


def sha256(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()


# --------------------------------------------------------------------------- refused before a change

REFUSED = {
    "a journal to replay": (["feature needs_recovery"], "its journal waits to be replayed"),
    "mounted when the power went": (["ssv state 0"], "it was not put away well"),
    "orphans": (["ssv last_orphan 12"], "files without a name wait to be removed"),
    "quotas": (["feature quota"], "it has quota"),
    "encryption": (["feature encrypt"], "it has encrypt"),
    "inline data": (["feature inline_data"], "it has inline_data"),
    "more blocks than the partition": (["ssv blocks_count 1000000"], "it is larger than its partition"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("read_only", [False, True])
def test_what_only_a_kernel_does_is_refused_and_left_as_it_is(
    image: Path, case: str, *, read_only: bool
) -> None:
    commands, reason = REFUSED[case]
    debugfs(image, *commands)
    before = sha256(image)
    with (
        pytest.raises(
            NotExactError, match=rf"^node.img .* partition 1: {reason}: use METIS_INJECTOR=guestfs"
        ),
        opened(image, exactly(Places(1, None)), read_only=read_only),
    ):
        pass
    assert sha256(image) == before


@pytest.mark.parametrize("kind", ["xfs", "btrfs", "LVM2_member", "crypto_LUKS"])
def test_another_file_system_is_refused_by_its_name(image: Path, kind: str) -> None:
    layout = disk.read(image)
    strange = replace(layout, partitions=(replace(layout.partitions[0], filesystem=kind),))
    with (
        pytest.raises(NotExactError, match=f"partition 1.* is {kind}"),
        DirectInjector().open(image, strange, SEARCH),
    ):
        pass


def test_a_fat_that_was_in_use_is_refused(pi: Path) -> None:
    start = disk.read(pi).partitions[0].start
    with pi.open("rb+") as raw:
        os.pwrite(raw.fileno(), b"\x01", start + 0x25)
    with pytest.raises(NotExactError, match="partition 1: it was not put away well"), opened(pi):
        pass


# ------------------------------------------------------------------------------- refused while at it


def test_what_the_kernel_would_hand_down_is_refused(image: Path, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_bytes(bytes.fromhex("02000000 01000700 ffffffff 04000500 ffffffff 20000500 ffffffff"))
    debugfs(image, f"ea_set -f {acl} /home system.posix_acl_default", "sif /mnt flags 0x80040")
    with pytest.raises(NotExactError, match="/home hands an access list down to /home/new"):
        put(image, file("/home/new"))
    with pytest.raises(NotExactError, match="/home has an access list"):
        put(image, Directory("/home", 0o700))
    with pytest.raises(NotExactError, match="/mnt hands down to /mnt/new"):
        put(image, file("/mnt/new"))
    put(image, file("/srv/new"))


@pytest.mark.parametrize("flags", ["0x80010", "0x80020"], ids=["immutable", "append only"])
def test_what_nobody_may_change_is_not_changed(image: Path, flags: str) -> None:
    debugfs(image, f"sif /etc/hostname flags {flags}", f"sif /etc/ssh flags {flags}")
    for entry in (file("/etc/hostname"), Remove("/etc/hostname"), file("/etc/ssh/new"), Remove("/etc/ssh")):
        with pytest.raises(MetisError, match=r"^/etc/.* of node.img: Operation not permitted"):
            put(image, entry)
        with opened(image, read_only=True) as trees:
            assert trees.root.read("/etc/hostname") == b"golden\n"


def test_a_damaged_file_system_never_counts(image: Path) -> None:
    debugfs(image, "clri /etc/ssh")
    with pytest.raises(NotExactError, match="e2fsck then finds"):
        put(image, file("/srv/new"))


@pytest.mark.parametrize("side", ["root", "boot"])
def test_a_check_that_finds_no_end_of_faults_never_counts(
    pi: Path, monkeypatch: pytest.MonkeyPatch, side: Side
) -> None:
    monkeypatch.setattr(direct, "_WORDS", 9)
    with pytest.raises(NotExactError, match="said more than 9 bytes"):
        put(pi, file("/new", side=side))


def test_what_is_found_out_too_late_is_made_anew_by_the_second_injector(image: Path, tmp_path: Path) -> None:
    usable("loop")
    debugfs(image, "sif /mnt flags 0x80040")
    target = tmp_path / "base.img"
    wanted = BaseManifest(manifest(file("/mnt/new"), file("/etc/hostname")), 8 * MIB, {})
    tools = Tools(DirectInjector(), SOURCES.open_blob, QuietReporter())
    golden = Fetched(image, sha256(image))
    with pytest.raises(NotExactError):
        make_base(golden, wanted, target, 1 << 40, tools)
    assert not list(tmp_path.glob("*base*"))
    make_base(golden, wanted, target, 1 << 40, replace(tools, second=LoopInjector))
    with opened(target, read_only=True) as trees:
        assert trees.root.read("/mnt/new") == trees.root.read("/etc/hostname") == b"new"


def test_auto_opens_by_the_second_injector_what_the_first_one_refuses(image: Path) -> None:
    usable("loop")
    debugfs(image, "feature quota")
    said: list[str] = []
    both = AutoInjector(DirectInjector(), LoopInjector, said.append)
    with both.open(image, disk.read(image), SEARCH, read_only=True) as trees:
        assert trees.root.read("/etc/hostname") == b"golden\n"
    assert len(said) == 1
    assert said[0].endswith("partition 1: it has quota: the appliance does it")
    with (
        pytest.raises(MetisError, match="no root partition with the label 'x'"),
        both.open(image, disk.read(image), by_label_or_content({"root": "x"})),
    ):
        pass


UNCLEAR: dict[str, tuple[str, Sequence[Entry]]] = {
    "where a path leads": ("/link", [file("/link/hostname")]),
    "what a link holds": ("/link", [Symlink("/link", "etc")]),
    "where what is ours would be": ("/etc/rancher", []),
}
NO_BASE = BaseManifest(manifest(Remove("/etc/netplan")), 0, {})


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_only_a_kernel_can_tell_is_neither_said_to_differ_nor_passed_over(
    image: Path, case: str
) -> None:
    link, entries = UNCLEAR[case]
    debugfs(image, "feature -metadata_csum", f"symlink {link} TTTTTTTT")
    image.write_bytes(image.read_bytes().replace(b"TTTTTTTT", b"/etc\0TTT"))
    tools = Tools(DirectInjector(), SOURCES.open_blob, QuietReporter())
    with pytest.raises(NotExactError, match=f"{link}: it is a link with a byte in it that none can have"):
        read_back(image, NO_BASE, manifest(*entries), no_secrets, tools)


def test_what_the_first_injector_cannot_tell_is_read_back_by_the_second_one(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable("loop")
    target = "x" * 100
    debugfs(image, f"symlink /link {target}")
    monkeypatch.setattr(ext_tree, "_LIMIT", len(target))
    tools = Tools(DirectInjector(), SOURCES.open_blob, QuietReporter(), LoopInjector)
    verdict = read_back(image, NO_BASE, manifest(Symlink("/link", target)), no_secrets, tools)
    assert [finding.path for finding in verdict.findings if "netplan" not in finding.path] == []


def test_what_a_stranger_named_commands_no_terminal(image: Path) -> None:
    usable("loop")
    name = "/\x1b[2J"
    debugfs(image, "rm /etc/os-release", f"symlink /etc/os-release {name}", f"symlink {name} {'x' * 100}")
    debugfs(image, f"sif {name} size 3000000000")
    said: list[str] = []
    both = AutoInjector(DirectInjector(), LoopInjector, said.append)
    with suppress(MetisError), both.open(image, disk.read(image), SEARCH, read_only=True):
        pass
    assert [line.isprintable() and "/\\x1b[2J: it is a link" in line for line in said] == [True]


# --------------------------------------------------------------------------------- traps of the tools


@pytest.mark.parametrize("table", ["gpt", "mbr"])
def test_a_root_that_grows_leaves_all_behind_it_as_it_is(tmp_path: Path, table: goldens.Table) -> None:
    """resize2fs at an offset would cut the file off, by what lies before the file system."""
    image = Path(shutil.copy(goldens.tiny_golden(table=table), tmp_path / "node.img"))
    last = disk.grow_last(image, 1, 40 * MIB).partitions[-1]
    size = image.stat().st_size
    with image.open("rb+") as raw:
        behind = os.pread(raw.fileno(), size, last.end)
    with opened(image, grow=True) as trees:
        apply(manifest(file("/srv/new")), trees, SOURCES, tmp_path)
    assert image.stat().st_size == size
    assert image.read_bytes()[last.end :] == behind
    process.run(["sfdisk", "--verify", image])
    said = process.run(["dumpe2fs", "-h", f"{image}?offset={last.start}"]).out.decode()
    count, block = (int(said.partition(f"{name}:")[2].split()[0]) for name in ("Block count", "Block size"))
    assert count * block == last.size
    assert image.stat().st_blocks * 512 < size  # no hole was filled


AT_ONCE = {"RESIZE2FS_FORCE_ITABLE_INIT": "1"}
"""What resize2fs does where /sys/fs/ext4/features has no lazy_itable_init."""
GROWN: dict[str, tuple[list[str], dict[str, str]]] = {
    "without checksums": (["-O", "^metadata_csum,^uninit_bg"], {}),
    "with checksums of groups": (["-O", "^metadata_csum,uninit_bg"], AT_ONCE),
    "as usual": ([], {}),
    "by a kernel that writes no inode tables later": ([], AT_ONCE),
}


@pytest.mark.parametrize("case", GROWN)
def test_a_root_grows_as_one_on_a_disk_of_its_own_does_whatever_was_in_its_free_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """resize2fs makes holes where it wants zeros."""
    options, more = GROWN[case]
    environment = {"E2FSPROGS_FAKE_TIME": "1800000000", "E2FSCK_TIME": "1800000000", **more}
    monkeypatch.setattr(process, "ALLOWED", process.ALLOWED | environment.keys())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    image, alone = tmp_path / "node.img", tmp_path / "alone.img"
    start = goldens.partition(image, "mbr", [("root", 48)])[0]
    alone.write_bytes(b"residue." * (16 * MIB // 8))
    process.run(["mkfs.ext4", "-q", "-F", "-b", "1024", "-E", "nodiscard", *options, alone])
    with image.open("rb+") as raw:
        os.pwrite(raw.fileno(), alone.read_bytes(), start)
    with opened(image, exactly(Places(1, None)), grow=True):
        pass
    os.truncate(alone, 48 * MIB)
    process.run(["e2fsck", "-f", "-p", alone])
    process.run(["resize2fs", alone])
    wanted, found = alone.read_bytes(), image.read_bytes()[start : start + 48 * MIB]
    assert [at for at in range(0, len(wanted), 1024) if wanted[at : at + 1024] != found[at : at + 1024]] == []


def test_a_name_of_the_image_misleads_no_tool(tmp_path: Path) -> None:
    image = Path(shutil.copy(goldens.tiny_pi_golden(), tmp_path / "a b?offset=0@@0 ünï\n.img"))
    start, place = disk.read(goldens.tiny_pi_golden()), exactly(Places(2, 1))
    with DirectInjector().open(image, start, place, grow=True) as trees:
        apply(manifest(file("/x", side="boot"), file("/srv/x")), trees, SOURCES, tmp_path)
    with DirectInjector().open(image, start, place, read_only=True) as trees:
        assert trees.root.read("/srv/x") == b"new"
        assert trees.boot is not None
        assert trees.boot.read("/x") == b"new"
    assert sorted(each.name for each in tmp_path.iterdir()) == [image.name]


def test_a_full_fat_is_said(pi: Path) -> None:
    """mcopy ends well, and leaves a part of the file."""
    with pytest.raises(MetisError, match=r"^the files do not fit into pi.img: raise image.headroom"):
        put(pi, file("/big", "x" * (9 << 20), side="boot"))


def test_a_fat_is_not_said_to_be_full_where_only_mtools_finds_no_room_for_a_name(pi: Path) -> None:
    """It lets a directory grow by one cluster, and a long name takes more than a small one has."""
    names = [*(f"f{number}" for number in range(12)), "n" * 255]
    with pytest.raises(NotExactError, match="mcopy: No directory slots"):
        put(pi, *(file(f"/overlays/{name}", side="boot") for name in names))


@pytest.fixture
def boot(pi: Path) -> Iterator[Trees]:
    with opened(pi) as trees:
        yield trees


@pytest.mark.parametrize("name", ["[ab].txt", "x]", "ġ", "é.txt", "Ž"])
def test_a_name_that_mtools_takes_for_another_one_is_refused(boot: Trees, name: str, tmp_path: Path) -> None:
    with pytest.raises(NotExactError, match="cannot be said to mtools"):
        apply(manifest(file(f"/{name}", side="boot")), boot, SOURCES, tmp_path)


def test_a_directory_of_a_fat_is_not_read_as_its_files(boot: Trees, tmp_path: Path) -> None:
    apply(manifest(file("/overlays/a.dtbo", side="boot")), boot, SOURCES, tmp_path)
    assert boot.boot is not None
    with pytest.raises(MetisError, match=r"^/overlays of pi.img: is not a regular file"):
        boot.boot.read("/overlays")
    assert boot.boot.list_names("/overlays") == ["a.dtbo"]
    boot.boot.remove("/OVERLAYS")
    assert boot.boot.status("/overlays") is None


def test_an_empty_fat_has_no_names_and_takes_a_file(boot: Trees, tmp_path: Path) -> None:
    tree = boot.boot
    assert tree is not None
    for name in tree.list_names("/"):
        tree.remove(f"/{name}")
    assert tree.list_names("/") == []
    apply(manifest(file("/now", side="boot")), boot, SOURCES, tmp_path)
    assert tree.read("/NOW") == b"new"


AT_A_TERMINAL = """
import sys
from pipeline.inject.fat_tree import FatTree
tree = FatTree(sys.argv[1], int(sys.argv[2]), "pi.img", read_only=False)
tree.remove("/config.txt")
tree.remove("/kept")
"""


def test_no_tool_asks_at_a_terminal_whether_to_remove_what_is_for_reading_only(pi: Path) -> None:
    """mdel would wait there for an answer that nobody can give it."""
    start = disk.read(pi).partitions[0].start
    place = f"{pi}@@{start}"
    process.run(["mmd", "-i", place, "::/kept", "::/kept/deeper"])
    process.run(["mattrib", "-i", place, "+r", "::/config.txt", "::/kept", "::/kept/deeper"])
    child = [sys.executable, "-c", AT_A_TERMINAL, str(pi), str(start)]
    words = ["script", "--quiet", "--return", "--command", shlex.join(child), "/dev/null"]
    said = process.run(words, cwd=REPOSITORY, timeout=PATIENCE, check=False)
    assert (said.code, said.out) == (0, b"")
    with opened(pi) as trees:
        assert trees.boot is not None
        assert trees.boot.list_names("/") == ["cmdline.txt"]


def test_a_fat_tells_letters_apart_that_we_cannot(boot: Trees, tmp_path: Path) -> None:
    apply(manifest(file("/a long É.txt", side="boot")), boot, SOURCES, tmp_path)
    with pytest.raises(NotExactError, match="is there in another case"):
        apply(manifest(file("/a long é.txt", side="boot")), boot, SOURCES, tmp_path)


# ------------------------------------------------------------------------------------ hostile images


ODD = ["a\nb", "q\"u'o;te", "-rf", "\x1b[2J", "ünï", "n" * 255, "\udcff\udcfe", " ", "::", "<12>"]


def test_names_that_debugfs_has_no_words_for_are_read_and_removed(image: Path, tmp_path: Path) -> None:
    archive = tmp_path / "odd.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as members:
        for name in ODD:
            member = tarfile.TarInfo(f"home/{name}")
            member.size = len(name)
            members.addfile(member, io.BytesIO(b"x" * len(name)))
    with opened(image) as trees:
        trees.root.extract(archive)
        trees.root.remove("/home/-rf")
    with opened(image, read_only=True) as trees:
        left = [name for name in ODD if name != "-rf"]
        assert sorted(trees.root.list_names("/home")) == sorted(left)
        assert [len(trees.root.read(f"/home/{name}")) for name in left] == [len(name) for name in left]


def test_links_lead_around_in_the_image_only(image: Path) -> None:
    debugfs(image, f"symlink /out {'../' * 9}etc", "symlink /self /self")
    with opened(image) as trees:
        assert trees.root.list_names("/out/.") == trees.root.list_names("/etc")
        with pytest.raises(MetisError, match="/self/x"):
            trees.root.read("/self/x")
        trees.root.remove("/out")
        assert trees.root.status("/out") is None
        assert trees.root.status("/etc/hostname") is not None


CRAFTED: dict[str, tuple[str, bytes, bytes, str]] = {
    "a name that leads out": (
        "mkdir /srv/{}",
        b"NNNNNN",
        b"../etc",
        "/srv: it has a name that none can have",
    ),
    "a name with a zero": ("mkdir /srv/{}", b"NNNNNN", b"etc\0/x", "/srv: it has a name that none can have"),
    "a link with a zero": (
        "symlink /srv/link {}",
        b"TTTTTTTT",
        b"etc\0/../",
        "/srv/link: it is a link with a",
    ),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_a_name_that_no_kernel_makes_is_refused(image: Path, case: str) -> None:
    """We would read it otherwise than the kernel does, which stops at the zero or gives no such name."""
    command, placeholder, crafted, words = CRAFTED[case]
    debugfs(image, "feature -metadata_csum", "mkdir /srv", command.format(placeholder.decode()))
    image.write_bytes(image.read_bytes().replace(placeholder, crafted))
    with opened(image, read_only=True) as trees, pytest.raises(NotExactError, match=words):
        [trees.root.read_link(f"/srv/{name}") for name in trees.root.list_names("/srv")]


def test_a_link_of_gigabytes_is_refused(image: Path) -> None:
    debugfs(image, f"symlink /long {'x' * 100}", "sif /long size 3000000000")
    with (
        opened(image, read_only=True) as trees,
        pytest.raises(NotExactError, match="/long: it is a link of 3000000000 bytes"),
    ):
        trees.root.read_link("/long")


def test_a_directory_of_millions_of_names_in_four_blocks_is_refused(image: Path, tmp_path: Path) -> None:
    """Each block of pointers points to one block only, 256 times."""
    start, pointers = disk.read(image).partitions[-1].start, tmp_path / "pointers"
    debugfs(image, "mkdir /many", *(f"ln /etc/hostname /many/{name}" for name in range(20)))
    path = "/many"
    for level in range(2):
        said = process.run(["debugfs", "-R", f"bmap {path} 0", f"{image}?offset={start}"]).out
        pointers.write_bytes(struct.pack("<I", int(said)) * 256)
        path = f"/pointers-{level}"
        debugfs(image, f"write {pointers} {path}")
    said = process.run(["debugfs", "-R", f"bmap {path} 0", f"{image}?offset={start}"]).out
    no_extents = (f"sif /many block[{place}] 0" for place in range(6))
    debugfs(image, "sif /many flags 0", *no_extents, f"sif /many block[DIND] {int(said)}")
    with (
        opened(image, read_only=True) as trees,
        pytest.raises(NotExactError, match="/many: it has more than 262144 names"),
    ):
        trees.root.list_names("/many")


SHARED = {
    "in themselves, by a long name": (["mkdir /srv/{}", "ln /srv /srv/{}/more"], 255),
    "in themselves, by two names": (["mkdir /srv/{}", "ln /srv /srv/{}/a", "ln /srv /srv/{}/b"], 1),
}


@pytest.mark.parametrize("case", SHARED)
def test_directories_that_are_in_themselves_have_an_end_for_who_looks_for_strays(
    image: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(strays, "_MOST", 500)
    commands, length = SHARED[case]
    debugfs(image, "mkdir /srv", *(command.format("n" * length) for command in commands))
    with (
        opened(image, read_only=True) as trees,
        pytest.raises(
            MetisError, match=r"^/srv holds more than 500 names, or a path longer than 4096 letters"
        ),
    ):
        compare(manifest(), manifest(), trees, SOURCES, {"root": {"/srv": "it is ours"}, "boot": {}})


def nested(pi: Path, depth: int) -> tuple[Path, list[int]]:
    """An image whose FAT has directories `0` in each other, and where the entries for them are in it."""
    start = disk.read(pi).partitions[0].start
    paths = [f"::{'/0' * level}" for level in range(1, depth + 1)]
    process.run(["mmd", "-i", f"{pi}@@{start}", *paths])
    return pi, [found.start() for found in re.finditer(rb"0 {10}\x10", pi.read_bytes())]


def test_directories_that_share_their_files_do_not_fill_the_memory(pi: Path) -> None:
    """Eight names for each of thirty directories in each other: 8 ** 30 paths, in a few KiB."""
    image, entries = nested(pi, 30)
    with image.open("rb+") as raw:
        for place in entries:
            entry = os.pread(raw.fileno(), 32, place)
            os.pwrite(raw.fileno(), b"".join(b"%d" % name + entry[1:] for name in range(8)), place)
    with opened(image, exactly(Places(2, 1)), read_only=True) as trees:
        assert trees.boot is not None
        with pytest.raises(NotExactError, match="mdir said more than"):
            trees.boot.status("/config.txt")


def test_a_directory_of_a_fat_that_is_in_itself_is_refused(pi: Path) -> None:
    """mdir goes round in it until its stack is full."""
    image, (above, below) = nested(pi, 2)
    with image.open("rb+") as raw:
        os.pwrite(raw.fileno(), os.pread(raw.fileno(), 32, above), below)
    with opened(image, exactly(Places(2, 1)), read_only=True) as trees:
        assert trees.boot is not None
        with pytest.raises(NotExactError, match="mdir"):
            trees.boot.status("/config.txt")


FAULTS = {
    "a file begins outside of the FAT": (b"CONFIG  TXT", 26, b"\xf0\xff", "mtype failed"),
    "a file begins before all files": (b"CONFIG  TXT", 26, b"\1\0", "mtype failed"),
    "a name like a path": (b"CONFIG  TXT", 0, b"A/B     TXT", "cannot be told apart"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fat_that_a_kernel_would_complain_of_is_refused(pi: Path, case: str) -> None:
    entry, place, data, words = FAULTS[case]
    with pi.open("rb+") as raw:
        os.pwrite(raw.fileno(), data, pi.read_bytes().index(entry) + place)
    with opened(pi, exactly(Places(2, 1)), read_only=True) as trees:
        assert trees.boot is not None
        with pytest.raises(NotExactError, match=words):
            trees.boot.sha256("/config.txt")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 700 << 10), st.binary(min_size=1, max_size=8)), min_size=1, max_size=30
    )
)
def test_a_crafted_file_system_gives_a_clean_one_or_a_line(
    tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    """Whatever its metadata say, nothing outside of its partition is written."""
    image = Path(shutil.copy(goldens.tiny_golden(), tmp_path / "crafted.img"))
    layout = disk.read(image)
    part = layout.partitions[0]
    with image.open("rb+") as raw:
        for place, data in changes:
            os.pwrite(raw.fileno(), data, part.start + 1024 + place)
    before = image.read_bytes()
    with suppress(MetisError), DirectInjector().open(image, layout, exactly(Places(1, None))) as trees:
        entries = file("/etc/hostname"), file("/srv/new"), Remove("/etc/ssh"), Remove("/usr")
        apply(manifest(*entries), trees, SOURCES, tmp_path)
    after = image.read_bytes()
    assert len(after) == len(before)
    assert after[: part.start] == before[: part.start]
    assert after[part.end :] == before[part.end :]
    assert [each.name for each in tmp_path.iterdir()] == ["crafted.img"]
