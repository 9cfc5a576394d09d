"""A newer golden pinned: the file that holds the pin is edited, and no other."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.golden.newer import Newer
from pipeline.inventory.read import Inventory
from pipeline.steps import repin as module


def repin(inventory: Inventory, found: list[Newer]) -> tuple[list[str], list[MetisError]]:
    """The diffs, and what kept other classes from being pinned."""
    diffs, errors = module.repin(inventory, found)
    return diffs, list(errors.values())


OLD, NEW, OTHER = "ab" * 32, "cd" * 32, "ef" * 32
PARENT = (
    f"abstract: true\narch: arm64\nos: debian\nimage: {{source: 'https://example.org/x', sha256: {OLD}}}\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "nodes/n.yaml": "class: one\n",
        "classes/parent.yaml": PARENT,
        "classes/one.yaml": "extends: parent\n",
        "classes/two.yaml": "extends: parent\nimage: {headroom: 8M}\n",
        "classes/own.yaml": f"extends: parent\nimage:\n  sha256: {OTHER} # mine\n",
        "classes/digest.yaml": f"extends: parent\nimage: {{source: 'oci://h/x:1@sha256:{OTHER}'}} # mine\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def newer(name: str, pinned: str = OLD, published: str = NEW) -> Newer:
    edits = {"sha256": (pinned, published)}
    return Newer(name, "https://example.org/x", pinned, published, edits)


def by_source() -> Newer:
    edits = {"source": tuple(f"oci://h/x:1@sha256:{sha256}" for sha256 in (OTHER, NEW))}
    return Newer("digest", "oci://h/x:1", OTHER, NEW, edits)  # type: ignore[arg-type]


def test_what_is_pinned_by_hash_and_by_digest_is_pinned_by_both(root: Path) -> None:
    text = f"extends: parent\nimage: {{source: 'oci://h/x:1@sha256:{OTHER}', sha256: {OLD}}}\n"
    (root / "classes/both.yaml").write_text(text)
    edits = {**newer("both").edits, **by_source().edits}
    diffs, errors = repin(Inventory(root), [Newer("both", "oci://h/x:1", OLD, NEW, edits)])
    assert (len(diffs), errors) == (1, [])
    assert (root / "classes/both.yaml").read_text() == text.replace(OTHER, NEW).replace(OLD, NEW)


def test_a_file_of_which_one_pin_cannot_be_edited_keeps_all_of_them(root: Path) -> None:
    text = f"extends: parent\nimage: {{source: &s 'oci://h/x:1@sha256:{OTHER}', sha256: {OLD}}}\n"
    (root / "classes/both.yaml").write_text(text)
    edits = {**newer("both").edits, **by_source().edits}
    diffs, (error,) = repin(Inventory(root), [Newer("both", "oci://h/x:1", OLD, NEW, edits)])
    assert diffs == []
    assert "classes/both.yaml keeps its pin" in str(error)
    assert (root / "classes/both.yaml").read_text() == text


def test_what_nothing_pins_is_said_to_be_pinned_by_hand(root: Path) -> None:
    before = contents(root)
    diffs, (error,) = repin(Inventory(root), [Newer("one", "https://example.org/x", OLD, NEW)])
    assert diffs == []
    assert f"pin what is published by hand, as image.sha256: {NEW}" in str(error)
    assert contents(root) == before


def contents(root: Path) -> dict[str, str]:
    return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*.yaml")}


EDITED = {
    "by its parent": (newer("one"), OLD, "classes/parent.yaml"),
    "by itself": (newer("own", OTHER), OTHER, "classes/own.yaml"),
    "by its source": (by_source(), OTHER, "classes/digest.yaml"),
}


@pytest.mark.parametrize(("found", "pinned", "file"), EDITED.values(), ids=EDITED.keys())
def test_the_file_that_pins_a_class_is_edited_alone(root: Path, found: Newer, pinned: str, file: str) -> None:
    before, name = contents(root), found.class_name
    diffs, errors = repin(Inventory(root), [found])
    assert errors == []
    assert contents(root) == {**before, file: before[file].replace(pinned, NEW)}
    assert [line for line in diffs[0].splitlines() if line.startswith(("---", "+++"))] == [
        f"--- a/{file}",
        f"+++ b/{file}",
    ]
    assert f"-{before[file].splitlines()[-1]}" in diffs[0].splitlines()
    Inventory(root).get("classes", name)


def test_a_pin_that_classes_share_is_edited_once(root: Path) -> None:
    diffs, errors = repin(Inventory(root), [newer("one"), newer("two")])
    assert (len(diffs), errors) == (1, [])


def test_two_that_share_a_pin_and_are_published_apart_are_not_both_pinned(root: Path) -> None:
    diffs, errors = repin(Inventory(root), [newer("one"), newer("two", published=OTHER)])
    assert len(diffs) == 1
    assert ["classes/parent.yaml keeps its pin: image.sha256 is " in str(error) for error in errors] == [True]
    assert NEW in (root / "classes/parent.yaml").read_text()


def test_a_lab_in_one_file_is_edited_where_the_class_stands(tmp_path: Path) -> None:
    text = (
        "nodes: {n: {class: b}}\nclasses:\n"
        f"  a: {{arch: arm64, os: debian, image: {{source: 'file:x', sha256: {OLD}}}}}\n"
        f"  b: {{arch: arm64, os: debian, image: {{source: 'file:x', sha256: {OLD}}}}} # b\n"
    )
    (tmp_path / "lab.yaml").write_text(text)
    diffs, errors = repin(Inventory(tmp_path / "lab.yaml"), [newer("b")])
    assert (len(diffs), errors) == (1, [])
    *same, last = text.splitlines()
    assert (tmp_path / "lab.yaml").read_text().splitlines() == [*same, last.replace(OLD, NEW)]


def test_the_file_keeps_its_mode_its_line_ends_and_its_link(root: Path) -> None:
    real = root / "parent.real"
    real.write_bytes(PARENT.replace("\n", "\r\n").encode())
    real.chmod(0o640)
    (root / "classes/parent.yaml").unlink()
    (root / "classes/parent.yaml").symlink_to("../parent.real")
    _, errors = repin(Inventory(root), [newer("one")])
    assert errors == []
    assert (root / "classes/parent.yaml").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_bytes() == PARENT.replace("\n", "\r\n").replace(OLD, NEW).encode()


def test_what_was_edited_meanwhile_is_left_as_it_is(root: Path) -> None:
    inventory = Inventory(root)
    inventory.get("classes", "parent")
    text = PARENT.replace(OLD, OTHER)
    (root / "classes/parent.yaml").write_text(text)
    diffs, (error,) = repin(inventory, [newer("one")])
    assert diffs == []
    assert "classes/parent.yaml keeps its pin" in str(error)
    assert (root / "classes/parent.yaml").read_text() == text


def test_a_pin_of_the_environment_is_no_files(root: Path) -> None:
    before = contents(root)
    diffs, (error,) = repin(Inventory(root), [newer("one", pinned="12" * 32)])
    assert diffs == []
    assert "stands in none of its files" in str(error)
    assert contents(root) == before


def test_one_pin_that_cannot_be_edited_keeps_no_other_back(root: Path) -> None:
    diffs, errors = repin(Inventory(root), [newer("one", pinned="12" * 32), newer("own", OTHER), newer("no")])
    assert (len(diffs), len(errors)) == (1, 2)
