"""A file's place in an image is told where it is certain, and else not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.machine import process
from pipeline.model import Reserved
from pipeline.raw import disk, slot

MIB = 1 << 20
PATH = "/etc/metis/burn.json"
BLANK = Reserved(4096).blank


def image(folder: Path, *options: str, name: str = "node.img") -> Path:
    """A disk whose second partition has an ext file system with a blank file in it."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(24 * MIB)
    script = "label: gpt\nstart=2048, size=8192, type=uefi\nsize=32768, type=linux\n"
    process.run(["sfdisk", "--quiet", path], stdin=script.encode())
    tree = folder / "tree"
    (tree / "etc/metis").mkdir(parents=True, exist_ok=True)
    (tree / PATH[1:]).write_bytes(BLANK)
    (tree / "etc/link").symlink_to("metis")
    words: list[str | Path] = [
        "mke2fs",
        "-q",
        *(options or ("-t", "ext4")),
        "-d",
        tree,
        "-E",
        f"offset={5 * MIB}",
    ]
    process.run([*words, str(path), "16M"])
    return path


def debugfs(path: Path, *requests: str) -> str:
    # libext2fs takes what follows a question mark in a name for options
    words = ["debugfs", "-w", "-f", "-", f"{path}?offset={5 * MIB}"]
    return process.run(words, stdin="\n".join(requests).encode()).out.decode()


def found(path: Path, name: str = PATH, content: bytes = BLANK) -> int | None:
    return slot.find(path, disk.read(path).partitions[-1], name, content)


@pytest.mark.parametrize(
    "options",
    [
        ("-t", "ext4", "-b", "4096"),
        ("-t", "ext4", "-b", "1024"),
        ("-t", "ext4", "-F", "-b", "16384"),
        ("-t", "ext2", "-b", "2048"),
        ("-t", "ext3", "-b", "1024"),
    ],
    ids=" ".join,
)
def test_what_is_written_there_is_in_the_file_and_nowhere_else(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = image(tmp_path, *options)
    place = found(path)
    assert place is not None
    assert place % 1024 == 0
    with path.open("rb+") as file:
        file.seek(place)
        file.write(b"x" * 4096)
    said = process.run(["debugfs", "-R", f"cat {PATH}", f"{path}?offset={5 * MIB}"]).out
    assert said == b"x" * 4096
    root = tmp_path / "root"
    root.write_bytes(path.read_bytes()[5 * MIB : 21 * MIB])
    process.run(["e2fsck", "-fn", root])


def test_a_file_is_found_through_links_and_in_a_folder_with_spaces(tmp_path: Path) -> None:
    path = image(tmp_path)
    assert found(path, "/etc/link/burn.json") == found(path)
    blank = tmp_path / "blank"
    blank.write_bytes(BLANK)
    debugfs(path, 'mkdir "/a b"', f'write "{blank}" "/a b/c d"')
    place = found(path, "/a b/c d")
    assert place is not None
    assert place != found(path)


def test_a_file_in_pieces_has_no_place(tmp_path: Path) -> None:
    """Its four blocks are taken where every second one was free."""
    path = image(tmp_path, "-t", "ext2", "-b", "1024")
    one, blank = tmp_path / "one", tmp_path / "blank"
    one.write_bytes(b"1" * 1024)
    blank.write_bytes(BLANK)
    names = [f"f{number}" for number in range(40)]
    debugfs(path, *(f"write {one} {name}" for name in names), *(f"rm {name}" for name in names[::2]))
    debugfs(path, f"write {blank} pieces")
    assert len(debugfs(path, "blocks pieces").splitlines()[1].split()) == 4
    assert found(path, "/pieces") is None
    assert found(path) is not None


def test_a_file_within_its_inode_has_no_place(tmp_path: Path) -> None:
    path = image(tmp_path, "-t", "ext4", "-O", "inline_data", "-I", "1024")
    short = b"{}\n"
    small = tmp_path / "small"
    small.write_bytes(short)
    debugfs(path, f"write {small} small")
    assert found(path, "/small", short) is None


def test_what_is_not_the_content_has_no_place(tmp_path: Path) -> None:
    path = image(tmp_path)
    assert found(path, content=BLANK.upper().replace(b" ", b"\t")) is None
    assert found(path, content=BLANK + b" ") is None
    assert found(path, "/etc/metis") is None
    assert found(path, "/etc/other") is None
    assert found(path, '/etc/"; rm /etc/metis/burn.json') is None
    assert found(path) is not None


def test_other_file_systems_and_strange_names_have_no_place(tmp_path: Path) -> None:
    path = image(tmp_path)
    assert slot.find(path, disk.read(path).partitions[0], PATH, BLANK) is None
    strange = path.rename(tmp_path / "node?offset=0")
    assert found(strange) is None


def test_the_files_name_may_be_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image(tmp_path)
    expected = found(path)
    monkeypatch.chdir(tmp_path)
    assert found(path.rename("-w \"node' $x")) == expected


def test_nothing_is_changed_in_the_image(tmp_path: Path) -> None:
    path = image(tmp_path)
    path.chmod(0o400)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert found(path) is not None
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_file_system_that_is_damaged_has_no_place(tmp_path: Path) -> None:
    path = image(tmp_path)
    partition = disk.read(path).partitions[-1]
    with path.open("rb+") as file:
        file.seek(5 * MIB + 1024)
        file.write(os.urandom(512))
    assert slot.find(path, partition, PATH, BLANK) is None
