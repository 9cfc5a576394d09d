"""The service killed twenty times at random moments of builds and burns, and its jobs with it or alone.

Whatever is killed: afterwards each job is over or really runs, an image or a card is whole or does not count,
the queue goes on, and no job was done by two.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.history import jobs
from pipeline.history.jobs import Job, Wanted
from pipeline.machine import durable
from pipeline.service.job_files import journal_of, lock_of
from pipeline.service.runner import CUT_OFF, NOT_BEGUN
from tests.integration.test_graph import make_lab, node_text
from tests.support.cards import FIRST
from tests.support.lab import Lab
from tests.support.service import Running, serving

pytestmark = pytest.mark.slow

SEED = 2026
RANDOM = random.Random(SEED)
VICTIMS = ("service", "job", "both", "group", "twice")
CASES = [
    (number, kind, victim, RANDOM.randrange(14), RANDOM.random() / 4)
    for number, (kind, victim) in enumerate(
        (kind, victim) for kind in ("image", "burn") for victim in 2 * VICTIMS
    )
]
assert len(CASES) == 20
LONGEST = 300.0
"""Seconds after which a job that does not end has failed the test."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Iterator[Running]:
    """The service of a lab in which gamma is built."""
    lab = make_lab(tmp_path_factory.mktemp("killed"), tiny_golden)
    assert lab.metis("image", "--node", "gamma").code == 0
    with serving(lab) as service:
        yield service


def history(lab: Lab) -> Path:
    return lab.artifacts / "history.sqlite3"


def asked(lab: Lab, kind: str, node: str, **options: str) -> Job:
    return jobs.add(history(lab), Wanted(kind, node, "ops", options), datetime.now(UTC))[0]


def got(lab: Lab, job: Job) -> Job:
    found = jobs.get(history(lab), job.id)
    assert found is not None
    return found


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what other processes write into files and databases."""
    deadline = time.monotonic() + LONGEST
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def over(lab: Lab, job: Job) -> Job:
    until(lambda: got(lab, job).is_over)
    return got(lab, job)


def told(lab: Lab, job: Job) -> list[dict[str, object]]:
    journal = journal_of(history(lab), job.id)
    lines = journal.read_bytes().splitlines() if journal.exists() else []
    return [json.loads(line) for line in lines]


def change(lab: Lab, node: str, number: int) -> None:
    """Have a node built anew: it gets another address."""
    lab.write(f"nodes/{node}.yaml", node_text("plain", number))


def kill(service: Running, victim: str, job: Job) -> None:
    """Kill a victim in the middle of whatever it does; the service is there again afterwards."""
    holder = durable.holder_of(lock_of(history(service.lab), job.id))
    if victim in {"job", "both"} and holder is not None:
        os.kill(holder, signal.SIGKILL)
    if victim == "group":
        service.kill_group()
    elif victim != "job":
        service.kill()
    if victim == "twice":
        service.start()
        service.kill()
    if victim != "job":
        service.start()


def come_so_far(lab: Lab, job: Job, lines: int) -> Callable[[], bool]:
    """Whether a job has said so many lines; with none it may not even have begun."""
    return lambda: got(lab, job).is_over or len(told(lab, job)) >= lines


@pytest.mark.parametrize(
    ("number", "kind", "victim", "lines", "more"),
    CASES,
    ids=[f"{number}-{kind}-{victim}-{lines}" for number, kind, victim, lines, _ in CASES],
)
def test_after_a_kill_all_is_as_it_should_be(
    service: Running, number: int, kind: str, victim: str, lines: int, more: float
) -> None:
    lab = service.lab
    card = lab.root / f"card-{number}"
    if kind == "image":
        change(lab, "alpha", 10 + number)
        job = asked(lab, kind, "alpha")
    else:
        card.touch()
        job = asked(lab, kind, "gamma", card=str(card))
    until(come_so_far(lab, job, lines))
    time.sleep(more)
    sys.stderr.write(
        f"seed {SEED}: {victim} killed {more:.3f} s after line {lines} of {got(lab, job).state}\n"
    )
    kill(service, victim, job)

    change(lab, "beta", 100 + number)
    following = asked(lab, "image", "beta")
    assert over(lab, following).state == "done", got(lab, following)
    ended = over(lab, job)
    if victim in {"job", "both"}:
        assert ended.state == "done" or ended.said == CUT_OFF or ended.said.startswith(NOT_BEGUN), ended
    else:
        assert ended.state == "done", ended
    assert not jobs.unfinished(history(lab))
    for each in (job, following):
        begun = [event for event in told(lab, each) if event.get("step") == 1 and event.get("done") == 0]
        assert len([event for event in begun if "ended" not in event]) <= 1, "two have done it"
    if kind == "image":
        check_image(lab, ended)
    else:
        check_card(lab, ended, card)
        card.unlink()


def check_image(lab: Lab, job: Job) -> None:
    """What is left of a build is an image with all that belongs to it, or is not taken for one."""
    said = lab.metis("status", "--json", METIS_DEEP="1")
    state = {each["node"]: each["state"] for each in json.loads(said.out)}
    assert state["beta"] == "fresh"
    if job.state == "done":
        assert state["alpha"] == "fresh"
    if state["alpha"] == "fresh":
        verified = lab.metis("verify", "--node", "alpha")
        assert verified.code == 0, verified
    assert lab.metis("image", "--node", "alpha").code == 0
    assert not lab.leftovers()


def check_card(lab: Lab, job: Job, card: Path) -> None:
    """A card is whole, or nothing boots from it."""
    whole = (
        lab.metis("verify", "--node", "gamma", "--image", str(card)).code == 0
        if card.stat().st_size
        else False
    )
    assert whole or not any(card.read_bytes()[:FIRST])
    assert whole or job.state != "done"
