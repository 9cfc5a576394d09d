"""The service killed twenty times in the middle of builds and burns, its jobs with it or alone, or all of it.

Each job is stopped at a place of its work (tests/support/brake), so a kill comes just there: between any two
steps that leave something. Whatever is killed: afterwards each job is over or really runs, an image or a card
is whole or does not count, the queue goes on, no job was done by two, and nothing is left lying about.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.history import jobs
from pipeline.history.jobs import Job, Wanted
from pipeline.machine import durable, process
from pipeline.machine.posix import _processes as processes
from pipeline.service.job_files import journal_of, lock_of
from pipeline.service.runner import CUT_OFF
from tests.integration.test_graph import make_lab, node_text
from tests.support.cards import FIRST
from tests.support.lab import Lab
from tests.support.service import Running, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

BRAKES = Path(__file__).parents[1] / "support/brake"
BUILDS = {
    "before pipeline.history.jobs:claim": "both",
    "before pipeline.steps.build:unpack": "service",
    "after pipeline.steps.build:unpack": "power",
    "before pipeline.steps.build:apply": "power",
    "after pipeline.raw.sparse:copy": "both",
    "after pipeline.steps.build:apply": "power",
    "before pipeline.steps.receipts:_describe": "group",
    "before pipeline.steps.receipts:stamp": "power",
    "after pipeline.steps.receipts:finish": "both",
    "before pipeline.history.jobs:end": "twice",
}
"""The places where a build is stopped, in the order in which it comes there, and who is killed then."""
OF_BASES = list(BUILDS)[:4]
"""Those that a build comes to where its base is stale too."""
BURNS = {
    "before pipeline.history.jobs:claim": "twice",
    "before pipeline.steps.burn:write_card": "power",
    "after pipeline.card.engine:_Burn._clear": "both",
    "after pipeline.card.transfer:Transfer.put": "service",
    "before pipeline.card.transfer:Transfer.differing": "power",
    "before pipeline.card.engine:_Burn._record": "group",
    "before pipeline.card.engine:_Burn._ends": "power",
    "after pipeline.card.engine:_Burn._cut": "both",
    "after pipeline.steps.burn:write_card": "power",
    "before pipeline.history.jobs:end": "both",
}
CASES = [
    *(("image", place, victim) for place, victim in BUILDS.items()),
    *(("burn", place, victim) for place, victim in BURNS.items()),
]
assert len(CASES) == 20
ALONE = [
    ("image", "after pipeline.steps.build:apply", "job"),
    ("burn", "before pipeline.card.transfer:Transfer.differing", "job"),
]
"""Where the service lives on and its job does not."""
ENDING = {"job", "both", "power"}
"""Who is killed where the job does not go on."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Iterator[Running]:
    """The service of a lab in which gamma is built."""
    lab = make_lab(tmp_path_factory.mktemp("killed"), tiny_golden)
    lab.environment |= {"PYTHONPATH": str(BRAKES), "BRAKE": str(lab.root / "brake")}
    assert lab.metis("image", "--node", "gamma").code == 0
    with serving(lab) as service:
        yield service
    for lock in lock_of(history(lab), 0).parent.glob("*.lock"):
        if state_of(durable.last_holder_of(lock)) == "T":  # of a test that failed
            process.end_session(durable.last_holder_of(lock), at_once=True)


def history(lab: Lab) -> Path:
    return lab.artifacts / "history.sqlite3"


def asked(lab: Lab, kind: str, node: str, **options: str) -> Job:
    return jobs.add(history(lab), Wanted(kind, node, "ops", options), datetime.now(UTC))[0]


def got(lab: Lab, job: Job) -> Job:
    found = jobs.get(history(lab), job.id)
    assert found is not None
    return found


def over(lab: Lab, job: Job) -> Job:
    wait_until(lambda: got(lab, job).is_over)
    return got(lab, job)


def told(lab: Lab, job: Job) -> list[dict[str, object]]:
    journal = journal_of(history(lab), job.id)
    lines = journal.read_bytes().splitlines() if journal.exists() else []
    return [json.loads(line) for line in lines]


def change(lab: Lab, node: str, number: int) -> None:
    """Have a node built anew: it gets another address."""
    lab.write(f"nodes/{node}.yaml", node_text("plain", number))


def stopped(lab: Lab, job: Job) -> int:
    """The process of a job, once it has stopped where it was to."""
    lock = lock_of(history(lab), job.id)

    def is_so() -> bool:
        assert not got(lab, job).is_over, "it never came there"
        return state_of(durable.last_holder_of(lock)) == "T"

    wait_until(is_so)
    return durable.last_holder_of(lock)


def state_of(pid: int) -> str:
    """What a process does (proc_pid_stat(5)), empty where there is none."""
    return next((stat[0] for each, stat in processes() if each == pid), "")


def kill(service: Running, victim: str, holder: int) -> None:
    """Kill a victim; the service is there again afterwards, and a job that lives goes on."""
    if victim in {"job", "both"}:
        os.kill(holder, signal.SIGKILL)
    if victim == "power":
        process.end_session(holder, at_once=True)
    if victim in {"group", "power"}:
        service.kill_group()
    elif victim != "job":
        service.kill()
    if victim == "twice":
        service.start()
        service.kill()
    if victim != "job":
        service.start()
    if victim not in ENDING:
        os.kill(holder, signal.SIGCONT)


@pytest.mark.parametrize(
    ("number", "kind", "place", "victim"),
    [(number, *case) for number, case in enumerate((*CASES, *ALONE), 1)],
    ids=[f"{kind}, {victim} {place}" for kind, place, victim in (*CASES, *ALONE)],
)
def test_after_a_kill_all_is_as_it_should_be(
    service: Running, number: int, kind: str, place: str, victim: str
) -> None:
    lab = service.lab
    card, brake = lab.root / f"card-{number}", lab.root / "brake"
    brake.write_text(place)
    if kind == "image":
        if place in OF_BASES:
            lab.write("overlays/plain/root/etc/issue", f"{number}\n")
        change(lab, "alpha", 10 + number)
        job = asked(lab, kind, "alpha")
    else:
        card.touch()
        job = asked(lab, kind, "gamma", card=str(card))
    holder = stopped(lab, job)
    brake.unlink()
    kill(service, victim, holder)

    change(lab, "beta", 100 + number)
    following = asked(lab, "image", "beta")
    assert over(lab, following).state == "done", got(lab, following)
    ended = over(lab, job)
    if victim in ENDING:
        is_begun = place != "before pipeline.history.jobs:claim"
        assert ended.said == CUT_OFF if is_begun else ended.state == "done", ended
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
    assert not belongings(lab, holder)


def belongings(lab: Lab, session: int) -> list[str]:
    """What was begun for a lab and is still there: processes, what is mounted, loop devices, files."""
    mounted = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(lab.root) in line]
    loops = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # others detach theirs
            loops.append(file.read_text())
    # What has ended and has nobody else left is init's to put away, whenever that may be (proc_pid_stat(5)).
    alive = [str(pid) for pid, stat in processes() if int(stat[3]) == session and stat[:2] != ["Z", "1"]]
    return [*mounted, *(each for each in loops if str(lab.root) in each), *alive, *map(str, lab.leftovers())]


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


def check_card(lab: Lab, job: Job, card: Path) -> None:
    """A card is whole, or nothing boots from it."""
    whole = (
        lab.metis("verify", "--node", "gamma", "--image", str(card)).code == 0
        if card.stat().st_size
        else False
    )
    assert whole or not any(card.read_bytes()[:FIRST])
    assert whole or job.state != "done"
