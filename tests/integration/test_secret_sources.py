"""What every source of secrets promises (`secrets.source`): one set of tests for all kinds of places.

A place is opened as the lab opens it, twice: what one of two operators puts there the other one reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.secret import Secret
from pipeline.secrets.places import PLACES, Means
from pipeline.secrets.source import CLUSTER, NOTHING, ConflictError, SecretSource
from pipeline.settings import Settings
from tests.support.vault import vault_server

NODE = "titan-13"
VALUES = {"k3s_token": Secret("hunter2"), "extra.machine_id": Secret("hunter3")}


@contextmanager
def folder_of(kind: str, folder: Path) -> Iterator[Mapping[str, str]]:
    yield {"METIS_SECRETS": f"{kind}:{folder / kind}"}


@contextmanager
def vault(_folder: Path) -> Iterator[Mapping[str, str]]:
    with vault_server() as server:
        yield server.environment()


KINDS: dict[str, Callable[[Path], AbstractContextManager[Mapping[str, str]]]] = {
    "plain": lambda folder: folder_of("plain", folder),
    "sealed": lambda folder: folder_of("sealed", folder),
    "vault": vault,
}
"""By kind, the environment that names an empty place of it."""


@pytest.fixture(params=KINDS)
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    with KINDS[request.param](tmp_path) as variables:
        private = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        yield {**private, **variables}


def source(environment: Mapping[str, str]) -> SecretSource:
    settings = Settings.from_environment(environment, Path("/nowhere"))
    return settings.secrets.opened(Means(tuple, lambda _line: None, offline=False, remembers=True))


@pytest.fixture
def mine(environment: Mapping[str, str]) -> SecretSource:
    return source(environment)


@pytest.fixture
def theirs(environment: Mapping[str, str]) -> SecretSource:
    return source(environment)


def seen(one: SecretSource, owner: str = NODE) -> str:
    return one.versions([owner])[owner]


def change(one: SecretSource, value: str, owner: str = NODE) -> None:
    one.put(owner, {"k3s_token": Secret(value)}, one.read(owner).version)


def test_each_kind_of_place_is_opened_and_held_to_this() -> None:
    assert {place.kind for place in PLACES} == KINDS.keys()


# ----------------------------------------------------------------------------------- read and written


def test_of_whom_nothing_is_kept_there_is_nothing(mine: SecretSource) -> None:
    assert mine.read(NODE) == NOTHING
    assert mine.versions([NODE, CLUSTER]) == {NODE: "", CLUSTER: ""}
    assert mine.versions([]) == {}
    assert mine.known(NODE) == {}


def test_what_is_put_is_read_by_others(mine: SecretSource, theirs: SecretSource) -> None:
    mine.put(NODE, VALUES, "")
    found = theirs.read(NODE)
    assert found.values == VALUES
    assert found.version
    assert found.changed is None or abs(datetime.now(UTC) - found.changed) < timedelta(minutes=5)
    assert theirs.known(NODE) == VALUES


def test_what_is_put_replaces_its_own_names_alone(mine: SecretSource, theirs: SecretSource) -> None:
    mine.put(NODE, VALUES, "")
    more = {"k3s_token": Secret("new"), "extra.wifi": Secret("w"), "ssh_password": Secret("p")}
    theirs.put(NODE, more, theirs.read(NODE).version)
    assert mine.read(NODE).values == {**VALUES, **more}


TEXTS = [
    "",
    " ",
    "a\nb\n",
    " a\t'\"\\",
    "null",
    "1e5",
    "{a: [b",
    "--- # no",
    "$(id) %n {{x}}",
    "ü\u2028\U0001f511",
    "x" * 9999,
]


def test_any_text_is_read_as_it_was_put(mine: SecretSource, theirs: SecretSource) -> None:
    values = {f"extra.n{number}": Secret(text) for number, text in enumerate(TEXTS)}
    mine.put(NODE, values, "")
    assert theirs.read(NODE).values == values


OWNERS = [CLUSTER, "a", "A", "a.yaml", "a.age", "a..b", "0", "-".join(["x"] * 32)]


def test_owners_are_kept_apart_whatever_they_are_called(mine: SecretSource, theirs: SecretSource) -> None:
    for owner in OWNERS:
        mine.put(owner, {"k3s_token": Secret(f"of {owner}")}, "")
    assert {owner: theirs.read(owner).values["k3s_token"].reveal() for owner in OWNERS} == {
        owner: f"of {owner}" for owner in OWNERS
    }
    assert all(mine.versions(OWNERS).values())
    assert len({mine.place(owner) for owner in OWNERS}) == len(OWNERS)


# ----------------------------------------------------------------------------------- compare-and-set


def test_nothing_is_put_over_what_was_changed_meanwhile(mine: SecretSource, theirs: SecretSource) -> None:
    mine.put(NODE, VALUES, "")
    stale = mine.read(NODE).version
    change(theirs, "theirs")
    before = mine.read(NODE)
    for version in (stale, ""):
        with pytest.raises(ConflictError) as caught:
            mine.put(NODE, {"k3s_token": Secret("hunter4")}, version)
        assert "hunter" not in str(caught.value)
    assert mine.read(NODE) == before
    change(mine, "mine")
    assert theirs.read(NODE).values["k3s_token"] == Secret("mine")


def test_nothing_is_put_where_something_was_and_is_no_more(mine: SecretSource) -> None:
    mine.put("other", VALUES, "")
    with pytest.raises(ConflictError):
        mine.put(NODE, VALUES, mine.read("other").version)
    assert mine.read(NODE) == NOTHING


def test_of_many_who_put_at_once_one_is_first(mine: SecretSource, theirs: SecretSource) -> None:
    def put(number: int) -> int | None:
        try:
            (mine, theirs)[number % 2].put(NODE, {"k3s_token": Secret(f"{number}")}, "")
        except ConflictError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        (first,) = [number for number in pool.map(put, range(8)) if number is not None]
    assert mine.read(NODE).values == {"k3s_token": Secret(f"{first}")}


# ---------------------------------------------------------------------------------------- versions


def test_a_version_stays_while_nothing_is_put(mine: SecretSource, theirs: SecretSource) -> None:
    mine.put(NODE, VALUES, "")
    looks, version = seen(mine), mine.read(NODE).version
    change(theirs, "x", "other")
    with pytest.raises(ConflictError):
        theirs.put(NODE, {"k3s_token": Secret("y")}, "")
    assert (seen(mine), seen(theirs)) == (looks, looks)
    assert theirs.read(NODE).version == version


def test_a_version_is_another_one_after_each_change(mine: SecretSource, theirs: SecretSource) -> None:
    looks, versions = [], []
    for value in ("hunter1", "hunter2", "hunter1"):
        change(theirs, value)
        looks.append(seen(mine))
        versions.append(mine.read(NODE).version)
    assert len(set(looks)) == len(set(versions)) == 3
    assert not any("hunter" in word for word in (*looks, *versions))
