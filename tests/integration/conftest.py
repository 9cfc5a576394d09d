"""What several files of tests have: a browser, on a desk and on a phone; and a cluster with dead nodes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.apiserver import ApiServer
from tests.support.browser import SIZES, Looker, chromium, screenshots
from tests.support.netns import Network
from tests.support.preflight import cluster, network_of_the_lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return screenshots(lambda: tmp_path_factory.mktemp("screenshots"))


@pytest.fixture(params=SIZES)
def looker(request: pytest.FixtureRequest, browser: Browser, pictures: Path) -> Iterator[Looker]:
    """Whose browser complained of nothing in the end."""
    looker = Looker(browser, request.param, pictures)
    yield looker
    assert looker.faults == []


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network_of_the_lab() as made:
        yield made


@pytest.fixture
def server(net: Network) -> Iterator[ApiServer]:
    """The API server of the cluster that nodes of tests/support/preflight.py come back into."""
    with cluster(net) as made:
        yield made


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port of all our addresses at which nobody listens, and which nobody else is given meanwhile."""
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as held:
        if held.family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        held.bind(("", 0))
        yield int(held.getsockname()[1])
