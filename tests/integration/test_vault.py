"""Vault keeps secrets as the port promises: the same tests hold for our server and for a real one.

A real Vault or OpenBao is asked too where METIS_TEST_VAULT_ADDR and METIS_TEST_VAULT_TOKEN are set; it needs
KV version 2 at `kv`. All that is written there is below atlas/nodes/metis-test-…, and removed again.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.errors import SourceError
from pipeline.secret import Secret
from pipeline.secrets.source import NOTHING, ConflictError, look
from pipeline.secrets.vault.vault import Vault
from tests.support import race
from tests.support.vault import opened, vault_server

REAL = "METIS_TEST_VAULT_ADDR"
KINDS = ["ours", *(["real"] if REAL in os.environ else [])]


@dataclass
class Desk:
    """An operator with a token, who speaks to Vault by its API alone."""

    variables: Mapping[str, str]
    folder: Path
    owners: list[str] = field(default_factory=list)

    def call(self, method: str, part: str, owner: str, body: Any = None) -> Any:
        address, token = self.variables["VAULT_ADDR"], self.variables["VAULT_TOKEN"]
        answer = requests.request(
            method,
            f"{address}/v1/kv/{part}/atlas/nodes/{owner}",
            headers={"X-Vault-Token": token},
            json=body,
            timeout=10,
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def owner(self) -> str:
        """The name of a node that nobody has used."""
        self.owners.append(f"metis-test-{secrets.token_hex(6)}")
        return self.owners[-1]

    def write(self, owner: str, data: Mapping[str, Any]) -> None:
        self.call("POST", "data", owner, {"data": data})

    def read(self, owner: str) -> Any:
        return self.call("GET", "data", owner)["data"]["data"]

    def vault(self, **options: Any) -> Vault:
        return opened(self.variables, self.folder, **options)


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        if request.param == "ours":
            variables = stack.enter_context(vault_server()).environment()
        else:
            variables = {"VAULT_ADDR": os.environ[REAL], "VAULT_TOKEN": os.environ["METIS_TEST_VAULT_TOKEN"]}
        desk = Desk(variables, tmp_path)
        yield desk
        for owner in desk.owners:
            desk.call("DELETE", "metadata", owner)


def revealed(vault: Vault, owner: str) -> dict[str, str]:
    return {name: value.reveal() for name, value in vault.read(owner).values.items()}


def look_of(vault: Vault, owner: str) -> str:
    stored = vault.read(owner)
    return look(stored.version, stored.changed)


# ----------------------------------------------------------------------------------------- reading


def test_what_nobody_wrote_is_nothing(desk: Desk) -> None:
    vault, owner = desk.vault(), desk.owner()
    assert vault.read(owner) == NOTHING
    assert vault.versions([owner]) == {owner: ""}


def test_a_document_is_read_with_its_version_and_its_time(desk: Desk) -> None:
    vault, owner = desk.vault(), desk.owner()
    desk.write(owner, {"k3s_token": "old"})
    desk.write(owner, {"k3s_token": "new", "extra": {"machine_id": "a"}, "rack": 7})
    stored = vault.read(owner)
    assert stored.version == "2"
    assert stored.values == {"k3s_token": Secret("new"), "extra.machine_id": Secret("a")}
    assert stored.changed is not None
    assert abs(stored.changed - datetime.now(UTC)) < timedelta(days=1)
    assert vault.versions([owner]) == {owner: look("2", stored.changed)}


def test_each_read_asks_anew(desk: Desk) -> None:
    vault, owner = desk.vault(), desk.owner()
    for text in ("one", "two"):
        desk.write(owner, {"k3s_token": text})
        assert revealed(vault, owner) == {"k3s_token": text}


def test_versions_of_many_are_read_together(desk: Desk) -> None:
    vault = desk.vault()
    written = [desk.owner() for _ in range(20)]
    for owner in written:
        desk.write(owner, {"k3s_token": "x"})
    unknown = [desk.owner() for _ in range(20)]
    looks = vault.versions([*written, *unknown])
    assert looks == {owner: look_of(vault, owner) for owner in written} | dict.fromkeys(unknown, "")


# ----------------------------------------------------------------------------------------- writing


def test_what_is_put_is_read_by_others_and_their_fields_stay(desk: Desk) -> None:
    owner = desk.owner()
    desk.write(owner, {"k3s_token": "t", "rack": 7, "tags": ["a", None], "extra": {"wifi": "w"}})
    desk.vault().put(owner, {"extra.machine_id": Secret("m"), "ssh_password": Secret("p")}, "1")
    assert desk.read(owner) == {
        "k3s_token": "t",
        "rack": 7,
        "tags": ["a", None],
        "extra": {"wifi": "w", "machine_id": "m"},
        "ssh_password": "p",
    }
    expected = {"k3s_token": "t", "extra.wifi": "w", "extra.machine_id": "m", "ssh_password": "p"}
    assert revealed(desk.vault(), owner) == expected


def test_extra_that_was_a_string_of_json_stays_one(desk: Desk) -> None:
    owner = desk.owner()
    desk.write(owner, {"extra": '{"wifi": "w"}'})
    desk.vault().put(owner, {"extra.machine_id": Secret("ä\n")}, "1")
    assert json.loads(desk.read(owner)["extra"]) == {"wifi": "w", "machine_id": "ä\n"}


def test_the_first_document_is_made(desk: Desk) -> None:
    vault, owner = desk.vault(), desk.owner()
    vault.put(owner, {"k3s_token": Secret("t")}, "")
    assert desk.read(owner) == {"k3s_token": "t"}
    vault.put(owner, {"k3s_token": Secret("u")}, "1")
    assert vault.read(owner).version == "2"


@pytest.mark.parametrize("version", ["", "1", "3"])
def test_who_knows_another_version_writes_nothing(desk: Desk, version: str) -> None:
    vault, owner = desk.vault(), desk.owner()
    for text in ("one", "two"):
        desk.write(owner, {"k3s_token": text})
    with pytest.raises(ConflictError, match=f"kv/atlas/nodes/{owner} in Vault at .* was changed meanwhile"):
        vault.put(owner, {"k3s_token": Secret("three")}, version)
    assert desk.read(owner) == {"k3s_token": "two"}


def test_of_many_who_write_at_once_one_wins(desk: Desk) -> None:
    owner = desk.owner()

    def write(number: int) -> bool:
        try:
            desk.vault().put(owner, {"k3s_token": Secret(str(number))}, "")
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert desk.read(owner) == {"k3s_token": str(won.index(True))}


# ----------------------------------------------------------------------------------------- deleted


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("delete", "is deleted: `vault kv undelete -mount=kv -versions=2 atlas/nodes/"),
        ("destroy", "is destroyed: `vault kv put -mount=kv atlas/nodes/"),
    ],
)
def test_a_version_that_is_gone_is_no_missing_one_and_nothing_is_written_over_it(
    desk: Desk, part: str, said: str
) -> None:
    vault, owner, other = desk.vault(), desk.owner(), desk.owner()
    desk.write(owner, {"k3s_token": "hunter2"})
    desk.write(owner, {"k3s_token": "hunter2"})
    desk.call("POST", part, owner, {"versions": [2]})
    for ask in (
        lambda: vault.read(owner),
        lambda: vault.put(owner, {"k3s_token": Secret("x")}, "2"),
        lambda: vault.put(owner, {"k3s_token": Secret("x")}, ""),
        lambda: vault.versions([owner]),
    ):
        with pytest.raises(SourceError) as caught:
            ask()
        assert not isinstance(caught.value, ConflictError)
        assert f"version 2 of kv/atlas/nodes/{owner} in Vault at " in str(caught.value)
        assert said in str(caught.value)
    assert vault.versions([owner, other]) == {other: ""}
    desk.write(owner, {"k3s_token": "new"})
    assert (vault.read(owner).version, vault.versions([owner])) == ("3", {owner: look_of(vault, owner)})


def test_what_is_undeleted_is_there_again(desk: Desk) -> None:
    vault, owner = desk.vault(), desk.owner()
    desk.write(owner, {"k3s_token": "x"})
    desk.call("DELETE", "data", owner)
    with pytest.raises(SourceError, match="is deleted"):
        vault.read(owner)
    desk.call("POST", "undelete", owner, {"versions": [1]})
    assert vault.read(owner).version == "1"


def test_an_older_version_that_is_destroyed_is_no_fault(desk: Desk) -> None:
    vault, owner = desk.vault(), desk.owner()
    desk.write(owner, {"k3s_token": "x"})
    desk.write(owner, {"k3s_token": "y"})
    desk.call("POST", "destroy", owner, {"versions": [1]})
    assert vault.read(owner).version == "2"
    assert vault.versions([owner]) == {owner: look_of(vault, owner)}


def test_a_document_that_was_wiped_out_counts_from_the_beginning(desk: Desk) -> None:
    vault, owner = desk.vault(), desk.owner()
    desk.write(owner, {"k3s_token": "x"})
    before = vault.versions([owner])
    desk.call("DELETE", "metadata", owner)
    assert vault.read(owner) == NOTHING
    vault.put(owner, {"k3s_token": Secret("y")}, "")
    assert vault.read(owner).version == "1"
    assert vault.versions([owner]) != before, "an image with the old value would be taken for current"


# ------------------------------------------------------------------------------------ many at once


def test_who_is_not_let_in_is_told_what_is_needed(desk: Desk) -> None:
    owner = desk.owner()
    desk.write(owner, {"k3s_token": "hunter2"})
    vault = opened({**desk.variables, "VAULT_TOKEN": "hvs.nobody"}, desk.folder)
    with pytest.raises(SourceError, match=f"denies reading kv/atlas/nodes/{owner}: the token must be valid"):
        vault.read(owner)
    with pytest.raises(SourceError, match=f"denies writing|denies reading kv/atlas/nodes/{owner}"):
        vault.put(owner, {"k3s_token": Secret("x")}, "1")
    with pytest.raises(SourceError, match="denies looking at the version of"):
        vault.versions([owner])


SOURCE = """
from tests.support.vault import opened
def source(folder):
    return opened(os.environ, folder)
"""


def test_processes_that_both_find_an_identity_missing_end_with_one(desk: Desk) -> None:
    owner = desk.owner()
    race.one_identity(SOURCE, str(desk.folder), owner, desk.variables)
    assert desk.vault().read(owner).version == "1"
