"""Plain files of secrets: private or refused, read strictly, and added to with care."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError, RefusedError, SourceError
from pipeline.secret import Secret
from pipeline.secrets.documents import Documents
from pipeline.secrets.node_file import FIELDS, values_of, with_changes
from pipeline.secrets.plain import plain_folder
from pipeline.secrets.source import NOTHING, ConflictError

NODE = "titan-13"
TEXT = "ssh_password: hunter2\nextra:\n  node_password: hunter3 # as it was\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir(mode=0o700)
    put(made, TEXT)
    return made


def put(folder: Path, text: str) -> Path:
    file = folder / f"{NODE}.yaml"
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def source(folder: Path) -> Documents:
    return plain_folder(folder)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


# ---------------------------------------------------------------------------------------- reading


def test_the_secrets_of_a_node_have_flat_names(folder: Path) -> None:
    values = source(folder).read(NODE).values
    assert values == {"ssh_password": Secret("hunter2"), "extra.node_password": Secret("hunter3")}


def test_a_node_without_a_file_and_a_store_without_a_folder_have_no_secrets(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        tmp_path.chmod(0o700)
        assert source(folder).read(NODE) == NOTHING
        assert source(folder).versions([NODE]) == {NODE: ""}
    assert names(tmp_path) == set()


def test_where_the_secrets_are_sealed_nothing_is_made_beside_them(folder: Path) -> None:
    """Passed over, the node would get a new identity, and the sealed one be forgotten."""
    put(folder, TEXT).rename(folder / f"{NODE}.age")
    one = source(folder)
    asks: list[Callable[[], object]] = [
        lambda: one.read(NODE),
        lambda: one.put(NODE, {"k3s_token": Secret("x")}, ""),
    ]
    for ask in asks:
        with pytest.raises(RefusedError, match=rf"/{NODE}\.age is sealed, .* METIS_SECRETS=sealed:{folder}"):
            ask()
    assert one.versions([NODE, "other"]) == {"other": ""}
    assert one.known(NODE) == {}
    assert names(folder) == {".lock", f"{NODE}.age"}


def test_a_sealed_file_beside_a_plain_one_is_somebody_elses(folder: Path) -> None:
    (folder / f"{NODE}.age").touch(mode=0o600)
    one = source(folder)
    assert one.versions([NODE]) == {NODE: one.read(NODE).version}


def mode(path: str, bits: int) -> Callable[[Path], object]:
    return lambda folder: (folder / path).chmod(bits)


def link(folder: Path) -> None:
    file = folder / f"{NODE}.yaml"
    file.rename(folder / "elsewhere")
    file.symlink_to("elsewhere")


def pipe(folder: Path) -> None:
    (folder / f"{NODE}.yaml").unlink()
    os.mkfifo(folder / f"{NODE}.yaml", 0o600)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file that the group may read": (mode(f"{NODE}.yaml", 0o640), f"run `chmod 0600 .*{NODE}.yaml`"),
    "a file that others may write": (mode(f"{NODE}.yaml", 0o602), f"run `chmod 0600 .*{NODE}.yaml`"),
    "a folder that the group may read": (mode(".", 0o740), "run `chmod 0700 .*secrets`"),
    "a folder that others may write": (mode(".", 0o702), "run `chmod 0700 .*secrets`"),
    "a link": (link, "is a link"),
    "a pipe": (pipe, "is not a regular file"),
    "a file of another ending": (
        lambda folder: (folder / f"{NODE}.yaml").rename(folder / f"{NODE}.yml"),
        f"{NODE}.yml is not read: name it {NODE}.yaml",
    ),
    "a huge file": (lambda folder: os.truncate(folder / f"{NODE}.yaml", 2 << 20), "is larger than 1 MiB"),
}


@pytest.mark.parametrize(("spoil", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_what_others_could_have_read_or_written_is_refused(
    folder: Path, spoil: Callable[[Path], object], line: str
) -> None:
    spoil(folder)
    with pytest.raises(RefusedError, match=line) as caught:
        source(folder).read(NODE)
    assert caught.value.exit_code == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("path", [".", f"{NODE}.yaml"])
def test_what_belongs_to_another_user_is_refused(folder: Path, path: str) -> None:
    os.chown(folder / path, 12345, 0)
    with pytest.raises(RefusedError, match="belongs to another user: make it yours: `chown"):
        source(folder).read(NODE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(("who", "is_read"), [("1", True), ("2", False), ("0", False), ("", False)])
def test_under_sudo_the_secrets_of_the_caller_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, who: str, is_read: bool
) -> None:
    for path in (folder, folder / f"{NODE}.yaml"):
        os.chown(path, 1, 1)
    monkeypatch.setenv("SUDO_UID", who)
    with nullcontext() if is_read else pytest.raises(RefusedError, match="belongs to another user"):
        assert source(folder).read(NODE).values


def test_what_cannot_be_opened_is_a_source_out_of_reach(folder: Path) -> None:
    (folder / "file").touch(mode=0o600)
    with pytest.raises(SourceError, match="cannot be read: not a directory"):
        source(folder / "file").read(NODE)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "[hunter2]",
        "ssh_password: 'hunter2",
        "ssh_password: hunter2\nssh_password: hunter2",
        "ssh_password: !hunter2 x",
        "ssh_password: *hunter2",
        "hunter2: x",
        "ssh_password: 1234",
        "ssh_password: [hunter2]",
        "ssh_password:",
        "extra: hunter2",
        "extra: {a: {b: hunter2}}",
        "extra: {'hunter2 hunter2': x}",
        "extra: {machine_id: 12345678901234567890123456789012}",
        "a: &a [x, x]\nb: [*a, *a, hunter2]",
        "ssh_password: hunter2\x00",
        "",
    ],
)
def test_another_file_is_refused_with_its_line_and_nothing_that_is_in_it(folder: Path, text: str) -> None:
    file = put(folder, text)
    with pytest.raises(MetisError) as caught:
        source(folder).read(NODE)
    assert str(caught.value).startswith(str(file))
    assert "hunter2" not in str(caught.value)
    assert "1234" not in str(caught.value).removeprefix(str(file))
    assert caught.value.__context__ is None, "a traceback would show it"
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------- versions


def test_a_version_is_the_same_for_the_same_file_and_is_told_without_reading_it(folder: Path) -> None:
    one = source(folder).read(NODE).version
    assert source(folder).versions([NODE, "nobody"]) == {NODE: one, "nobody": ""}


@pytest.mark.parametrize("text", [TEXT.replace("hunter2", "hunter4"), f"{TEXT}# mine\n", TEXT])
def test_a_version_changes_when_the_file_is_written(folder: Path, text: str) -> None:
    one = source(folder).read(NODE).version
    put(folder, text)
    assert source(folder).versions([NODE])[NODE] != one
    assert "hunter" not in one


def test_a_file_says_when_it_was_written(folder: Path) -> None:
    os.utime(folder / f"{NODE}.yaml", (0, 86400))
    assert source(folder).read(NODE).changed == datetime(1970, 1, 2, tzinfo=UTC)


# ----------------------------------------------------------------------------------------- adding

MORE = {"extra.machine_id": Secret("ab" * 16), "k3s_token": Secret("a\nb")}


def test_what_is_added_is_there_beside_what_was(folder: Path) -> None:
    plain = source(folder)
    before = plain.read(NODE)
    plain.put(NODE, MORE, before.version)
    assert plain.read(NODE).values == {**before.values, **MORE}
    assert (folder / f"{NODE}.yaml").stat().st_mode & 0o777 == 0o600
    assert not [name for name in names(folder) if name.endswith(".part")]


def test_the_first_secret_makes_a_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "state/secrets"
    source(folder).put(NODE, MORE, "")
    assert source(folder).read(NODE).values == MORE
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]


def test_nothing_is_added_to_what_changed_meanwhile(folder: Path) -> None:
    plain = source(folder)
    version = plain.read(NODE).version
    put(folder, TEXT + "  mine: x\n")
    for stale in (version, "", "0" * 32):
        with pytest.raises(ConflictError):
            plain.put(NODE, MORE, stale)
    assert (folder / f"{NODE}.yaml").read_text() == TEXT + "  mine: x\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "# mine\nssh_password: 'x' # why\nextra: # more\n    # old\n    b: c\n\n# end\n",
            "# mine\nssh_password: 'x' # why\nextra: # more\n    a: \"1\"\n    # old\n    b: c\n\n# end\n",
        ),
        ("ssh_password: x # why", 'ssh_password: x # why\nextra:\n  a: "1"\n'),
        ("", 'extra:\n  a: "1"\n'),
        ("ssh_password: |\n  x\n  y\n", 'ssh_password: |\n  x\n  y\nextra:\n  a: "1"\n'),
        ("extra: {b: c} # lost\n", 'extra:\n  b: "c"\n  a: "1"\n'),
        ("{ssh_password: x}\n", 'ssh_password: "x"\nextra:\n  a: "1"\n'),
        ("extra: {}\n", 'extra:\n  a: "1"\n'),
        ("---\nssh_password: x\n...\n", 'ssh_password: "x"\nextra:\n  a: "1"\n'),
    ],
    ids=["comments", "no end of line", "nothing", "block", "flow", "all flow", "empty map", "document end"],
)
def test_lines_and_comments_stay_where_lines_can_be_put_between(old: str, new: str) -> None:
    assert with_changes(old.encode(), {"extra.a": Secret("1")}, "x").decode() == new


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"))
secrets = st.dictionaries(
    st.sampled_from(FIELDS) | st.from_regex(r"extra\.[a-z][a-z0-9_]{0,5}", fullmatch=True),
    (texts | st.sampled_from(["a\nb\n", "null", "{", "1", "x: y", "- "])).map(Secret),
    min_size=1,
)


@given(secrets, secrets)
def test_any_text_is_read_again_as_it_was(first: dict[str, Secret], changes: dict[str, Secret]) -> None:
    file = with_changes(with_changes(b"", first, "x"), changes, "x")
    assert values_of(file, "x") == {**first, **changes}


ODD = [
    "1e5",
    "0E0",
    "0o17",
    "1_000",
    "2024-01-01",
    "12:30:45",
    "1.",
    ".5",
    "=",
    "<<",
    "\x85",
    "a\x85\n",
    "~",
    "",
]


@pytest.mark.parametrize("value", ODD)
def test_any_text_is_as_it_was_in_a_file_that_is_written_anew(value: str) -> None:
    file = json.dumps({"ssh_password": value, "extra": {"b": value}})  # YAML too, with no place for a line
    assert values_of(with_changes(file.encode(), {"extra.a": Secret("1")}, "x"), "x") == {
        "ssh_password": Secret(value),
        "extra.b": Secret(value),
        "extra.a": Secret("1"),
    }
