"""`metis init`: an inventory that is whole, that editors know, and that takes nobody's files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.boot.machine import is_native
from pipeline.cli import cli
from pipeline.commands.init import EXAMPLE, PACKAGE
from pipeline.errors import MetisError, RefusedError, UsageError
from pipeline.inventory.document import parse
from pipeline.inventory.schema_files import Kind, contents
from pipeline.inventory.validate import check

KINDS: dict[str, Kind] = {
    "cluster.yaml": "cluster",
    "classes/example.yaml": "class",
    "nodes/example.yaml": "node",
}
each_file = pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=KINDS)


def init(*words: str | Path) -> MetisError | None:
    """The error of `metis init` with these words, if there is one."""
    ended = CliRunner().invoke(cli, ["init", *map(str, words)])
    if isinstance(ended.exception, MetisError):
        return ended.exception
    assert ended.exit_code == 0, ended
    return None


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    assert init(tmp_path / "lab") is None
    return tmp_path / "lab"


@each_file
def test_a_file_is_valid_and_names_its_schema_to_editors(lab: Path, name: str, kind: Kind) -> None:
    file = lab / name
    assert check(parse(file.read_bytes(), name), kind) == ()
    schema = file.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / schema).samefile(PACKAGE / f"inventory/schema/{kind}.schema.json")


def test_what_schemas_refer_to_is_where_an_editor_looks(lab: Path) -> None:
    """By names alone, as those are of the link's own folder."""
    assert [address for address in contents() if not (lab / ".schemas" / address).is_file()] == []


@each_file
def test_what_stands_in_comments_may_be_written(lab: Path, name: str, kind: Kind) -> None:
    text = (lab / name).read_text()
    proposed = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    for line in proposed:
        assert check(parse(f"{text}\n{line}\n".encode(), name), kind) == ()
    assert bool(proposed) == (kind != "class")


def test_every_yaml_file_is_looked_at_here(lab: Path) -> None:
    files = {file.relative_to(lab).as_posix() for file in lab.rglob("*.yaml")}
    assert files == KINDS.keys()


def test_the_class_is_of_this_computers_own_kind(lab: Path) -> None:
    klass = yaml.safe_load((lab / "classes/example.yaml").read_text())
    assert is_native(klass["arch"])
    assert klass["image"]["source"].startswith("debian:")


def test_what_is_generated_stays_out_of_git(lab: Path) -> None:
    assert {"/artifacts/", "/.schemas"} <= set((lab / ".gitignore").read_text().split())


def test_a_folder_that_holds_other_things_keeps_them(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "notes").write_text("mine")
    assert init(tmp_path) is None
    assert (tmp_path / "notes").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} > {".git", "notes", "nodes", "dodo.py", ".gitignore"}


@pytest.mark.parametrize("name", [".gitignore", ".schemas", "classes", "cluster.yaml", "dodo.py", "nodes"])
@pytest.mark.parametrize("kind", ["file", "folder", "link to nowhere"])
def test_nothing_is_written_where_one_of_its_names_is_taken(tmp_path: Path, name: str, kind: str) -> None:
    taken = tmp_path / name
    match kind:
        case "file":
            taken.write_text("mine")
        case "folder":
            taken.mkdir()
        case _:
            taken.symlink_to("nowhere")
    error = init(tmp_path)
    assert isinstance(error, RefusedError)
    assert str(error) == f"{taken} is there already: name a folder that is new, or empty"
    assert [path.name for path in tmp_path.rglob("*")] == [name]
    assert kind != "file" or taken.read_text() == "mine"


def test_a_file_is_no_place_for_an_inventory(tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("mine")
    ended = CliRunner().invoke(cli, ["init", str(tmp_path / "lab")])
    assert ended.exit_code == 2
    assert (tmp_path / "lab").read_text() == "mine"


def test_the_link_to_the_schemas_is_made_anew_after_a_clone_or_for_another_metis(lab: Path) -> None:
    link = lab / ".schemas"
    for before in (None, "/gone/with/the/last/metis"):
        link.unlink()
        if before:
            link.symlink_to(before)
        assert init("--schemas", lab) is None
        assert link.samefile(PACKAGE)


def test_only_a_link_is_replaced_by_one(lab: Path) -> None:
    link = lab / ".schemas"
    link.unlink()
    link.write_text("mine")
    assert isinstance(init("--schemas", lab), RefusedError)
    assert link.read_text() == "mine"


def test_schemas_are_linked_in_a_folder_that_is_there(tmp_path: Path) -> None:
    assert isinstance(init("--schemas", tmp_path / "gone"), UsageError)


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = CliRunner().invoke(cli, ["init", str(tmp_path / "file" / "lab")])
    assert isinstance(ended.exception, OSError)


def test_sudo_is_told_where_metis_is_as_it_looks_in_folders_of_its_own(lab: Path) -> None:
    told = re.findall(r"^ +sudo (.*?) +#", (lab / "README.md").read_text("utf-8"), re.MULTILINE)
    assert told == ['-E "$(command -v metis)" burn --node example']


def test_every_file_of_the_example_is_written_by_its_own_name(lab: Path) -> None:
    written = {file.relative_to(lab).as_posix() for file in lab.rglob("*") if file.is_file()}
    kept = {file.relative_to(EXAMPLE).as_posix() for file in EXAMPLE.rglob("*") if file.is_file()}
    kept = {name for name in kept if "__pycache__" not in name}
    assert written - kept == {".gitignore", "dodo.py"}
    assert kept - written == {"gitignore", "dodo"}
    assert not os.access(lab / "dodo.py", os.X_OK)
