"""Secrets copied from one source to another: all of them, and nothing that differs unasked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MismatchError, SecretError, SeveralErrors
from pipeline.secret import Secret
from pipeline.secrets.copying import carry_out, steps
from pipeline.secrets.documents import Documents
from pipeline.secrets.node_file import FIELDS, values_of, with_changes
from pipeline.secrets.plain import plain_folder
from pipeline.secrets.source import CLUSTER, ConflictError

NODES = ("alpha", "beta")
Values = Mapping[str, str]
values = st.dictionaries(
    st.sampled_from([*FIELDS, "extra.machine_id", "extra.mine"]), st.sampled_from(["one", "two", "three"])
)
documents = st.fixed_dictionaries(dict.fromkeys(NODES, values))


def filled(folder: Path, contents: Mapping[str, Values]) -> Documents:
    source = plain_folder(folder)
    for owner, of_owner in contents.items():
        if of_owner:
            source.put(owner, {name: Secret(text) for name, text in of_owner.items()}, "")
    return source


def what_is_in(source: Documents) -> dict[str, dict[str, str]]:
    return {
        owner: {name: value.reveal() for name, value in source.read(owner).values.items()} for owner in NODES
    }


@given(documents, documents, st.booleans())
def test_after_a_copy_all_is_there_or_it_was_refused_and_nothing_changed(
    theirs: Mapping[str, Values], ours: Mapping[str, Values], replace: bool
) -> None:
    differ = any(ours[node].get(name, text) != text for node in NODES for name, text in theirs[node].items())
    with tempfile.TemporaryDirectory() as folder:
        origin, target = filled(Path(folder, "theirs"), theirs), filled(Path(folder, "ours"), ours)
        with suppress(SeveralErrors):
            for step in steps(origin, target, NODES, replace=replace):
                carry_out(step, target)
        expected = (
            ours if differ and not replace else {node: {**ours[node], **theirs[node]} for node in NODES}
        )
        assert (what_is_in(origin), what_is_in(target)) == (theirs, expected)
        assert differ or not any(step.changes for step in steps(origin, target, NODES, replace=False)), (
            "again, nothing is to be done"
        )


def test_all_that_differs_is_named_in_one_go_and_no_value(tmp_path: Path) -> None:
    origin = filled(tmp_path / "a", {node: {"ssh_password": "one", "extra.mine": "one"} for node in NODES})
    target = filled(tmp_path / "b", {node: {"ssh_password": "two", "extra.mine": "two"} for node in NODES})
    with pytest.raises(SeveralErrors, match="other values") as caught:
        steps(origin, target, NODES, replace=False)
    lines = str(caught.value).splitlines()
    assert [line.split(" has ")[1].split(" with ")[0] for line in lines] == ["extra.mine, ssh_password"] * 2
    assert caught.value.exit_code == 3


def test_who_wrote_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    origin, target = filled(tmp_path / "a", {"alpha": {"k3s_token": "one"}}), plain_folder(tmp_path / "b")
    (step,) = steps(origin, target, ["alpha"], replace=True)
    target.put("alpha", {"ssh_password": Secret("mine")}, "")
    with pytest.raises(ConflictError):
        carry_out(step, target)
    assert what_is_in(target)["alpha"] == {"ssh_password": "mine"}


def test_what_does_not_arrive_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin, target = filled(tmp_path / "a", {"alpha": {"k3s_token": "one"}}), plain_folder(tmp_path / "b")
    monkeypatch.setattr(target, "put", lambda *_: None)
    (step,) = steps(origin, target, ["alpha"], replace=False)
    with pytest.raises(MismatchError, match=r"alpha.yaml does not have k3s_token as it was put there"):
        carry_out(step, target)


def test_what_no_two_nodes_may_share_is_not_copied_for_all(tmp_path: Path) -> None:
    origin = filled(tmp_path / "a", {CLUSTER: {"extra.machine_id": "one"}})
    with pytest.raises(SeveralErrors, match=r"_cluster.yaml has extra.machine_id, which no two"):
        steps(origin, plain_folder(tmp_path / "b"), [CLUSTER], replace=True)


@given(st.text(st.characters(exclude_categories=[]), max_size=5), st.booleans())
def test_any_text_is_read_again_or_refused_before_it_is_written(text: str, replaces: bool) -> None:
    before = with_changes(b"", {"extra.a": Secret("x"), "k3s_token": Secret("y")}, "file")
    changes = {"extra.a" if replaces else "extra.b": Secret(text)}
    after = written(before, changes)
    if isinstance(after, SecretError):
        assert str(after).startswith("file cannot hold extra.")
        assert after.__context__ is None
    else:
        assert values_of(after, "file") == {"extra.a": Secret("x"), "k3s_token": Secret("y"), **changes}


def written(before: bytes, changes: Mapping[str, Secret]) -> bytes | SecretError:
    try:
        return with_changes(before, changes, "file")
    except SecretError as error:
        return error
