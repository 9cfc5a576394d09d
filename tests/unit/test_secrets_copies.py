"""Sealed copies of what Vault gave: whole, private, as old as they say, and a source for when it is away."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE, run
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import MetisError, MismatchError, RefusedError, SourceError
from pipeline.model import SecretRef
from pipeline.secret import Secret
from pipeline.secrets import copies as module
from pipeline.secrets.age_keys import AgeKeys
from pipeline.secrets.copies import Copies, Copy, OfflineCopies, age_in_words
from pipeline.secrets.keyring import Keyring
from pipeline.secrets.node_file import FIELDS, values_of
from pipeline.secrets.sealed import sealed_folder
from pipeline.secrets.source import CLUSTER, NOTHING, Stored, look
from pipeline.secrets.used import UsedSecrets
from tests.support.rendering import program

NODE = "titan-13"
PLACE = "kv/atlas/nodes/titan-13 of https://vault.example"
CHANGED = datetime(2026, 11, 1, 12, 30, 15, 123456, UTC)
NOW = datetime(2026, 11, 22, 10, 12, 30, tzinfo=UTC)
STORED = Stored({"k3s_token": Secret("hunter2"), "extra.machine_id": Secret("a\nb")}, "7", CHANGED)


class Clock:
    """What the module takes for the time."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self, _zone: object) -> datetime:
        return self.time


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    fake = SimpleNamespace(now=made.now, fromisoformat=datetime.fromisoformat)
    monkeypatch.setattr(module, "datetime", fake)
    return made


@pytest.fixture
def keys(tmp_path: Path) -> AgeKeys:
    return AgeKeys(tmp_path / "age.key", tuple, makes_key=True)


@pytest.fixture
def copies(tmp_path: Path, keys: AgeKeys) -> Copies:
    return Copies(tmp_path / "state/copies", keys)


def offline(copies: Copies, notes: list[str] | None = None) -> OfflineCopies:
    return OfflineCopies(copies, (notes if notes is not None else []).append)


# ---------------------------------------------------------------------------------------- keeping


def test_a_copy_is_what_was_kept_with_its_place_and_its_times(copies: Copies) -> None:
    assert copies.read(NODE) is None
    copies.keep(NODE, STORED, PLACE)
    assert copies.read(NODE) == Copy(STORED, PLACE, NOW)
    assert copies.look(NODE) == look("7", CHANGED)


def test_there_is_a_copy_of_nothing_too(copies: Copies) -> None:
    copies.keep(CLUSTER, NOTHING, PLACE)
    assert copies.read(CLUSTER) == Copy(NOTHING, PLACE, NOW)
    assert copies.look(CLUSTER) == ""
    assert copies.look(NODE) is None


def test_a_copy_without_values_is_not_one_of_nothing(copies: Copies) -> None:
    copies.keep(NODE, Stored({}, "3"), PLACE)
    assert copies.read(NODE) == Copy(Stored({}, "3"), PLACE, NOW)


def test_a_copy_is_private_and_nothing_of_it_is_in_the_clear(copies: Copies) -> None:
    copies.keep(NODE, STORED, PLACE)
    file = copies.file(NODE)
    assert [path.stat().st_mode & 0o777 for path in (file, file.parent)] == [0o600, 0o700]
    assert sorted(path.name for path in file.parent.iterdir()) == [".lock", f"{NODE}.age"]
    assert not re.search(rb"hunter|k3s|vault", file.read_bytes())


def test_a_copy_is_a_sealed_file_like_any_other(copies: Copies, keys: AgeKeys) -> None:
    copies.keep(NODE, STORED, PLACE)
    assert sealed_folder(copies.file(NODE).parent, keys).read(NODE).values == STORED.values
    opened = run(
        [program("age", "age"), "-d", "-i", keys.file, copies.file(NODE)], stdout=PIPE, check=True
    ).stdout
    assert values_of(opened, "x") == STORED.values
    assert opened.startswith(b'# copy: {"changed": "2026-11-01T12:30:15.123456+00:00", "place": "kv/atlas')


RENEWED: dict[str, tuple[Stored, str, timedelta, bool]] = {
    "the same, soon": (STORED, PLACE, timedelta(minutes=59), False),
    "the same, later": (STORED, PLACE, timedelta(minutes=61), True),
    "another version": (Stored(STORED.values, "8", CHANGED), PLACE, timedelta(), True),
    "an older version": (Stored(STORED.values, "6", CHANGED), PLACE, timedelta(), True),
    "other values": (Stored({"extra.machine_id": Secret("c")}, "7", CHANGED), PLACE, timedelta(), True),
    "no identity any more": (Stored({"k3s_token": Secret("x")}, "8", CHANGED), PLACE, timedelta(), False),
    "nothing any more": (NOTHING, PLACE, timedelta(days=1), False),
    "another place": (STORED, "elsewhere", timedelta(), True),
    "a clock put back": (STORED, PLACE, timedelta(days=-1), True),
}


@pytest.mark.parametrize(("stored", "place", "later", "renewed"), RENEWED.values(), ids=RENEWED.keys())
def test_a_copy_is_written_when_it_would_say_something_else(
    copies: Copies, clock: Clock, stored: Stored, place: str, later: timedelta, renewed: bool
) -> None:
    copies.keep(NODE, STORED, PLACE)
    before = copies.file(NODE).stat()
    clock.time += later
    copies.keep(NODE, stored, place)
    assert (copies.file(NODE).stat().st_ino != before.st_ino) == renewed
    assert copies.read(NODE) == (Copy(stored, place, clock.time) if renewed else Copy(STORED, PLACE, NOW))


BAD: dict[str, tuple[Callable[[Path, AgeKeys], object], type[MetisError], str]] = {
    "cut short": (lambda file, _: os.truncate(file, 100), MismatchError, "is cut short or altered"),
    "empty": (lambda file, _: os.truncate(file, 0), MismatchError, "is cut short or altered"),
    "another's": (
        lambda file, _: file.write_bytes(AgeKeys(file.parent / "k", tuple, makes_key=True).sealed(b"hunter")),
        SourceError,
        "is sealed for other keys",
    ),
    "no copy but a sealed file": (
        lambda file, keys: file.write_bytes(keys.sealed(b"k3s_token: hunter2\n")),
        MismatchError,
        "is no copy that Metis kept: remove it",
    ),
    "a copy without a time": (
        lambda file, keys: file.write_bytes(keys.sealed(b'# copy: {"version": "hunter2"}\nextra:\n')),
        MismatchError,
        "is no copy that Metis kept: remove it",
    ),
    "open to others": (lambda file, _: file.chmod(0o604), RefusedError, "run `chmod 0600"),
}


@pytest.mark.parametrize(("spoil", "kind", "line"), BAD.values(), ids=BAD.keys())
def test_a_bad_copy_is_one_line_and_is_replaced_by_the_next(
    copies: Copies, keys: AgeKeys, spoil: Callable[[Path, AgeKeys], object], kind: type[MetisError], line: str
) -> None:
    copies.keep(NODE, STORED, PLACE)
    spoil(copies.file(NODE), keys)
    for ask in (copies.read, copies.look, offline(copies).read):
        with pytest.raises(kind, match=line) as caught:
            ask(NODE)
        assert "hunter" not in str(caught.value)
        assert caught.value.__context__ is None
        assert "\n" not in str(caught.value)
    copies.keep(NODE, STORED, PLACE)
    assert copies.read(NODE) == Copy(STORED, PLACE, NOW)


def test_a_copy_that_cannot_be_written_is_one_line(tmp_path: Path, keys: AgeKeys) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MetisError, match="not a directory"):
        Copies(tmp_path / "file/copies", keys).keep(NODE, STORED, PLACE)


def test_many_keep_the_same_at_once_and_one_whole_copy_is_there(copies: Copies) -> None:
    given_up: list[BaseException] = []

    def work(version: int) -> None:
        try:
            for count in range(10):
                copies.keep(NODE, Stored({"cloud_init": Secret("x" * version)}, f"{version}.{count}"), PLACE)
                copy = copies.read(NODE)
                assert copy
                assert len(copy.stored.values["cloud_init"].reveal()) == int(
                    copy.stored.version.split(".")[0]
                )
        except BaseException as error:  # noqa: BLE001 - shown below
            given_up.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given_up == []


names = st.sampled_from(FIELDS) | st.from_regex(r"extra\.[a-z][a-z0-9_]{0,5}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"))
stored = st.builds(
    Stored,
    st.dictionaries(names, (texts | st.just("# copy: {}\n")).map(Secret)),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)


@given(stored, st.text(st.characters(exclude_categories=["Cs"])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_a_source_gives_is_read_again_as_it_was(copies: Copies, stored: Stored, place: str) -> None:
    copies.keep(NODE, stored, place)
    assert copies.read(NODE) == Copy(stored, place, NOW)


# ---------------------------------------------------------------------------------------- offline


def test_versions_are_those_of_what_was_copied(copies: Copies) -> None:
    copies.keep(NODE, STORED, PLACE)
    copies.keep(CLUSTER, NOTHING, PLACE)
    notes: list[str] = []
    source = offline(copies, notes)
    assert source.name == "vault"
    assert source.versions([NODE, CLUSTER, "other"]) == {NODE: look("7", CHANGED), CLUSTER: ""}
    assert source.place(NODE) == PLACE
    assert source.known(NODE) == STORED.values
    assert notes == [], "nothing was used yet"


def test_where_no_copy_is_nobody_can_tell_a_version(copies: Copies) -> None:
    with pytest.raises(SourceError, match="offline: there is no sealed copy of the secrets of titan-13"):
        offline(copies).versions([NODE, CLUSTER])


def test_a_bad_copy_hides_no_other(copies: Copies) -> None:
    copies.keep(NODE, STORED, PLACE)
    copies.keep("bad", STORED, PLACE)
    os.truncate(copies.file("bad"), 10)
    source = offline(copies)
    assert source.versions([NODE, "bad"]) == {NODE: look("7", CHANGED)}
    assert source.known("bad") == {}
    assert source.place("bad") == str(copies.file("bad"))


@pytest.mark.parametrize(
    ("owner", "line"),
    [
        (
            NODE,
            "the secrets of titan-13: run `metis image --deep --node titan-13` without METIS_OFFLINE",
        ),
        (
            CLUSTER,
            "what all nodes share: run `metis image --deep --node …` without METIS_OFFLINE while",
        ),
    ],
)
def test_without_a_copy_it_is_said_what_to_do(copies: Copies, owner: str, line: str) -> None:
    with pytest.raises(SourceError, match=re.escape(f"offline: there is no sealed copy of {line}")) as caught:
        offline(copies).read(owner)
    assert caught.value.exit_code == 5


def test_nothing_is_put_into_copies(copies: Copies) -> None:
    copies.keep(NODE, STORED, PLACE)
    with pytest.raises(SourceError) as caught:
        offline(copies).put(NODE, {"k3s_token": Secret("hunter4"), "cloud_init": Secret("hunter5")}, "7")
    assert str(caught.value) == (
        f"offline: cloud_init, k3s_token of titan-13 cannot be put into {PLACE}: "
        "run again without METIS_OFFLINE"
    )
    assert copies.read(NODE) == Copy(STORED, PLACE, NOW)


def test_each_owner_is_told_of_once(copies: Copies, clock: Clock) -> None:
    copies.keep(NODE, STORED, PLACE)
    copies.keep(CLUSTER, NOTHING, PLACE)
    clock.time += timedelta(days=3, hours=1)
    notes: list[str] = []
    source = offline(copies, notes)
    for _ in range(2):
        assert source.read(NODE) == STORED
        assert source.read(CLUSTER) == NOTHING
    assert notes == [
        "titan-13: METIS_OFFLINE: secrets from the sealed copy of 2026-11-22 10:12 UTC, 3 days old",
        "all nodes: METIS_OFFLINE: no secrets from the sealed copy of 2026-11-22 10:12 UTC, 3 days old",
    ]


def test_an_image_made_from_vault_stays_current_with_its_copies(copies: Copies, tmp_path: Path) -> None:
    class Vault(OfflineCopies):
        """Gives what it is asked for, and keeps a copy of it."""

        def versions(self, owners: object) -> dict[str, str]:
            return {NODE: look("7", CHANGED), CLUSTER: ""}

        def read(self, owner: str) -> Stored:
            stored = STORED if owner == NODE else NOTHING
            copies.keep(owner, stored, PLACE)
            return stored

    used = UsedSecrets(tmp_path / "artifacts", makes_key=True)
    refs = [SecretRef("k3s_token")]
    before, after = (Keyring(source, [NODE], used) for source in (Vault(copies, print), offline(copies)))
    assert before.used(NODE, refs) == after.used(NODE, refs)
    assert before.seen(NODE) == after.seen(NODE)


def test_what_is_missing_of_an_identity_is_not_made_offline(copies: Copies, tmp_path: Path) -> None:
    copies.keep(NODE, STORED, PLACE)
    copies.keep(CLUSTER, NOTHING, PLACE)
    ring = Keyring(offline(copies), [NODE], UsedSecrets(tmp_path / "artifacts", makes_key=True))
    with pytest.raises(SourceError, match=r"offline: extra\.node_password of titan-13 cannot be put into"):
        ring.revealed(NODE, [SecretRef("extra.node_password")])


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=-5), "less than a minute old"),
        (timedelta(seconds=59), "less than a minute old"),
        (timedelta(seconds=60), "1 minute old"),
        (timedelta(minutes=59, seconds=59), "59 minutes old"),
        (timedelta(hours=1), "1 hour old"),
        (timedelta(hours=47), "1 day old"),
        (timedelta(days=400), "400 days old"),
    ],
)
def test_an_age_is_said_in_its_largest_unit(age: timedelta, words: str) -> None:
    assert age_in_words(age) == words
