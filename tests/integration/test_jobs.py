"""Jobs of the service: real builds and burns in processes of their own, ended, cut off and taken over."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.history import jobs
from pipeline.history.jobs import Job, Wanted
from pipeline.machine import durable
from pipeline.service.job_files import journal_of, lock_of
from pipeline.service.runner import CUT_OFF, Runner
from tests.integration.test_graph import make_lab
from tests.support.lab import Lab


@pytest.fixture
def lab(tmp_path: Path, tiny_golden: Path) -> Lab:
    return make_lab(tmp_path, tiny_golden)


@pytest.fixture
def history(lab: Lab) -> Path:
    return lab.artifacts / "history.sqlite3"


@pytest.fixture
def runner(lab: Lab, history: Path) -> Runner:
    return a_runner(lab, history)


def a_runner(lab: Lab, history: Path) -> Runner:
    return Runner(history, {**os.environ, **lab.variables({})}, lambda: None)


def asked(history: Path, node: str = "alpha", kind: str = "image", **options: str) -> Job:
    return jobs.add(history, Wanted(kind, node, "ops", options), datetime.now(UTC))[0]


def until(runner: Runner, history: Path, number: int, is_so: Callable[[Job], bool]) -> Job:
    """Let the runner look after its queue until a job is as it should be."""
    while True:
        runner.look()
        job = jobs.get(history, number)
        assert job is not None
        if is_so(job):
            return job
        assert not job.is_over, job
        time.sleep(0.02)


def over(runner: Runner, history: Path, job: Job) -> Job:
    return until(runner, history, job.id, lambda job: job.is_over)


def events(history: Path, job: Job) -> list[dict[str, object]]:
    return [json.loads(line) for line in journal_of(history, job.id).read_text().splitlines()]


@pytest.fixture
def building(lab: Lab) -> Iterator[Callable[[], None]]:
    """Somebody else builds, so that jobs wait, until told otherwise."""
    go_on, begun = threading.Event(), threading.Event()

    def hold() -> None:
        with durable.locked(lab.artifacts / ".state" / "lock", lambda _: None):
            begun.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait()
    yield go_on.set
    go_on.set()
    thread.join()


def waits(history: Path) -> Callable[[Job], bool]:
    """Whether a job has come so far that it waits for who builds."""

    def is_so(job: Job) -> bool:
        journal = journal_of(history, job.id)
        return journal.exists() and b"waiting: process" in journal.read_bytes()

    return is_so


def test_an_image_is_built_and_its_progress_told(lab: Lab, history: Path, runner: Runner) -> None:
    job = over(runner, history, asked(history))
    assert (job.state, job.code) == ("done", 0), job
    assert (lab.artifacts / "alpha.img").is_file()
    told = events(history, job)
    assert any("label" in event for event in told)
    assert "next: put it on a card with `metis burn --node alpha`" in [event.get("note") for event in told]


def test_a_card_is_burned(lab: Lab, history: Path, runner: Runner) -> None:
    card = lab.root / "card"
    card.touch()
    job = over(runner, history, asked(history, kind="burn", card=str(card)))
    assert job.state == "done", job
    assert card.stat().st_size > 0


def test_a_card_that_is_another_by_the_time_its_turn_comes_is_not_burned(
    lab: Lab, history: Path, runner: Runner
) -> None:
    card = lab.root / "card"
    card.write_bytes(b"photos")
    seen = {"path": str(card), "kind": "file", "size": 0, "number": "", "sequence": "", "serial": ""}
    wanted = Wanted("burn", "alpha", "ops", {"card": str(card), "seen": seen})
    job = over(runner, history, jobs.add(history, wanted, datetime.now(UTC))[0])
    assert (job.state, job.code) == ("failed", 3)
    assert "is not the card any more" in job.said
    assert job.said in [event.get("note") for event in events(history, job)]
    assert card.read_bytes() == b"photos"


def test_what_fails_says_why(lab: Lab, history: Path, runner: Runner) -> None:
    lab.write("nodes/alpha.yaml", "class: plain\nnetwrk: {}\n")
    job = over(runner, history, asked(history))
    assert (job.state, job.code) == ("failed", 2)
    assert "not everything could be built" in job.said
    assert any("netwrk" in str(event.get("note")) for event in events(history, job))


def test_a_job_outlives_the_service_that_began_it(
    lab: Lab, history: Path, runner: Runner, building: Callable[[], None]
) -> None:
    job = until(runner, history, asked(history).id, waits(history))
    building()
    assert over(a_runner(lab, history), history, job).state == "done"


def test_a_job_whose_process_is_killed_is_told_to_be_cut_off(
    lab: Lab, history: Path, runner: Runner, building: Callable[[], None]
) -> None:
    job = until(runner, history, asked(history).id, waits(history))
    holder = durable.holder_of(lock_of(history, job.id))
    assert holder is not None
    os.kill(holder, signal.SIGKILL)
    ended = over(a_runner(lab, history), history, job)
    assert (ended.state, ended.code, ended.said) == ("failed", None, CUT_OFF)
    building()
    assert over(runner, history, asked(history)).state == "done", "the queue goes on"


def test_a_cancelled_job_leaves_nothing_half(
    lab: Lab, history: Path, runner: Runner, building: Callable[[], None]
) -> None:
    job = until(runner, history, asked(history).id, waits(history))
    jobs.cancel(history, job.id, datetime.now(UTC))
    assert over(runner, history, job).state == "cancelled"
    building()
    assert not list(lab.artifacts.glob("*.img"))
    assert not lab.leftovers()


def test_two_builds_wait_for_each_other(lab: Lab, history: Path, runner: Runner) -> None:
    first, second = asked(history, "alpha"), asked(history, "beta")
    ended = over(runner, history, second)
    before = jobs.get(history, first.id)
    assert before is not None
    assert before.ended_at is not None
    assert ended.begun_at is not None
    assert before.ended_at <= ended.begun_at


def test_two_services_do_no_job_twice(lab: Lab, history: Path) -> None:
    job = asked(history)
    one, other = a_runner(lab, history), a_runner(lab, history)
    one.look()
    other.look()
    assert over(one, history, job).state == "done"
    notes = [event.get("note") for event in events(history, job)]
    assert notes.count("next: put it on a card with `metis burn --node alpha`") == 1
