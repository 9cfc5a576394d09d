"""The service as a process: it serves, ends when asked, and is there again after a kill."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.integration.test_graph import make_lab
from tests.support.service import Running, serving


@pytest.fixture
def service(tmp_path: Path, tiny_golden: Path) -> Iterator[Running]:
    with serving(make_lab(tmp_path, tiny_golden)) as service:
        yield service


def status(service: Running, path: str) -> int:
    with urlopen(service.url + path, timeout=60) as answer:
        return int(answer.status)


def test_it_serves_and_ends_when_it_is_asked_to(service: Running) -> None:
    assert status(service, "/nodes") == 200
    assert service.stop() in {0, -signal.SIGTERM}, service.log


def test_after_a_kill_it_is_there_again_at_the_same_address(service: Running) -> None:
    assert status(service, "/nodes") == 200
    url = service.url
    service.kill()
    service.start()
    assert service.url == url
    assert status(service, "/jobs") == 200
