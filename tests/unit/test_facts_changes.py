"""What changed between two looks at the nodes, and the database that remembers the last one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.facts.changes import Changes, Retargeted, State, changes, seen
from pipeline.facts.expected import Expected
from pipeline.facts.finding import SEVERITIES, Finding
from pipeline.facts.overview import Declared, overview
from pipeline.facts.snapshot import from_data
from pipeline.history import database
from pipeline.history.database import FORMAT
from pipeline.history.watches import targets_history, watched
from tests.support import snapshots

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
EDITED = Finding("titan-13", "file", "/etc/hosts", "warning", "sha256 aa", "bb", "rebuild")
WORSE = replace(EDITED, found="cc")
HOSTILE = replace(EDITED, subject="/x\x1b[2J\n<script>", found="\u202e")


def state(*findings: Finding, targets: dict[tuple[str, str], str] | None = None, silent: str = "") -> State:
    return State({each.key: each for each in findings}, targets or {}, frozenset(silent.split()))


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (state(), state(), "nothing changed\n"),
        (state(EDITED), state(EDITED), "nothing changed\n"),
        (state(EDITED), state(replace(EDITED, advice="as 3 of 4 have")), "nothing changed\n"),
        (
            state(),
            state(EDITED),
            "+ warning  titan-13  file /etc/hosts: expected sha256 aa, found bb: rebuild\n",
        ),
        (
            state(EDITED),
            state(WORSE),
            "~ warning  titan-13  file /etc/hosts: expected sha256 aa, found cc: rebuild\n",
        ),
        (state(EDITED), state(), "- warning  titan-13  file /etc/hosts\n"),
        (state(), state(targets={("pi", "kernel"): "6.6"}), "= class pi: kernel: nothing -> 6.6\n"),
        (
            state(targets={("pi", "kernel"): "6.6"}),
            state(targets={("pi", "kernel"): "6.7"}),
            "= class pi: kernel: 6.6 -> 6.7\n",
        ),
        (state(), state(silent="titan-15"), "? titan-15 fell silent\n"),
        (state(silent="titan-15"), state(), "! titan-15 spoke again\n"),
    ],
    ids=[
        "nothing",
        "the same",
        "otherwise advised",
        "came",
        "otherwise",
        "gone",
        "target",
        "new target",
        "silent",
        "spoke",
    ],
)
def test_each_change_is_one_line(before: State, after: State, text: str) -> None:
    assert changes(before, after).to_text() == text


def test_no_word_of_a_node_reaches_the_terminal_as_it_is() -> None:
    text = changes(state(), state(HOSTILE)).to_text() + changes(state(HOSTILE), state()).to_text()
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    assert len(text.splitlines()) == 2


# ------------------------------------------------------------------------------------- the next state


def looked(before: State, *, silent: bool = False, makes_sense: bool = True, wanted: Any = None) -> State:
    """The state after a look at which titan-13 said nothing of what was found on it before."""
    said = {} if silent else {"titan-13": from_data(snapshots.snapshot("titan-13", card=None, files=None))}
    expected = Expected("titan-13", "pi", "titan-13", (), (), {}, "", {}, {}) if makes_sense else None
    declared = Declared({"pi": ["titan-13"]}, {"titan-13": expected} if expected else {}, {})
    return seen(overview(declared, said, None), wanted or {}, before)


def test_what_is_not_found_again_is_gone() -> None:
    after = looked(state(EDITED, targets={("pi", "kernel"): "6.1"}))
    assert EDITED.key not in after.findings
    assert after.targets == {}


@pytest.mark.parametrize("how", [{"silent": True}, {"makes_sense": False}], ids=["silent", "no sense"])
def test_what_could_not_be_compared_keeps_its_findings_and_targets(how: dict[str, bool]) -> None:
    before = state(EDITED, targets={("pi", "kernel"): "6.1", ("gone", "kernel"): "6.1"})
    after = looked(before, **how)
    assert after.findings == {EDITED.key: EDITED}
    assert after.targets == {("pi", "kernel"): "6.1"}


def test_findings_of_a_node_that_is_not_in_the_inventory_any_more_are_gone() -> None:
    assert looked(state(replace(EDITED, node="titan-99")), silent=True).findings == {}


def test_targets_of_packages_are_kept_one_by_one() -> None:
    wanted = {"pi": {"kernel": "6.6", "packages": {"curl": "7"}}}
    assert looked(state(), wanted=wanted).targets == {("pi", "kernel"): "6.6", ("pi", "package curl"): "7"}


# ----------------------------------------------------------------------------------------- the database

words = st.text(max_size=4)
findings = st.builds(Finding, words, words, words, st.sampled_from(SEVERITIES), words, words, words)
states = st.builds(
    State,
    st.lists(findings, max_size=4).map(lambda found: {each.key: each for each in found}),
    st.dictionaries(st.tuples(words, words), words, max_size=3),
    st.frozensets(words, max_size=3),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "history.sqlite3"


@given(st.lists(states, min_size=1, max_size=5))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_look_is_compared_with_the_one_before(tmp_path: Path, looks: list[State]) -> None:
    file = tmp_path / "history.sqlite3"
    for left in tmp_path.glob("history*"):
        left.unlink()
    before = State()
    for minute, after in enumerate(looks):
        remembered, found = at(file, after, minute)
        assert remembered == before
        assert found == changes(before, after)
        before = after


def at(file: Path, after: State, minute: int) -> tuple[State, Changes]:
    remembered: list[State] = []

    def look(before: State) -> State:
        remembered.append(before)
        return after

    found = watched(file, look, NOW + timedelta(minutes=minute))
    return remembered[0], found


def test_what_was_recommended_is_remembered_with_its_times(file: Path) -> None:
    for minute, version in enumerate(["6.6", "6.6", "6.7"]):
        at(file, state(targets={("pi", "kernel"): version}), minute)
    assert [(row["version"], row["since"], row["until"]) for row in targets_history(file)] == [
        ("6.6", "2026-11-29T03:00:00Z", "2026-11-29T03:02:00Z"),
        ("6.7", "2026-11-29T03:02:00Z", None),
    ]


def test_a_look_that_fails_leaves_no_trace(file: Path) -> None:
    at(file, state(EDITED), 0)

    def fail(_before: State) -> State:
        raise MetisError("no")

    with pytest.raises(MetisError, match="no"):
        watched(file, fail, NOW)
    assert at(file, state(EDITED), 1)[1] == Changes()


def test_two_that_look_at_once_take_turns(file: Path) -> None:
    came: list[int] = []
    threads = [Thread(target=lambda: came.append(len(at(file, state(EDITED), 0)[1].came))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == [0] * 7 + [1]


def test_who_reads_does_not_wait_for_who_writes(file: Path) -> None:
    at(file, state(EDITED), 0)

    def read_meanwhile(before: State) -> State:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=0)) as other:
            assert other.execute("SELECT count(*) FROM findings").fetchone() == (1,)
        return before

    watched(file, read_meanwhile, NOW)


def test_only_its_owner_may_read_the_history(file: Path) -> None:
    at(file, state(EDITED), 0)
    assert [each.stat().st_mode & 0o077 for each in file.parent.iterdir()] == [0]


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def of_the_future(file: Path) -> None:
    with closing(sqlite3.connect(file)) as opened:
        opened.execute(f"PRAGMA user_version = {FORMAT + 1}")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.write_bytes(b"no database at all" * 100), "move it away to begin anew"),
        (truncated, "move it away to begin anew"),
        (of_the_future, "upgrade Metis"),
    ],
    ids=["something else", "truncated", "of a newer Metis"],
)
def test_a_file_that_is_no_history_is_refused_in_one_line(
    file: Path, spoil: Callable[[Path], None], words: str
) -> None:
    at(file, state(EDITED), 0)
    spoil(file)
    before = file.read_bytes()
    with pytest.raises(MetisError, match=words):
        at(file, state(), 1)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "words", ["PRAGMA query_only = ON", "PRAGMA max_page_count = 1"], ids=["read-only", "full"]
)
def test_a_history_that_only_cannot_be_written_is_not_to_be_moved_away(
    file: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(file, state(), 0)
    monkeypatch.setattr(database, "PREPARE", (*database.PREPARE, words))
    many = [replace(EDITED, subject=f"/{number}", found="x" * 1000) for number in range(100)]
    with pytest.raises(MetisError, match="cannot be used now") as caught:
        at(file, state(*many), 1)
    assert "move it away" not in str(caught.value)


def test_an_added_target_says_what_it_is_for() -> None:
    found = changes(state(), state(targets={("pi", "package curl"): "7"}))
    assert found.targets == (Retargeted("pi", "package curl", None, "7"),)
