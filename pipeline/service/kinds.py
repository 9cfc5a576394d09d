"""The kinds of jobs: the command that does one, and what two of them must not have at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..history.jobs import Job

BUILDS = "builds"
"""There is one folder of artifacts, and one build in it at a time."""
SKIPS_PREFLIGHT = "skips_preflight"
"""The option of a burn before which the cluster is not asked."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`title` is for people, `words` are those of `metis`, `holds` is what the job has for itself."""

    title: str
    words: Callable[[Job], list[str]]
    holds: Callable[[Job], str]


def _card(job: Job) -> str:
    return str(job.options.get("card", ""))


def _burn(job: Job) -> list[str]:
    skips = ["--no-preflight"] if job.options.get(SKIPS_PREFLIGHT) else []
    return ["burn", "--node", job.node, "--device", _card(job), "--yes", *skips]


KINDS = {
    "image": Kind("build", lambda job: ["image", "--node", job.node], lambda _: BUILDS),
    "burn": Kind("burn", _burn, lambda job: f"card {_card(job)}"),
    "export": Kind("export", lambda job: ["export", "--node", job.node, f"--by={job.who}"], lambda _: BUILDS),
}


def title_of(kind: str) -> str:
    """What people call a kind of jobs; a newer Metis may have left jobs of others here."""
    return KINDS[kind].title if kind in KINDS else kind


def startable(unfinished: list[Job], most: int) -> list[Job]:
    """Which waiting jobs may begin now, of what waits or runs in its order; at most so many run at once.

    A job that waits keeps what it needs from all that were asked for later. Of a kind that only another Metis
    knows none begins.
    """
    known = [job for job in unfinished if job.kind in KINDS]
    held = {KINDS[job.kind].holds(job) for job in known if job.state == "running"}
    room = most - sum(job.state == "running" for job in unfinished)
    chosen: list[Job] = []
    for job in known:
        if job.state == "waiting":
            needed = KINDS[job.kind].holds(job)
            if needed not in held and len(chosen) < room:
                chosen.append(job)
            held.add(needed)
    return chosen
