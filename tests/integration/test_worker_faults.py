"""Workers that die of an order, hang or cannot start, and orders that fail where others do not."""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import MetisError, SourceError
from pipeline.lab.worker import carry_out
from pipeline.machine import process
from pipeline.machine.process import Background
from pipeline.machine.progress import QuietReporter
from pipeline.scheduler import client as sending
from pipeline.scheduler.access import SchedulerAccess
from pipeline.scheduler.client import Client
from pipeline.steps.orders import ImageOrder, Place
from tests.support.lab import Lab
from tests.support.waiting import wait_for_words, wait_until
from tests.support.workers import Cluster, scheduler

if TYPE_CHECKING:
    from distributed import Worker

pytestmark = pytest.mark.slow

REBORN = """
import os, sys
from pipeline.scheduler.access import SchedulerAccess
from pipeline.scheduler.hosting import distributed, host
import tests.integration.test_worker_faults
distributed()
while True:
    if not os.fork():
        host(SchedulerAccess(sys.argv[1]), sys.argv[2], 2, lambda _: print("is ready", flush=True))
    os.wait()
"""
"""A worker with two orders at a time, which is started again whenever it dies; it knows what is sent here."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TICK", 0.1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with one worker, `w`."""
    with scheduler(tmp_path_factory.mktemp("dask")) as cluster, worker(cluster, "w"):
        yield cluster


@contextmanager
def worker(cluster: Cluster, name: str) -> Iterator[Background]:
    """One that is started again whenever it dies, until the block ends."""
    log = cluster.folder / f"{name}.log"
    words = [sys.executable, "-c", REBORN, address(cluster), name]
    with process.background(words, log) as running:
        wait_for_words(log, b"is ready")
        yield running


def address(cluster: Cluster) -> str:
    return cluster.environment["METIS_SCHEDULER"]


def fits() -> str:
    return ""


@contextmanager
def run(
    cluster: Cluster, unfit: Callable[..., str] = fits, *, patience: float = 30
) -> Iterator[tuple[Client, io.StringIO]]:
    """A run's connection, and what it says."""
    said = io.StringIO()
    client = Client(SchedulerAccess(address(cluster), patience=patience), unfit, QuietReporter(said))
    yield client, said
    client.close()


# ------------------------------------------------------------------------------------ what is sent


def die(number: str, order: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work(number: str, order: int) -> int:
    time.sleep(0.2)
    return order


def fail(number: str, order: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), "/srv/metis")


def slow(dask_worker: Worker) -> str:
    """As those may be whose share is slow, or gone."""
    time.sleep({"slow": 0.5, "hung": 1000}.get(str(dask_worker.name), 0))
    return ""


# ------------------------------------------------------------------------------------------- dying


def test_an_order_that_kills_its_worker_over_and_over_fails_and_no_other_does(cluster: Cluster) -> None:
    """There is but one worker, so that whoever is under way beside it dies too."""
    with run(cluster) as (client, _), ThreadPoolExecutor() as pool:
        deadly = pool.submit(client.call, die, None, "deadly")
        others = [pool.submit(client.call, work, number, "other") for number in range(4)]
        with pytest.raises(MetisError, match=r"^deadly: worker after worker died of it") as raised:
            deadly.result()
        assert raised.value.exit_code == 1
        assert [other.result() for other in others] == list(range(4))


def test_what_an_order_fails_of_on_one_worker_is_no_loss_of_the_scheduler(cluster: Cluster) -> None:
    with run(cluster) as (client, _):
        with pytest.raises(MetisError, match=r"^broken: /srv/metis: input/output error$") as raised:
            client.call(fail, None, "broken")
        assert not isinstance(raised.value, SourceError)
        assert client.call(work, 1, "other") == 1


def test_a_run_whose_folder_cannot_be_looked_at_is_answered_and_not_taken_for_over(
    cluster: Cluster, tmp_path: Path
) -> None:
    odd = tmp_path / ("x" * 300)
    order = ImageOrder(Place(odd, odd, tmp_path, tmp_path), {}, odd, {}, {}, None)
    with run(cluster) as (client, _):
        assert "file name too long" in client.call(carry_out, order, "n-1").error


def test_what_workers_have_told_is_not_kept_for_each_run(cluster: Cluster) -> None:
    """A scheduler keeps what was told under each topic, and never forgets a topic."""

    def kept() -> set[str]:
        with run(cluster) as (client, _):
            client.call(work, 1, "n-1")
            said = client._client.get_events()
        return {topic for topic, events in said.items() if any("order" in told for _, told in events)}

    assert kept() == kept()


# ----------------------------------------------------------------------------------------- hanging


def test_a_worker_that_hangs_keeps_up_no_order_and_is_told_of(cluster: Cluster) -> None:
    with run(cluster, slow, patience=10) as (client, said), worker(cluster, "hung"):
        assert client.call(work, 1, "n-1") == 1
        assert said.getvalue() == ""
        wait_until(lambda: client.call(work, 1, "n-1") and said.getvalue())
        assert said.getvalue() == "worker hung is not used: it does not answer\n"


def test_a_worker_that_is_slow_to_answer_is_waited_for_where_no_other_may_be_asked(cluster: Cluster) -> None:
    with run(cluster, slow) as (client, said), worker(cluster, "slow"):
        assert client.call(work, 1, "n-1", without={"w"}) == 1
        assert said.getvalue() == ""


def test_a_scheduler_that_says_nothing_any_more_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scheduler(tmp_path) as hung, worker(hung, "w"), run(hung) as (client, _):
        assert client.call(work, 1, "n-1") == 1
        monkeypatch.setattr(sending, "SILENCE", 0.5)
        hung.process._child.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(SourceError, match="is lost"):
                client.call(work, 2, "n-2")
        finally:
            hung.process._child.send_signal(signal.SIGCONT)


def test_a_scheduler_that_dies_while_a_worker_is_asked_is_lost(tmp_path: Path) -> None:
    with scheduler(tmp_path) as doomed, worker(doomed, "w"):
        kill: Callable[..., Any] = partial(os.kill, doomed.process._child.pid, signal.SIGKILL)
        with run(doomed, kill) as (client, _), pytest.raises(SourceError, match="is lost"):
            client.call(work, 1, "n-1")


# --------------------------------------------------------------------------------- not even starting


@contextmanager
def listening(words: bytes) -> Iterator[str]:
    """Where somebody says some words to who comes first, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def say() -> None:
            with suppress(OSError), listener.accept()[0] as comer:
                comer.sendall(words)
                comer.recv(1000)

        if words:
            threading.Thread(target=say, daemon=True).start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.2p1\r\n", bytes(64)])
def test_who_says_nothing_or_anything_else_is_no_scheduler(words: bytes) -> None:
    with listening(words) as address:
        client = Client(SchedulerAccess(address, patience=1), fits, QuietReporter(io.StringIO()))
        for _ in range(2):
            with pytest.raises(SourceError, match=r"cannot be reached: see that it is there$"):
                client.call(work, 1, "n-1")


@pytest.fixture(scope="module")
def nobody() -> Iterator[dict[str, str]]:
    """What names somebody who listens, and never says anything."""
    with listening(b"") as found:
        yield {"METIS_SCHEDULER": found, "METIS_SCHEDULER_WAIT": "1"}


@pytest.mark.parametrize(
    ("environment", "code", "why"),
    [
        ({}, 5, "cannot be reached: see that it is there"),
        ({"METIS_SCHEDULER": "tcp://a..b:1"}, 5, "tcp://a..b:1 cannot be reached: see that it is there"),
        ({"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}, 3, "use tls:// with "),
        ({"DASK_CONFIG": "{folder}"}, 2, "is malformed"),
    ],
)
def test_a_worker_that_cannot_start_says_why_in_one_line(
    nobody: dict[str, str], tmp_path: Path, environment: dict[str, str], code: int, why: str
) -> None:
    (tmp_path / "dask.yaml").write_text("distributed: [")
    given = {name: value.format(folder=tmp_path) for name, value in environment.items()}
    said = Lab(tmp_path / "lab").metis("worker", **{"METIS_SCHEDULER_INSECURE": "1", **nobody, **given})
    assert said.code == code, said
    (line,) = said.err.splitlines()
    assert why in line


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("--name=w", "has a worker w already: take another --name"),
        ("--name=w\x1b[2J", "the name 'w\\x1b[2J' cannot be shown: take another --name"),
        ("--port={port}", "port {port}: address already in use: take another --port"),
    ],
)
def test_a_worker_does_not_start_by_a_name_or_port_that_it_cannot_have(
    cluster: Cluster, tmp_path: Path, option: str, why: str
) -> None:
    port = address(cluster).rpartition(":")[2]
    said = Lab(tmp_path).metis("worker", option.format(port=port), **cluster.environment)
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert line.endswith(why.format(port=port))
