"""Snapshots that nodes send to a real service over TLS, and the call to look what changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from metis_sentinel.__main__ import run
from pipeline.facts.reading import read
from pipeline.facts.snapshot import LARGEST
from pipeline.secret import Secret
from tests.support import snapshots
from tests.support.lab import Lab
from tests.support.lab_service import PROXY, Served, serving
from tests.support.sentinel import Time, files

TOKENS = {"sentinel": "s" * 32, "watch": "w" * 32}
OPTIONS = replace(PROXY, tokens={name: Secret(token) for name, token in TOKENS.items()})
NODES = ("titan-13", "titan-15")
SNAPSHOT = "/internal/sentinel/snapshot"
WATCH = "/internal/sentinel/watch"


@pytest.fixture(scope="module")
def host() -> str:
    """What a sentinel calls the machine that the tests run on."""
    from metis_sentinel.snapshot import take

    return str(take()["node"])


@pytest.fixture
def lab(tmp_path: Path, host: str) -> Lab:
    lab = Lab(tmp_path)
    lab.write("classes/pi.yaml", "arch: arm64\nos: debian\n")
    for number, name in enumerate((*NODES, host), 13):
        lab.write(
            f"nodes/{name}.yaml", f"class: pi\nnetwork: {{interface: eth0, address: 192.0.2.{number}/24}}\n"
        )
    return lab


@pytest.fixture
def served(lab: Lab, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A service that looks at its nodes for nothing but what it is sent."""
    monkeypatch.setattr("pipeline.service.board.EVERY", 1e9)
    monkeypatch.setattr("pipeline.service.board.SOON", 0.1)
    with serving(lab, OPTIONS, certificate) as there:
        there.wait_for_board()
        yield there


@pytest.fixture
def sender(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, verify=served.trust, timeout=60) as client:
        yield client


def post(client: httpx.Client, data: bytes, token: str = TOKENS["sentinel"], **more: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **more}
    return client.post(SNAPSHOT, content=data, headers=headers)


def said(node: str, age: timedelta = timedelta(minutes=5), **changes: Any) -> bytes:
    return snapshots.written(snapshots.small(node, at=datetime.now(UTC) - age, **changes))


def watched(client: httpx.Client) -> Any:
    answer = client.post(WATCH, headers={"Authorization": f"Bearer {TOKENS['watch']}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


# -------------------------------------------------------------------------------------- snapshots


def test_the_sentinel_delivers_what_it_sees(
    served: Served, lab: Lab, host: str, certificate: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKENS["sentinel"])
    spool = tmp_path / "spool"
    words = ["--push", f"{served.url}{SNAPSHOT}", "--token-file", str(token), "--spool", str(spool)]
    assert run([*words, "--ca", f"{certificate}.crt"], {}, Time().clock()) == 0
    assert files(spool) == []
    found = read([lab.artifacts / "snapshots"], datetime.now(UTC) + timedelta(days=1))
    assert (list(found.snapshots), found.skipped) == ([host], ())


def test_a_node_that_the_inventory_does_not_have_yet_keeps_its_snapshot(
    served: Served, lab: Lab, sender: httpx.Client
) -> None:
    answer = post(sender, said("titan-99"))
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert not (lab.artifacts / "snapshots/titan-99").exists()


def test_a_snapshot_that_comes_again_is_one(sender: httpx.Client, lab: Lab) -> None:
    data = said("titan-13")
    name = json.loads(data)["id"]
    answers = [post(sender, data, **{"Idempotency-Key": name}) for _ in range(2)]
    assert [(each.status_code, each.json()) for each in answers] == [
        (201, {"node": "titan-13", "id": name, "new": True}),
        (200, {"node": "titan-13", "id": name, "new": False}),
    ]
    assert len(list((lab.artifacts / "snapshots/titan-13").glob("*.json"))) == 1


def test_pages_show_by_themselves_what_was_sent(served: Served, sender: httpx.Client) -> None:
    rows = served.service.board.rows
    assert {node: rows[node].seen for node in NODES} == dict.fromkeys(NODES)
    with served.client.stream("GET", f"/events?since={served.service.events.at}") as stream:
        for node in NODES:
            assert post(sender, said(node)).status_code == 201
        silences = 0
        for line in stream.iter_lines():
            silences += line == ": still here"
            assert silences < 8, "nobody looks"
            if line == "event: board" and all(served.service.board.rows[node].seen for node in NODES):
                return
    raise AssertionError("the stream ended")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"{}", 422),
        (b"[" * 100_000, 422),
        (b"\xff\xfe", 422),
        (said("titan-13")[:-1], 422),
        (said("../titan-13"), 422),
        (said("titan-13/.."), 422),
        (said("titan-13", format=2), 422),
        (said("titan-13", shell="sh"), 422),
        (said("titan-13", age=timedelta(days=-2)), 422),
        (said("titan-13", hostname="x" * LARGEST), 413),
    ],
    ids=[
        "nothing",
        "empty",
        "deep",
        "no text",
        "half",
        "a way up",
        "a way through",
        "newer",
        "more",
        "of a time to come",
        "large",
    ],
)
def test_what_is_no_snapshot_is_never_kept(sender: httpx.Client, lab: Lab, data: bytes, status: int) -> None:
    answer = post(sender, data)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert not list(lab.artifacts.glob("snapshots/**/*.json"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Idempotency-Key": "0" * 32}, 422),
        ({"Content-Type": "text/plain"}, 415),
        ({"Authorization": f"Bearer {TOKENS['watch']}"}, 401),
        ({"Authorization": ""}, 401),
    ],
    ids=["another id", "another type", "another purpose", "no token"],
)
def test_what_comes_with_other_headers_is_refused(
    sender: httpx.Client, lab: Lab, headers: dict[str, str], status: int
) -> None:
    answer = post(sender, said("titan-13"), **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert not list(lab.artifacts.glob("snapshots/**/*.json"))


def test_a_full_disk_has_the_node_keep_its_snapshot(sender: httpx.Client, lab: Lab) -> None:
    lab.artifacts.mkdir(exist_ok=True)
    (lab.artifacts / "snapshots").touch()
    answer = post(sender, said("titan-13"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


# ------------------------------------------------------------------------------------------ watches


def test_a_watch_says_what_changed_since_the_last(sender: httpx.Client) -> None:
    post(sender, said("titan-13", hostname="other", addresses=None, files=None))
    came = watched(sender)["came"]
    assert [(each["node"], each["kind"]) for each in came if each["severity"] == "critical"] == [
        ("titan-13", "hostname")
    ]
    assert watched(sender)["came"] == []


def test_who_asks_at_once_hears_the_same(served: Served, sender: httpx.Client) -> None:
    post(sender, said("titan-13", hostname="other"))
    headers = {"Authorization": f"Bearer {TOKENS['watch']}"}

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=served.url, verify=served.trust, timeout=60) as client:
            return await asyncio.gather(*(client.post(WATCH, headers=headers) for _ in range(5)))

    answers = asyncio.run(ask())
    assert {each.status_code for each in answers} == {200}
    assert len({each.text for each in answers}) == 1


def test_a_watch_without_snapshots_says_why(sender: httpx.Client) -> None:
    answer = sender.post(WATCH, headers={"Authorization": f"Bearer {TOKENS['watch']}"})
    assert answer.status_code == 503
    assert "no snapshots in" in answer.json()["detail"]
