"""`metis serve` and `metis gui` as an operator starts and ends them."""

from __future__ import annotations

import http.cookiejar
import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.machine import process
from pipeline.service.options import Options
from pipeline.service.serving import bound
from tests.integration.test_graph import make_lab
from tests.support.lab import BIN, REPOSITORY, Lab


@pytest.fixture
def lab(tmp_path: Path, tiny_golden: Path) -> Lab:
    return make_lab(tmp_path, tiny_golden)


@contextmanager
def started(lab: Lab, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service that was started by a command, and the address that it said."""
    with subprocess.Popen(
        [BIN / "metis", *words, "--json"],
        cwd=REPOSITORY,
        env=process.environment(lab.variables({})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            said = "".join(iter(child.stdout.readline, "}\n"))
            yield child, json.loads(f"{said}}}")["url"]
        finally:
            child.kill()


def ended(child: subprocess.Popen[str], by: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    child.send_signal(by)
    _, err = child.communicate(timeout=60)
    return child.returncode, err


def get(url: str, *handlers: urllib.request.BaseHandler) -> Any:
    return urllib.request.build_opener(*handlers).open(url, timeout=60)


def status(url: str) -> int:
    try:
        return int(get(url).status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(lab: Lab, by: signal.Signals) -> None:
    with started(lab, "serve", "--no-auth", "--port", "0") as (child, url):
        assert "Nodes" in get(f"{url}/nodes").read().decode()
        assert ended(child, by) == (0, "")


def test_what_is_sent_waits_for_no_acknowledgement() -> None:
    with bound(Options(port=0)) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_second_service_of_the_same_artifacts_is_refused(lab: Lab) -> None:
    with started(lab, "serve", "--no-auth", "--port", "0") as (child, _):
        other = lab.metis("serve", "--no-auth", "--port", "0")
    assert other.code == 1
    assert f"process {child.pid} serves these artifacts already" in other.err


def test_an_address_that_is_taken_is_one_line(lab: Lab, tmp_path: Path) -> None:
    with started(lab, "serve", "--no-auth", "--port", "0") as (_, url):
        port = url.rpartition(":")[2]
        elsewhere = {"METIS_ARTIFACTS": str(tmp_path / "other")}
        other = lab.metis("serve", "--no-auth", "--port", port, **elsewhere)
    assert other.code == 2
    assert other.err.startswith(f"metis: cannot listen at 127.0.0.1:{port}: address already in use")


def test_the_link_of_gui_opens_once_and_for_one_browser(lab: Lab) -> None:
    with started(lab, "gui", "--no-browser") as (_, link):
        url = link.partition("/?")[0]
        assert status(f"{url}/nodes") == 401
        browser = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        assert get(link, browser).status == 200
        assert get(f"{url}/nodes", browser).status == 200
        assert status(link) == 403
        assert status(f"{url}/nodes") == 401


def test_a_broken_inventory_is_told_on_the_page(lab: Lab) -> None:
    lab.write("nodes/alpha.yaml", "class: [\n")
    with started(lab, "serve", "--no-auth", "--port", "0") as (_, url):
        stream = get(f"{url}/events")
        while b"event: board" not in stream.readline():
            pass
        assert "nodes/alpha.yaml:" in get(f"{url}/nodes").read().decode()
