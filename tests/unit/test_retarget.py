"""Targets as patches: git takes them, and then the inventory says what was wanted; before, nothing does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.inventory.read import Inventory
from pipeline.inventory.resolve import resolve_class
from pipeline.machine import process
from pipeline.model import freeze
from pipeline.steps.retarget import retarget

ONE = {"kernel": "6.6", "packages": {"openssl": "3.0.15-1~deb12u1", "libc6:arm64": "2.36-9"}}
TWO = {"kernel": "6.12", "k3s": "v1.30.4+k3s1"}

FOLDER = {
    "nodes/n.yaml": "class: one\n",
    "classes/parent.yaml": "abstract: true\narch: arm64\nos: debian\ntargets: {runc: 1.1.12}\n",
    "classes/one.yaml": "# first\nextends: parent\nimage: {headroom: 8M} # why",
    "classes/two.yaml": "extends: parent\r\ntargets:\r\n  kernel: 6.1.0-rpi # old\r\n",
    "classes/anchors.yaml": "extends: parent\ntargets: &x {kernel: 6.6.1}\n",
}
SINGLE = {
    "my lab.yaml": "classes:\n"
    "  parent: {abstract: true, arch: arm64, os: debian, targets: {runc: 1.1.12}}\n"
    "  one:\n    extends: parent\n\n  # the second\n"
    "  two:\n    extends: parent\n    targets: {kernel: 6.1.0-rpi} # old\n"
    "nodes:\n  n: {class: one}\n"
}
INVENTORIES = {"a folder": (FOLDER, ""), "one file": (SINGLE, "my lab.yaml")}
each_inventory = pytest.mark.parametrize(("files", "single"), INVENTORIES.values(), ids=INVENTORIES.keys())


def written(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(text.encode())


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*.yaml")}


def apply(root: Path, diffs: Iterable[str]) -> None:
    process.run(["git", "init", "--quiet"], cwd=root)
    patch = "".join(diffs).encode()
    process.run(
        ["git", "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn", "-"], cwd=root, stdin=patch
    )


def targets_of(path: Path, name: str) -> Any:
    inventory = Inventory(path)
    return resolve_class(name, lambda name: inventory.get("classes", name)).settings.get("targets")


@each_inventory
def test_applied_the_patches_make_the_classes_have_what_was_wanted(
    tmp_path: Path, files: dict[str, str], single: str
) -> None:
    written(tmp_path, files)
    diffs, errors = retarget(Inventory(tmp_path / single), {"one": ONE, "two": TWO})
    assert errors == {}
    apply(tmp_path, diffs)
    assert targets_of(tmp_path / single, "one") == freeze({"runc": "1.1.12", **ONE})
    assert targets_of(tmp_path / single, "two") == freeze({"runc": "1.1.12", **TWO})
    assert retarget(Inventory(tmp_path / single), {"one": ONE, "two": TWO}) == ([], {})


@each_inventory
def test_no_file_is_written(tmp_path: Path, files: dict[str, str], single: str) -> None:
    written(tmp_path, files)
    before = contents(tmp_path)
    retarget(Inventory(tmp_path / single), {"one": ONE, "two": TWO})
    assert contents(tmp_path) == before


def test_each_class_file_has_a_diff_that_applies_alone(tmp_path: Path) -> None:
    written(tmp_path, FOLDER)
    diffs, _ = retarget(Inventory(tmp_path), {"one": ONE, "two": TWO})
    assert [diff.splitlines()[1] for diff in diffs] == ["+++ b/classes/one.yaml", "+++ b/classes/two.yaml"]
    before = contents(tmp_path)
    apply(tmp_path, diffs[1:])
    changed = {file for file, content in contents(tmp_path).items() if content != before[file]}
    assert changed == {"classes/two.yaml"}


def test_classes_of_one_file_share_one_diff(tmp_path: Path) -> None:
    written(tmp_path, SINGLE)
    diffs, _ = retarget(Inventory(tmp_path / "my lab.yaml"), {"one": ONE, "two": TWO})
    assert len(diffs) == 1


def test_the_patch_applies_in_a_folder_of_a_repository(tmp_path: Path) -> None:
    process.run(["git", "init", "--quiet"], cwd=tmp_path)
    (tmp_path / "lab").mkdir()
    written(tmp_path / "lab", FOLDER)
    diffs, _ = retarget(Inventory(tmp_path / "lab"), {"one": ONE})
    process.run(["git", "apply", "-"], cwd=tmp_path / "lab", stdin="".join(diffs).encode())
    assert targets_of(tmp_path / "lab", "one") == freeze({"runc": "1.1.12", **ONE})


@each_inventory
def test_what_a_class_has_from_another_is_not_said_again(
    tmp_path: Path, files: dict[str, str], single: str
) -> None:
    written(tmp_path, files)
    wanted: dict[str, dict[str, Any]] = {
        "one": {"runc": "1.1.12", "packages": {}},
        "two": {"runc": "1.1.12", "kernel": "6.1.0-rpi"},
    }
    assert retarget(Inventory(tmp_path / single), wanted) == ([], {})


@each_inventory
def test_a_class_that_keeps_what_its_parent_loses_says_it_itself(
    tmp_path: Path, files: dict[str, str], single: str
) -> None:
    written(tmp_path, files)
    wanted = {"one": {"runc": "1.1.12"}, "two": {"runc": "1.2.0"}, "parent": {"runc": "1.2.0"}}
    diffs, errors = retarget(Inventory(tmp_path / single), wanted)
    assert errors == {}
    assert not [diff for diff in diffs if "two.yaml" in diff]
    apply(tmp_path, diffs)
    for name, targets in wanted.items():
        assert targets_of(tmp_path / single, name)["runc"] == targets["runc"]


def test_one_that_cannot_be_amended_keeps_no_other_back(tmp_path: Path) -> None:
    written(tmp_path, {**FOLDER, "classes/broken.yaml": "os: [\n", "classes/loop.yaml": "extends: loop\n"})
    wanted = dict.fromkeys(["anchors", "broken", "loop", "none", "../n", "one"], ONE)
    diffs, errors = retarget(Inventory(tmp_path), wanted)
    assert len(diffs) == 1
    assert set(errors) == wanted.keys() - {"one"}
    assert all(str(error).startswith(f"class {name}: ") for name, error in errors.items())
    assert "targets is an anchor, an alias or has a tag: edit it by hand" in str(errors["anchors"])


HOSTILE = {
    "a control character": {"kernel": "6.6\x1b[31m"},
    "an end of line": {"kernel": "6.6\nos: x"},
    "half a character": {"kernel": "\ud800"},
    "too long": {"kernel": "6" * 129},
    "nothing": {"kernel": ""},
    "no package": {"packages": {"a b\n": "1.2.3"}},
    "too many packages": {"packages": {f"p{number}": "1.2.3" for number in range(201)}},
    "another key": {"firmware": "1.2.3"},
    "a map": {"kernel": {"a": "b"}},
}


@pytest.mark.parametrize("wanted", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_the_schema_does_not_take_gives_no_patch(tmp_path: Path, wanted: dict[str, Any]) -> None:
    written(tmp_path, FOLDER)
    diffs, errors = retarget(Inventory(tmp_path), {"one": wanted})
    assert diffs == []
    assert str(errors["one"]).startswith("class one: classes/one.yaml:1: targets.")
    assert str(errors["one"]).isprintable()


def test_a_file_that_is_a_link_gives_no_patch(tmp_path: Path) -> None:
    written(tmp_path, FOLDER)
    (tmp_path / "classes/one.yaml").rename(tmp_path / "real")
    (tmp_path / "classes/one.yaml").symlink_to("../real")
    diffs, errors = retarget(Inventory(tmp_path), {"one": ONE})
    assert diffs == []
    assert str(errors["one"]) == (
        "class one: classes/one.yaml is a link, which no patch follows: edit it by hand"
    )


def test_an_inventory_behind_a_link_is_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    written(tmp_path / "lab", FOLDER)
    (tmp_path / "link").symlink_to("lab")
    assert len(retarget(Inventory(tmp_path / "link"), {"one": ONE})[0]) == 1
