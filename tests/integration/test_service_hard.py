"""The real service where things are hard: full disks, a history that others hold, what hangs, crowds."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.history import audit, jobs
from pipeline.history.jobs import Job, Wanted
from pipeline.service.asking import Asking
from pipeline.service.board import Board, look
from tests.integration.test_graph import make_lab
from tests.support.lab import Lab
from tests.support.service import Running, serving
from tests.support.small_disk import fill, small_disk
from tests.support.waiting import wait_until

IDLE = 1000
TOKEN = "t" * 32
ENDED = {0, -signal.SIGTERM}


@pytest.fixture
def lab(tmp_path: Path, tiny_golden: Path) -> Lab:
    return make_lab(tmp_path, tiny_golden)


def status(service: Running, path: str = "/nodes") -> int:
    try:
        with urllib.request.urlopen(service.url + path, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def asked(lab: Lab) -> Job:
    """A job that is over soon: there is no such node."""
    return jobs.add(lab.artifacts / "history.sqlite3", Wanted("image", "nobody", "ops"), datetime.now(UTC))[0]


def is_over(lab: Lab, job: Job) -> bool:
    found = jobs.get(lab.artifacts / "history.sqlite3", job.id)
    return found is not None and found.is_over


# -------------------------------------------------------------------------------------- the history


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with small_disk(tmp_path / "small", 8 << 20, held=True) as folder:
        yield folder


def test_on_a_full_disk_pages_go_on_and_the_queue_does_when_there_is_room(lab: Lab, small: Path) -> None:
    lab.environment |= {"METIS_ARTIFACTS": str(small / "artifacts"), "METIS_API_TOKEN": TOKEN}
    history = small / "artifacts" / "history.sqlite3"
    with serving(lab) as service:
        first = jobs.add(history, Wanted("image", "nobody", "ops"), datetime.now(UTC))[0]
        wait_until(lambda: (found := jobs.get(history, first.id)) is not None and found.is_over)
        wait_until(lambda: status(service, "/readyz") == 200)
        waiting = jobs.add(history, Wanted("teleport", "nobody", "ops"), datetime.now(UTC))[0]
        fill(small / "rest")
        with pytest.raises(MetisError, match="cannot be used now: "):
            jobs.add(history, Wanted("image", "nobody", "x" * 200_000), datetime.now(UTC))
        pages = ["/nodes", "/jobs", f"/jobs/{first.id}", "/history", "/history/audit", "/nodes/alpha"]
        pages += ["/api/v1/jobs", "/api/v1/history", "/metrics"]
        assert {page: status(service, page) for page in pages} == dict.fromkeys(pages, 200), service.log
        code, said = cancel_another(service)
        assert (code, said.startswith("what cannot be noted is not done: ")) == (503, True), said
        assert said.endswith(": free some space there and run again")
        service.kill()
        service.start()
        assert status(service, f"/jobs/{first.id}") == 200, "also where it begins on a full disk"
        assert status(service, "/readyz") == 503
        (small / "rest").unlink()
        wait_until(lambda: status(service, "/readyz") == 200)
        assert cancel_another(service) == (404, "no job 999")
        wait_until(lambda: (found := jobs.get(history, waiting.id)) is not None and found.is_over)
        assert (status(service, "/jobs"), status(service, f"/jobs/{waiting.id}")) == (200, 200)
        acts = [(each["who"], each["target"], each["outcome"]) for each in audit.acts(history)]
        assert acts == [("api token", "number=999", "404 Not Found")]
        assert "Traceback" not in service.log
        assert service.stop() in ENDED, service.log


def cancel_another(service: Running) -> tuple[int, str]:
    """What a program hears that has a job cancelled of which nobody knows."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"{service.url}/api/v1/jobs/999/cancel", b"", headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    return refused.value.code, json.loads(refused.value.read())["detail"]


def test_while_somebody_holds_the_history_pages_go_on(lab: Lab) -> None:
    with serving(lab) as service:
        wait_until(lambda: status(service, "/jobs") == 200)
        job = asked(lab)
        wait_until(lambda: is_over(lab, job))
        with closing(sqlite3.connect(lab.artifacts / "history.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(40) as browsers:
                pages = list(browsers.map(lambda _: status(service, "/jobs"), range(80)))
            assert set(pages) == {200}
            other.execute("ROLLBACK")
        job = asked(lab)
        wait_until(lambda: is_over(lab, job))


# -------------------------------------------------------------------------------------- what hangs


def test_where_a_file_hangs_the_board_is_as_it_was_and_says_so(lab: Lab) -> None:
    places = (lab.artifacts / "burns", lab.artifacts / "snapshots")
    environment = {**os.environ, **lab.variables({})}
    good = look(Asking(environment), *places, Board())
    assert set(good.rows) == {"alpha", "beta", "gamma"}
    hang(lab)
    shown = look(Asking(environment, patience=3), *places, good)
    assert shown.rows == good.rows
    assert shown.at == good.at
    assert "metis status gave no answer" in shown.complaints[0]


def hang(lab: Lab) -> None:
    """Have whoever asks for the state of images wait for ever."""
    for index in (lab.artifacts / ".state").glob("index-*.json"):
        index.unlink()
        os.mkfifo(index)


def test_whatever_hangs_keeps_no_page_and_not_the_end(lab: Lab) -> None:
    assert lab.metis("status").code == 0
    hang(lab)
    with serving(lab) as service:
        wait_until(lambda: bool(children(service.pid)))
        assert status(service) == 200
        assert service.stop() in ENDED, service.log
        assert not children(service.pid)


def children(pid: int) -> list[int]:
    """Processes that ask for the board."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


# ------------------------------------------------------------------------------------- many clients


def test_a_thousand_idle_connections_keep_nobody_out(lab: Lab) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * IDLE), hard))
    try:
        with serving(lab) as service, ExitStack() as open_ones:
            port = int(service.url.rpartition(":")[2])
            for _ in range(IDLE):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            assert [status(service) for _ in range(5)] == [200] * 5
            job = asked(lab)
            wait_until(lambda: is_over(lab, job))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_it_ends_and_begins_again_under_load(lab: Lab) -> None:
    """Whoever asks meanwhile gets a whole answer or none, and listeners are not waited for."""
    with serving(lab) as service:
        over, answers = threading.Event(), list[int]()

        def browse() -> None:
            while not over.is_set():
                try:
                    answers.append(status(service))
                except OSError:
                    answers.append(0)

        threads = [threading.Thread(target=browse) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                listeners = [urllib.request.urlopen(f"{service.url}/events", timeout=60) for _ in range(10)]
                job = asked(lab)
                assert service.stop() in ENDED, service.log
                for listener in listeners:
                    listener.read()  # to its end
                service.start()
                wait_until(partial(is_over, lab, job))
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert set(answers) <= {0, 200}
        assert 200 in answers
        assert "Traceback" not in service.log
