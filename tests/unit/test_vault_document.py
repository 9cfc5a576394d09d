"""A document of Vault becomes secrets strictly, and gets new ones without losing what others keep in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.errors import SecretError
from pipeline.secret import Secret
from pipeline.secrets.node_file import FIELDS
from pipeline.secrets.vault.document import values_of, with_changes

PLACE = "kv/atlas/nodes/titan-13 in Vault"


def revealed(document: dict[str, Any]) -> dict[str, str]:
    return {name: value.reveal() for name, value in values_of(document, PLACE).items()}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, {}),
        ({"k3s_token": "a", "ssh_password": "", "cloud_init": "b\n"}, None),
        ({"extra": {"machine_id": "a", "wifi-1": "b"}}, {"extra.machine_id": "a", "extra.wifi-1": "b"}),
        ({"extra": '{"machine_id": "ä"}'}, {"extra.machine_id": "ä"}),
        ({"extra": ""}, {}),
        ({"extra": " \n"}, {}),
        ({"extra": None}, {}),
        ({"extra": {}}, {}),
        ({"owner": "ops", "rack": 7, "tags": ["a"], "k3s_token": "t"}, {"k3s_token": "t"}),
        ({"machine_id": "theirs", "extra": {"machine_id": "a"}}, {"extra.machine_id": "a"}),
    ],
)
def test_fields_become_secrets_and_those_of_others_are_left_out(
    document: dict[str, Any], expected: dict[str, str] | None
) -> None:
    assert revealed(document) == (document if expected is None else expected)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"k3s_token": 2222222}, "k3s_token in kv/atlas/nodes/titan-13 in Vault is no text"),
        ({"k3s_token": None}, "k3s_token in kv/atlas/nodes/titan-13 in Vault is no text"),
        ({"ssh_password": ["hunter2"]}, "ssh_password in kv/"),
        ({"cloud_init": {"hunter2": "hunter2"}}, "cloud_init in kv/"),
        (
            {"cloud_init": "hunter2\ud800"},
            "cloud_init in kv/atlas/nodes/titan-13 in Vault is no text of Unicode",
        ),
        ({"extra": {"machine_id": 2222222}}, "extra.machine_id in kv/"),
        ({"extra": '{"machine_id": 2222222}'}, "extra.machine_id in kv/"),
        ({"extra": {"machine_id": {"hunter2": "x"}}}, "extra.machine_id in kv/"),
        ({"extra": {"hunter2 hunter2": "x"}}, "has a name in extra that no secret may have"),
        ({"extra": {"": "hunter2"}}, "has a name in extra that no secret may have"),
        ({"extra": {"hunter2.b": "hunter2"}}, "has a name in extra that no secret may have"),
        ({"extra": "hunter2"}, "extra in kv/atlas/nodes/titan-13 in Vault is neither a map"),
        ({"extra": '"hunter2"'}, "is neither a map"),
        ({"extra": '["hunter2"]'}, "is neither a map"),
        ({"extra": '{"a": "hunter2", "a": "hunter2"}'}, "is neither a map"),
        ({"extra": '{"a": "hunter2"'}, "is neither a map"),
        ({"extra": "[" * 100_000}, "is neither a map"),
        ({"extra": ["hunter2"]}, "is neither a map"),
        ({"extra": 2222222}, "is neither a map"),
        ({"extra": False}, "is neither a map"),
        ({"machine_id": "hunter2"}, "Vault has machine_id beside extra, where nobody reads it: move it into"),
        ({"extra.machine_id": "hunter2"}, "Vault has extra.machine_id beside extra"),
        ({"extra.wifi": "hunter2", "extra": {"b": "hunter2"}}, "Vault has extra.wifi beside extra"),
    ],
)
def test_what_is_no_document_of_secrets_is_told_without_what_is_in_it(
    document: dict[str, Any], said: str
) -> None:
    with pytest.raises(SecretError) as caught:
        values_of(document, PLACE)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "2222222" not in str(caught.value)


texts = some.text(some.characters(exclude_categories=["Cs"]))
names = some.sampled_from(FIELDS) | some.from_regex(r"extra\.[A-Za-z][A-Za-z0-9_-]{0,9}", fullmatch=True)
values = some.dictionaries(names, texts)
others = some.dictionaries(
    some.sampled_from(["owner", "rack", "Extra", "k3s-token"]), some.none() | texts | some.integers()
)


def document_of(found: dict[str, str], other: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    extra = {name.removeprefix("extra."): text for name, text in found.items() if name not in FIELDS}
    fields = {name: text for name, text in found.items() if name in FIELDS}
    return {**other, **fields, "extra": json.dumps(extra) if as_json else extra}


@given(values, values, others, some.booleans())
def test_changes_are_there_and_all_else_is_as_it_was(
    found: dict[str, str], changes: dict[str, str], other: dict[str, Any], as_json: bool
) -> None:
    before = document_of(found, other, as_json=as_json)
    kept = json.dumps(before)
    after = with_changes(before, {name: Secret(text) for name, text in changes.items()}, PLACE)
    assert json.dumps(before) == kept
    assert isinstance(after["extra"], str) == as_json
    sent = json.loads(json.dumps(after))
    assert revealed(sent) == {**found, **changes}
    assert {name: value for name, value in sent.items() if name not in (*FIELDS, "extra")} == other


def test_no_extra_is_made_where_none_is_needed() -> None:
    assert with_changes({}, {"k3s_token": Secret("t")}, PLACE) == {"k3s_token": "t"}
    assert with_changes({}, {"extra.a": Secret("t")}, PLACE) == {"extra": {"a": "t"}}
