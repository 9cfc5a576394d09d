"""The queue of jobs: what may follow what, who may do a job, and which jobs may run beside each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RefusedError
from pipeline.history import jobs
from pipeline.history.jobs import Job, Wanted
from pipeline.service.kinds import KINDS, startable

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
BUILD = Wanted("image", "titan-13", "ops")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


def added(file: Path, wanted: Wanted = BUILD) -> Job:
    return jobs.add(file, wanted, NOW)[0]


def test_a_job_waits_runs_and_ends(file: Path) -> None:
    job = added(file)
    assert (job.state, job.asked_at, job.who) == ("waiting", "2026-11-28T12:00:00Z", "ops")
    assert jobs.claim(file, job.id, LATER) == replace(job, state="running", begun_at="2026-11-28T12:05:00Z")
    ended = jobs.end(file, job.id, "failed", 3, "refused", LATER)
    assert ended == jobs.get(file, job.id)
    assert ended is not None
    assert (ended.state, ended.code, ended.said, ended.is_over) == ("failed", 3, "refused", True)


def test_only_one_of_many_gets_a_job(file: Path) -> None:
    job = added(file)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: jobs.claim(file, job.id, NOW), range(8)))
    assert sum(claim is not None for claim in claims) == 1


def test_a_button_that_is_pressed_twice_asks_once(file: Path) -> None:
    first, again = (jobs.add(file, BUILD, NOW) for _ in range(2))
    assert (first[1], again[1]) == (True, False)
    assert again[0] == first[0]
    jobs.claim(file, first[0].id, NOW)
    assert jobs.add(file, BUILD, NOW)[1], "what runs may have read what is asked for to be read anew"


@pytest.mark.parametrize(
    "other", [replace(BUILD, node="titan-14"), replace(BUILD, options={"card": "/dev/x"})]
)
def test_what_differs_is_another_job(file: Path, other: Wanted) -> None:
    added(file)
    assert jobs.add(file, other, NOW)[1]


BURN = Wanted("burn", "titan-13", "anna", {"card": "/dev/x", "seen": {"sequence": "7"}})


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_card_that_is_burned_is_not_burned_again_for_a_second_press(file: Path, is_begun: bool) -> None:
    job, _ = jobs.add(file, BURN, NOW)
    if is_begun:
        jobs.claim(file, job.id, NOW)
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: jobs.add(file, replace(BURN, who="eve"), NOW), range(8)))
    assert {(each.id, is_new) for each, is_new in again} == {(job.id, False)}


@pytest.mark.parametrize(
    "change", [{"node": "titan-14"}, {"options": {"card": "/dev/x", "seen": {"sequence": "8"}}}]
)
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_card_is_for_one_burn(file: Path, is_begun: bool, change: dict[str, Any]) -> None:
    job, _ = jobs.add(file, BURN, NOW)
    if is_begun:
        jobs.claim(file, job.id, NOW)
    other = replace(BURN, **change)
    with pytest.raises(
        RefusedError, match="job 1 burns titan-13 to this card: wait for its end, or cancel it"
    ):
        jobs.add(file, other, NOW)
    assert jobs.add(file, replace(other, options={"card": "/dev/y"}), NOW)[1]
    jobs.cancel(file, job.id, LATER)
    assert jobs.add(file, other, NOW)[1]


def test_a_waiting_job_is_taken_back_and_never_done(file: Path) -> None:
    job = added(file)
    cancelled = jobs.cancel(file, job.id, LATER)
    assert cancelled is not None
    assert (cancelled.state, cancelled.ended_at) == ("cancelled", "2026-11-28T12:05:00Z")
    assert jobs.claim(file, job.id, NOW) is None


def test_a_running_job_is_asked_to_stop_and_says_itself_what_came_of_it(file: Path) -> None:
    job = added(file)
    jobs.claim(file, job.id, NOW)
    asked = jobs.cancel(file, job.id, LATER)
    assert asked is not None
    assert (asked.state, asked.stop) == ("running", True)
    ended = jobs.end(file, job.id, "done", 0, "", LATER)
    assert ended is not None
    assert ended.state == "done", "it was faster"


@pytest.mark.parametrize("number", [0, -1, 99, 2**62])
def test_a_job_that_is_not_there_cannot_be_touched(file: Path, number: int) -> None:
    assert jobs.get(file, number) is None
    assert jobs.claim(file, number, NOW) is None
    assert jobs.cancel(file, number, NOW) is None
    assert jobs.end(file, number, "done", 0, "", NOW) is None


def test_what_is_over_stays_as_it_is(file: Path) -> None:
    job = added(file)
    jobs.claim(file, job.id, NOW)
    ended = jobs.end(file, job.id, "done", 0, "", NOW)
    assert jobs.cancel(file, job.id, LATER) is None
    assert jobs.end(file, job.id, "failed", 1, "late", LATER) is None
    assert jobs.get(file, job.id) == ended


def test_the_newest_come_first_page_by_page(file: Path) -> None:
    numbers = [added(file, replace(BUILD, node=f"n{number}")).id for number in range(7)]
    page = jobs.latest(file, limit=3)
    assert [job.id for job in page] == numbers[:-4:-1]
    assert [job.id for job in jobs.latest(file, limit=9, before=page[-1].id)] == numbers[3::-1]
    assert [job.node for job in jobs.latest(file, limit=9, node="n2")] == ["n2"]


def test_jobs_are_counted_by_what_they_are(file: Path) -> None:
    assert jobs.tally(file) == []
    first, second = added(file), added(file, replace(BUILD, node="n2"))
    added(file, replace(BUILD, node="n3"))
    for each, code in ((first, 0), (second, None)):
        jobs.claim(file, each.id, NOW)
        jobs.end(file, each.id, "failed" if code is None else "done", code, "", NOW)
    assert jobs.tally(file) == [
        ("image", "done", 0, 1),
        ("image", "failed", None, 1),
        ("image", "waiting", None, 1),
    ]


# ------------------------------------------------------------------------------ which may run at once


def job(number: int, state: jobs.State, kind: str, card: str = "") -> Job:
    return Job(number, kind, f"n{number}", {"card": card} if card else {}, "ops", state, "")


@pytest.mark.parametrize(
    ("unfinished", "begins"),
    [
        ([], []),
        ([job(1, "waiting", "image"), job(2, "waiting", "image")], [1]),
        ([job(1, "running", "image"), job(2, "waiting", "image")], []),
        ([job(1, "running", "image"), job(2, "waiting", "burn", "/dev/a")], [2]),
        ([job(1, "waiting", "burn", "/dev/a"), job(2, "waiting", "burn", "/dev/a")], [1]),
        ([job(1, "waiting", "burn", "/dev/a"), job(2, "waiting", "burn", "/dev/b")], [1, 2]),
        ([job(1, "running", "burn", "/dev/a"), job(2, "waiting", "burn", "/dev/b")], [2]),
    ],
)
def test_one_build_and_one_burn_of_a_card_at_a_time(unfinished: list[Job], begins: list[int]) -> None:
    assert [each.id for each in startable(unfinished, 4)] == begins


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, []), ({"skips_preflight": True}, ["--no-preflight"]), ({"skips_preflight": False}, [])],
    ids=str,
)
def test_a_burn_asks_the_cluster_unless_it_was_chosen_otherwise(
    options: dict[str, bool], words: list[str]
) -> None:
    burn = replace(job(1, "waiting", "burn", "/dev/sda"), options={"card": "/dev/sda", **options})
    assert KINDS["burn"].words(burn) == ["burn", "--node", burn.node, "--device", "/dev/sda", "--yes", *words]


def test_no_more_begin_than_there_is_room_for() -> None:
    burns = [job(number, "waiting", "burn", f"/dev/{number}") for number in range(9)]
    assert [each.id for each in startable(burns, 4)] == [0, 1, 2, 3]


@given(
    st.lists(
        st.tuples(st.sampled_from(["waiting", "running"]), st.sampled_from(["image", "a", "b", "c"])),
        max_size=9,
    )
)
def test_whatever_waits_nothing_that_runs_beside_other_things_needs_what_they_have(
    drawn: list[tuple[jobs.State, str]],
) -> None:
    unfinished = [
        job(number, state, "image" if what == "image" else "burn", "" if what == "image" else what)
        for number, (state, what) in enumerate(drawn)
    ]
    begun = startable(unfinished, 4)
    held = [KINDS[each.kind].holds(each) for each in unfinished if each.state == "running"]
    needed = [KINDS[each.kind].holds(each) for each in begun]
    assert len(set(needed)) == len(needed)
    assert not set(needed) & set(held)
