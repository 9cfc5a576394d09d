"""A scheduler of Dask and workers of Metis: processes of their own, and in networks where a test wants it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.machine import process
from pipeline.machine.process import Background
from tests.support.authority import Authority
from tests.support.lab import Lab
from tests.support.waiting import wait_for_words, wait_until

RUN = "from pipeline.cli import main; main()"
OTHER_METIS = f"""
import importlib.metadata as metadata
real = metadata.version
metadata.version = lambda name: "0.0.9" if name == "metis" else real(name)
{RUN}"""
OTHER_VERSIONS = f"import pipeline.inject.tree as tree; tree.VERSION = 99; {RUN}"
"""What starts `metis` otherwise than it is."""


def hanging(number: int) -> str:
    """Starts a `metis` that makes so many images and does no more: the last one is not told of."""
    return f"""
import time
from pipeline.steps import build
real, made = build.make_image, []
def make_image(*given):
    real(*given)
    made.append(given)
    if len(made) == {number}:
        print("made", flush=True)
        time.sleep(600)
build.make_image = make_image
{RUN}"""


def late(seconds: float) -> str:
    """Starts a `metis` that waits before each image, and says when it begins with one and is done."""
    return f"""
import time
from pipeline.steps import build
real = build.make_image
def make_image(*given):
    print("image", time.monotonic(), flush=True)
    time.sleep({seconds})
    real(*given)
    print("image", time.monotonic(), flush=True)
build.make_image = make_image
{RUN}"""


def certificates(authority: Authority, name: str) -> dict[str, str]:
    """The variables of who has a certificate of an authority."""
    certificate, key = authority.certificate(name, use="both")
    files = {"CA": authority.file, "CERT": certificate, "KEY": key}
    return {f"METIS_SCHEDULER_{part}": str(file) for part, file in files.items()}


@dataclass
class Cluster:
    """A scheduler that runs, and the workers that a test has it get; all end with the block."""

    folder: Path
    process: Background
    environment: Mapping[str, str]
    """What a run has to say to use it."""
    stack: ExitStack
    logs: dict[str, Path] = field(default_factory=dict)
    workers: dict[str, Background] = field(default_factory=dict)

    def start(
        self, lab: Lab, name: str, *, within: tuple[str, ...] = (), code: str = RUN, **extra: str
    ) -> Background:
        """Start a worker that has the injector and the secrets of a lab, unless `extra` says otherwise."""
        own = {
            "METIS_ARTIFACTS": str(self.folder / name),
            "METIS_SECRETS": f"plain:{lab.secrets}",
            "METIS_INJECTOR": lab.environment["METIS_INJECTOR"],
        }
        self.logs[name] = self.folder / f"{name}.log"
        words = [*within, sys.executable, "-c", code, "worker", "--name", name]
        given = {**own, **self.environment, **extra}
        started = process.background(words, self.logs[name], extra_environment=given)
        self.workers[name] = self.stack.enter_context(started)
        return self.workers[name]

    def wait(self) -> None:
        """Wait until all workers are ready."""
        for name, log in self.logs.items():
            wait_for_words(log, b"is ready for", self.workers[name])


@contextmanager
def scheduler(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    certificates: Mapping[str, str] | None = None,
    within: tuple[str, ...] = (),
    wait: float = 60,
) -> Iterator[Cluster]:
    """Have a scheduler while the block runs; runs wait `wait` seconds for it, and for workers."""
    folder.mkdir(parents=True, exist_ok=True)
    about, given = folder / "scheduler.json", dict(certificates or {})
    tls = [
        f"--tls-{option}={given[f'METIS_SCHEDULER_{variable}']}"
        for option, variable in (("ca-file", "CA"), ("cert", "CERT"), ("key", "KEY"))
        if given
    ]
    words = [
        *within,
        sys.executable,
        "-m",
        "dask",
        "scheduler",
        f"--protocol={'tls' if given else 'tcp'}",
        f"--host={host}",
        "--port=0",
        "--dashboard-address=127.0.0.1:0",
        f"--scheduler-file={about}",
        *tls,
    ]
    with (
        process.background(words, folder / "scheduler.log") as running,
        ExitStack() as stack,
    ):
        wait_until(lambda: about.exists() and about.read_bytes().endswith(b"}"))
        address = json.loads(about.read_bytes())["address"]
        variables = {"METIS_SCHEDULER": address, "METIS_SCHEDULER_WAIT": str(int(wait)), **given}
        yield Cluster(folder, running, variables, stack)


@contextmanager
def other_disk() -> Iterator[Path]:
    """A folder that is not on the disk where tests have theirs, while the block runs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="metis-") as folder:
        yield Path(folder)
