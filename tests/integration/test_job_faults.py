"""What the scheduler of jobs lives through: odd rows, processes that end early, orphans, full disks."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.history import database, jobs
from pipeline.history.jobs import Job, Wanted
from pipeline.machine import durable, process
from pipeline.service import job_files
from pipeline.service.job_files import forget_old, journal_of, lock_of
from pipeline.service.runner import CUT_OFF, NOT_BEGUN, Runner
from tests.support.waiting import PATIENCE

NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "history.sqlite3"


def asked(history: Path, kind: str = "image", node: str = "alpha") -> Job:
    return jobs.add(history, Wanted(kind, node, "ops"), NOW)[0]


def got(history: Path, job: Job) -> Job:
    found = jobs.get(history, job.id)
    assert found is not None
    return found


@pytest.fixture
def runner(history: Path) -> Runner:
    """One whose jobs have no inventory, so that each fails at once."""
    return Runner(history, {"METIS_INVENTORY": str(history.parent / "none")}, lambda: None)


def ended(runner: Runner, history: Path, job: Job) -> Job:
    while not got(history, job).is_over:
        runner.look()
    return got(history, job)


def test_a_job_of_a_newer_metis_fails_and_the_next_one_goes_on(history: Path, runner: Runner) -> None:
    odd, next_one = asked(history, "teleport"), asked(history)
    assert ended(runner, history, odd).said == "this Metis does not know how to do 'teleport': upgrade it"
    assert ended(runner, history, next_one).code == 2


def test_a_burn_without_a_card_fails_by_itself(history: Path, runner: Runner) -> None:
    assert ended(runner, history, asked(history, "burn")).state == "failed"


def test_processes_that_ended_are_waited_for_and_forgotten(history: Path, runner: Runner) -> None:
    job = asked(history)
    runner.look()
    pid = runner._begun[job.id].pid
    ended(runner, history, job)
    while runner._begun:
        runner.look()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_process_that_ends_before_it_begins_has_failed(
    history: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    job = ended(runner, history, asked(history))
    assert job.state == "failed"
    assert job.said.startswith(NOT_BEGUN)


def test_a_process_that_an_earlier_service_began_keeps_its_job(
    history: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours may end first, as it may have been killed; the job is still to be had by the other."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    job = asked(history)
    with durable.locked(lock_of(history, job.id), lambda _: None):
        runner.look()
        while runner._begun[job.id].is_running:
            pass
        runner.look()
        assert got(history, job).state == "waiting"
    assert ended(runner, history, job).said.startswith(NOT_BEGUN)


def test_a_second_process_for_a_job_waits_and_finds_nothing_to_do(history: Path) -> None:
    job = asked(history)
    with durable.locked(lock_of(history, job.id), lambda _: None):
        jobs.claim(history, job.id, NOW)
        second = subprocess.Popen([sys.executable, "-m", "pipeline.job", str(history), str(job.id)])
        jobs.end(history, job.id, "done", 0, "", NOW)
    assert second.wait(PATIENCE) == 0
    assert not journal_of(history, job.id).exists()


# ------------------------------------------------------------------------------------- what is left

LEADER = """
import os, pathlib, subprocess, sys
from pipeline.machine import durable
with durable.locked(pathlib.Path(sys.argv[1]), print):
    child = subprocess.Popen(["sleep", "1000"], process_group=0)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


@contextmanager
def leading(lock: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that holds a lock, and the child that it has in a group of its own."""
    words = [sys.executable, "-c", LEADER, str(lock)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, start_new_session=True) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        try:
            yield leader, child
        finally:
            leader.kill()
            process.end_session(leader.pid, at_once=True)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_a_killed_job_started_is_ended_before_the_job_is_called_over(
    history: Path, runner: Runner
) -> None:
    job = asked(history)
    jobs.claim(history, job.id, NOW)
    with leading(lock_of(history, job.id)) as (leader, child):
        runner.look()
        assert got(history, job).state == "running"
        leader.kill()
        leader.wait()
        assert ended(runner, history, job).said == CUT_OFF
        assert not is_there(child)


def test_a_job_that_does_not_stop_is_killed_with_what_it_started(
    history: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.service.runner.PATIENCE", 0)
    job = asked(history)
    jobs.claim(history, job.id, NOW)
    jobs.cancel(history, job.id, NOW)
    with leading(lock_of(history, job.id)) as (leader, child):
        monkeypatch.setattr(signal, "SIGTERM", signal.SIGCONT)  # which it does not mind
        assert ended(runner, history, job).state == "cancelled"
        leader.wait()
        assert not is_there(child)


def test_a_stranger_with_the_number_of_a_job_that_is_over_is_left_alone(history: Path) -> None:
    with leading(lock_of(history, 1)) as (leader, child):
        process.end_orphans(leader.pid)
        assert is_there(child)
        assert leader.poll() is None


@pytest.mark.parametrize("number", [0, 1, -1])
def test_nobody_has_no_orphans(number: int) -> None:
    process.end_orphans(number)


def test_files_of_old_jobs_go_but_for_those_of_jobs_that_are_not_over(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_files, "KEPT", 2)
    for number in range(1, 6):
        for file in (journal_of(history, number), lock_of(history, number)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    (journal_of(history, 0).parent / "notes.txt").touch()
    forget_old(history, {1})
    left = {
        file.name
        for file in (*journal_of(history, 0).parent.iterdir(), *lock_of(history, 0).parent.iterdir())
    }
    assert left == {"1.jsonl", "1.lock", "4.jsonl", "4.lock", "5.jsonl", "5.lock", "notes.txt"}


# ------------------------------------------------------------------------------------- the database


def going_on(runner: Runner, until: Callable[[], bool]) -> None:
    async def story() -> None:
        task = asyncio.create_task(runner.run())
        while not until():
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), PATIENCE))


def test_a_queue_that_somebody_else_holds_is_complained_of_and_goes_on_afterwards(
    history: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    job = asked(history, "teleport")
    other = sqlite3.connect(history, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    released: list[bool] = []

    def until() -> bool:
        if runner.complaints and not released:
            assert "database is locked" in runner.complaints[0]
            other.execute("ROLLBACK")
            released.append(True)
        return bool(released) and not runner.complaints and got(history, job).is_over

    going_on(runner, until)
    other.close()


def test_one_job_that_nobody_may_touch_keeps_up_no_other(
    history: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = asked(history, "burn"), asked(history)
    jobs.claim(history, stuck.id, NOW)
    jobs.cancel(history, stuck.id, NOW)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with leading(lock_of(history, stuck.id)):
        with monkeypatch.context() as patch:
            patch.setattr(process, "end_session", refused)
            assert ended(runner, history, other).is_over
        assert runner.complaints


def test_a_journal_on_a_full_disk_stops_nothing() -> None:
    from pipeline.machine.journal import JournalReporter

    journal = JournalReporter(Path("/dev/full"))
    with journal.step("burn", 10) as advance:
        advance(10)
    journal.note("done")


def test_a_job_without_a_history_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite3").write_text("no database at all, but a file of some length" * 100)
    words = [sys.executable, "-m", "pipeline.job", str(tmp_path / "history.sqlite3"), "1"]
    done = process.run(words, check=False)
    assert done.code == 1
    assert done.err.startswith(b"metis: ")
    assert len(done.err.splitlines()) == 1


def test_the_end_of_a_job_is_told_when_the_history_can_be_used_again(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import job as doing

    number = asked(history).id
    jobs.claim(history, number, NOW)
    real, calls = jobs.end, []

    def end(*words: object) -> object:
        calls.append(words)
        if len(calls) < 3:
            raise MetisError("database or disk is full")
        return real(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "end", end)
    monkeypatch.setattr(doing, "PAUSE", 0)
    doing._end(history, number, "done", 0, "built")
    found = jobs.get(history, number)
    assert found is not None
    assert (found.state, found.said) == ("done", "built")
