"""Prometheus, and what brings it figures, as Debian has them, each a process of its own on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipeline.machine.process import Background, background
from tests.support import ports
from tests.support.waiting import PATIENCE, wait_until


def need(program: str) -> None:
    """Skip where Debian's program is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program} of Debian")


@contextmanager
def running(program: str, *words: str, log: Path, ready: str = "/-/ready") -> Iterator[str]:
    """A server at a port of its own while the block runs; gives where it is, once it is ready."""
    need(program)

    def start(port: int) -> AbstractContextManager[Background]:
        return background([program, *words, f"--web.listen-address=127.0.0.1:{port}"], log)

    with ports.listening(start, log) as port:
        target = f"127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"http://{target}{ready}", timeout=PATIENCE).is_success)
        yield target


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """A Pushgateway that knows nothing of another one; Debian's keeps what it was told."""
    kept = f"--persistence.file={folder}/pushed"
    with running("prometheus-pushgateway", kept, log=folder / "pushgateway.log") as target:
        yield target


@contextmanager
def prometheus(folder: Path, jobs: Mapping[str, Mapping[str, Any]]) -> Iterator[httpx.Client]:
    """The API of a Prometheus that scrapes each second; jobs by their names, with `target` and settings."""
    scraped = [
        {"job_name": name, "static_configs": [{"targets": [job["target"]]}]}
        | {key: value for key, value in job.items() if key != "target"}
        for name, job in jobs.items()
    ]
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": scraped}))
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
    with (
        running("prometheus", *words, log=folder / "prometheus.log") as target,
        httpx.Client(base_url=f"http://{target}/api/v1", timeout=PATIENCE) as client,
    ):
        yield client


def asked(client: httpx.Client, query: str) -> list[Any]:
    """What a query gives, once it gives something: Prometheus scrapes when it likes."""
    results: list[Any] = []

    def answered() -> bool:
        found = client.get("/query", params={"query": query}).json()
        assert found["status"] == "success", found
        results[:] = found["data"]["result"]
        return bool(results)

    wait_until(answered)
    return results
