"""The service under the load of a busy lab, beside a server that has the same pages ready as bytes.

50 browsers listen to events and 200 requests a second ask for pages of the list of 1,000 nodes, while jobs
run one after the other and the board is made anew. The peer is uvicorn with an application of ten lines and
gets the same requests in turn with ours: what it needs, the machine needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import MetisError
from pipeline.history import jobs
from pipeline.history.jobs import Wanted
from pipeline.machine import process
from tests.support.lab import BIN, QUICK_INJECTOR, Lab
from tests.support.service import Running, serving

from . import nodes
from .compare import Comparison, Cost
from .load import Times, listening, load

NODES, PAGE, BROWSERS, RATE = 1000, 50, 50, 200.0
SECONDS = 600.0
"""Of our load in the benchmark; the tests have less."""
MEDIAN = 50.0
"""Milliseconds; of the parts, that of the third best counts, since others use the machine as well."""
CORE = 0.7
"""Of one core that the service itself may use for all this, however busy the machine is."""
PARTS = 6
"""The load is in so many parts, with one of the peer's after each."""
BRIEFLY = 1.0
"""Seconds of the peer's load after each part of ours."""
GROWTH = 12 << 10
"""KiB that the memory may grow between the end of the first part and the last."""
PATHS = [f"/nodes?page={number}" for number in range(1, NODES // PAGE + 1)]

_PEER = """
import json, sys, uvicorn
pages = {path: body.encode() for path, body in json.load(open(sys.argv[1])).items()}
async def app(scope, receive, send):
    body = pages[f"{scope['path']}?{scope['query_string'].decode()}"]
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)
Server(uvicorn.Config(app, port=0, http="h11", lifespan="off", log_config=None, access_log=False)).run()
"""


def measured(runs: int, seconds: float = SECONDS, *, briefly: bool = False) -> Sequence[Comparison]:
    """Load both in turn, all of it so many times. Raises MetisError where a promise is broken.

    `briefly` asks the peer, which has promised nothing, just enough to have its figure.
    """
    peers = BRIEFLY if briefly else seconds / PARTS / 4
    found = [asyncio.run(_measured(seconds, peers)) for _ in range(runs)]
    ours = [Cost(times.median / 1000, 0) for _about, mine, _peer in found for times in mine]
    peer = [Cost(times.median / 1000, 0) for _about, _mine, theirs in found for times in theirs]
    about = {"runs": [about for about, _mine, _theirs in found]}
    return [Comparison(f"the list of {NODES:,} nodes, median of an answer", None, ours, peer, about)]


async def _measured(seconds: float, peers: float) -> tuple[dict[str, Any], list[Times], list[Times]]:
    ours: list[Times] = []
    theirs: list[Times] = []
    memory: list[int] = []
    used: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="metis-bench-") as folder,
        _ready(Path(folder)) as service,
        _peer(Path(folder), service.url) as peer,
    ):
        port = int(service.url.rpartition(":")[2])
        async with listening(port, BROWSERS) as heard, _busy(service.lab) as done:
            for _ in range(PARTS):
                before = _cpu(service.pid)
                ours.append(await load(port, PATHS, RATE, seconds / PARTS))
                used.append((_cpu(service.pid) - before) / (seconds / PARTS))
                memory.append(_memory(service.pid))
                theirs.append(await load(peer, PATHS, RATE, peers))
                _say(ours[-1], theirs[-1], memory[-1], used[-1])
    about = {
        "ours": list(map(asdict, ours)),
        "peer": list(map(asdict, theirs)),
        "memory, KiB": memory,
        "of a core": used,
        "jobs": len(done),
        "heard": heard,
    }
    _check(ours, memory, used, heard, done)
    return about, ours, theirs


def _check(
    ours: Sequence[Times],
    memory: Sequence[int],
    used: Sequence[float],
    heard: Sequence[int],
    done: Sequence[str],
) -> None:
    median, core = sorted(times.median for times in ours)[2], sorted(used)[2]
    broken = {
        f"{median:.1f} ms for an answer": median > MEDIAN,
        f"{core:.2f} of a core": core > CORE,
        f"memory grew from {memory[0]} to {memory[-1]} KiB": memory[-1] - memory[0] > GROWTH,
        f"{sum(times.wrong for times in ours)} wrong answers": any(times.wrong for times in ours),
        "a browser heard nothing": not all(heard),
        f"jobs that should be done: {done}": not done or set(done) != {"done"},
    }
    if any(broken.values()):
        raise MetisError("; ".join(said for said, is_so in broken.items() if is_so))


def _say(ours: Times, theirs: Times, memory: int, used: float) -> None:
    for name, times in (("ours", ours), ("peer", theirs)):
        said = f"median {times.median:.1f} ms, p99 {times.p99:.1f}, longest {times.longest:.0f}"
        sys.stderr.write(f"  {name}: {times.count} answers, {said}\n")
    sys.stderr.write(f"  memory: {memory} KiB, {used:.2f} of a core\n")


@contextmanager
def _ready(root: Path) -> Iterator[Running]:
    """The service of a large lab, once its board is there."""
    lab = Lab(root / "lab", {"METIS_CACHE": str(root / "cache"), "METIS_INJECTOR": QUICK_INJECTOR})
    nodes.declare(lab, NODES)
    with serving(lab) as service:
        while f"node-{NODES - 1:05}" not in _page(service.url + PATHS[-1]):
            pass
        yield service


@contextmanager
def _peer(folder: Path, url: str) -> Iterator[int]:
    """The port of a server that has the pages of ours."""
    pages, log = folder / "pages.json", folder / "peer.log"
    pages.write_text(json.dumps({path: _page(url + path) for path in PATHS}))
    with process.background([BIN / "python", "-u", "-c", _PEER, pages], log) as peer:
        while not (said := log.read_text().strip()):
            if not peer.is_running:
                raise MetisError(f"the peer ended: {peer.last_words}")
        yield int(said)


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own service
        return str(answer.read().decode())


@asynccontextmanager
async def _busy(lab: Lab) -> AsyncIterator[list[str]]:
    """Jobs one after the other while the block runs; gives the states in which they ended.

    The last one ends before the block does: nothing writes into a folder that is removed.
    """
    done: list[str] = []
    enough = asyncio.Event()
    task = asyncio.create_task(_jobs(lab.artifacts / "history.sqlite3", done, enough))
    try:
        yield done
    finally:
        enough.set()
        await task


async def _jobs(history: Path, done: list[str], enough: asyncio.Event) -> None:
    number = 0
    while not enough.is_set():
        wanted = Wanted("image", f"node-{number % NODES:05}", "benchmark")
        job, _is_new = await asyncio.to_thread(jobs.add, history, wanted, datetime.now(UTC))
        while not job.is_over:
            await asyncio.sleep(0.2)
            found = await asyncio.to_thread(jobs.get, history, job.id)
            assert found is not None
            job = found
        done.append(job.state if job.state == "done" else f"{job.state}: {job.said}")
        number += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), 2)


def _cpu(pid: int) -> float:
    """Seconds that a process itself has used (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """KiB that a process has in memory (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
