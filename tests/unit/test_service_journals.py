"""What pages show of a job's journal: bounded, masked, whatever stands in it, and read once for all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.machine.journal import JournalReporter
from pipeline.service import journals
from pipeline.service.journals import LONGEST_NOTE, MOST_NOTES, Step, Told, read, told

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
EVENTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("note", "step", "label", "done", "total", "ended"), JSON)
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "7.jsonl"


@given(st.lists(EVENTS.map(json.dumps).map(str.encode) | JSON.map(json.dumps).map(str.encode) | st.binary()))
def test_whatever_stands_in_it_is_shown_as_lines_or_not_at_all(lines: list[bytes]) -> None:
    found = read(lines)
    assert len(found.notes) <= len(lines)
    assert all(note.isprintable() for note in found.notes)
    assert all(step.label.isprintable() for step in found.steps)
    assert all(step.share is None or 0 <= step.share <= 100 or step.done < 0 for step in found.steps)


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e400", "[]", "{}", '"x"'])
@pytest.mark.parametrize("name", ["step", "done", "total"])
def test_a_number_that_is_none_is_passed_over(name: str, number: str) -> None:
    good = {"step": "1", "label": '"copying"', "done": "0", "total": "10"}
    line = ", ".join(f'"{key}": {value}' for key, value in {**good, name: number}.items())
    assert len(read([f"{{{line}}}".encode()]).steps) <= 1


def test_it_tells_what_goes_on_and_what_was_said(file: Path) -> None:
    reporter = JournalReporter(file)
    reporter.note("token=canary")
    with reporter.step("copying", 10):
        assert told(file).steps == (Step("copying", 0, 10),)
    assert told(file) == Told((), ("token=***",))


def test_what_is_added_is_seen(file: Path) -> None:
    reporter = JournalReporter(file)
    for count in range(1, 5):
        reporter.note(f"line {count}")
        assert len(told(file).notes) == count


def test_many_who_look_at_the_same_have_it_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    JournalReporter(file).note("said")
    reads: list[int] = []
    real = journals.read

    def counted(lines: list[bytes]) -> Told:
        reads.append(1)
        return real(lines)

    monkeypatch.setattr(journals, "read", counted)
    assert {told(file) for _ in range(50)} == {Told((), ("said",))}
    assert len(reads) == 1


def test_of_a_long_one_the_end_is_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "LONGEST", 1000)
    reporter = JournalReporter(file)
    for number in range(1000):
        reporter.note(f"line {number}")
    notes = told(file).notes
    assert notes[-1] == "line 999"
    assert len(notes) < 20


def test_one_that_is_not_there_says_nothing(file: Path) -> None:
    assert told(file) == Told((), ())


def line(**event: object) -> bytes:
    return json.dumps(event).encode()


def test_a_secret_is_masked_also_where_a_note_is_cut() -> None:
    secret = f"K10{'0a' * 32}::server:hunter2"
    for before in range(LONGEST_NOTE - 120, LONGEST_NOTE + 2):
        (note,) = read([line(note="x" * before + " " + secret)]).notes
        assert len(note) <= LONGEST_NOTE
        assert "0a0a" not in note


def test_only_what_is_shown_is_searched_for_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build may say a line of a megabyte, or many; each page that looks at it would search them all."""
    searched: list[int] = []

    def noted(text: str) -> str:
        searched.append(len(text))
        return text

    monkeypatch.setattr(journals, "redacted", noted)
    many = [line(note=f"note {number}") for number in range(5000)]
    told = read([*many, line(note="x" * 1_000_000), line(step=1, label="y" * 1_000_000, done=0, total=None)])
    assert told.notes[-1] == "x" * LONGEST_NOTE
    assert told.notes[0] == "note 4501"
    assert len(searched) == MOST_NOTES + 1
    assert max(searched) <= 2 * LONGEST_NOTE
