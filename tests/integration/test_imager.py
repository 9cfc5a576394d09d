"""What Raspberry Pi Imager and operators get of exports, from a real server on loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import queue
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import RawIOBase
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest

from pipeline.history import jobs
from pipeline.history.exports import Export, Exports
from pipeline.machine import process
from pipeline.service import csrf, download, imager, private_files
from pipeline.service.board import board
from pipeline.service.kinds import KINDS
from pipeline.service.listening import server_settings
from pipeline.service.options import Options, members, network
from pipeline.service.service import Service
from pipeline.steps.artifacts import Artifacts
from tests.support.exports import offered, rows
from tests.support.serving import served
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "tests/cases/imager/os-list.schema.json").read_bytes())
CONTENT = os.urandom(3 * download.PIECE + 777)
LARGE = 64 << 20
"""More than a system keeps on its way to a reader that does not read."""
OPTIONS = Options(
    trusted_proxies=(network("127.0.0.1/32"),),
    maintenance=members(["flashers"], []),
    admin=members(["admins"], []),
)
SIGNED_IN = {"x-forwarded-user": "mara", "x-forwarded-groups": "flashers"}
"""Seconds for what comes at once."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> dict[str, str]:
        return dict(json.loads(self.body))


@dataclass(frozen=True)
class Site:
    """The pages of exports; `noted` has what was counted as sent, when it was."""

    origin: str
    service: Service
    exports: Exports
    noted: queue.Queue[tuple[int, int]]
    key: bytes

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        with closing(http.client.HTTPConnection(urlsplit(self.origin).netloc, timeout=PATIENCE)) as asked:
            asked.putrequest(method, path)
            for name, value in (headers or {}).items():
                asked.putheader(name, value)
            asked.endheaders()
            answer = asked.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers)

    def post(self, path: str, **headers: str) -> Answer:
        token = csrf.token(self.key, "mara", time.time())
        return self.ask("POST", path, {**SIGNED_IN, csrf.HEADER: token, **headers})

    @contextmanager
    def begun(self, path: str) -> Iterator[RawIOBase]:
        """A download whose first byte is next; leaving the block cuts it. It ends when all is noted."""
        at = urlsplit(self.origin)
        with (
            socket.create_connection((at.hostname, at.port), timeout=PATIENCE) as connection,
            connection.makefile("rb", buffering=0) as answer,
        ):
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n\r\n".encode()
            )
            while answer.readline() != b"\r\n":
                pass
            yield answer

    def link(self, export: Export) -> tuple[str, str]:
        """The paths of the list and of the file of a new link."""
        data = self.post(f"/api/v1/exports/{export.id}/link").data
        return urlsplit(data["repository"]).path, urlsplit(data["image"]).path

    def ended(self, export: Export) -> str | None:
        return next(each.ended for each in self.exports.listed() if each.id == export.id)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    artifacts = tmp_path_factory.mktemp("lab") / "artifacts"
    noted: queue.Queue[tuple[int, int]] = queue.Queue()
    about = {"class": "pi", "state": "fresh", "why": "", "built": None}
    images = [{"node": name, **about} for name in ("titan-13", "titan-14", "titan-15")]
    plain = Exports.sent

    def sent(self: Exports, export: Export, start: int, end: int, now: datetime) -> None:
        try:
            plain(self, export, start, end, now)
        finally:
            noted.put((start, end))

    def make(options: Options) -> Service:
        return Service(options, {"METIS_ARTIFACTS": str(artifacts)}, artifacts.parent)

    with pytest.MonkeyPatch.context() as patch, served(OPTIONS, make, lifespan="off") as service:
        patch.setattr(Exports, "sent", sent)
        patch.setattr(Service, "board", board(images, {}, {}, (), datetime.now(UTC)))
        key = private_files.key(Artifacts(artifacts).state)
        yield Site(f"http://127.0.0.1:{service.options.port}", service, service.exports, noted, key)


@pytest.fixture(autouse=True)
def nothing_noted(site: Site) -> None:
    while not site.noted.empty():
        site.noted.get()


@pytest.fixture
def export(site: Site) -> Export:
    return offered(site.exports, CONTENT)


# --------------------------------------------------------------------------------------------- lists


def test_a_link_gives_imager_a_list_whose_addresses_lead_somewhere(site: Site, export: Export) -> None:
    listed, file = site.link(export)
    answer = site.get(listed)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    data = json.loads(answer.body)
    jsonschema.Draft7Validator(SCHEMA).validate(data)
    (card,), (device,) = data["os_list"], data["imager"]["devices"]
    assert card["url"] == f"{site.origin}{file}"
    assert (card["image_download_size"], card["extract_sha256"]) == (export.size, export.raw_sha256)
    for each in (card, device):
        assert each["icon"].startswith(f"{site.origin}/")
        icon = site.get(urlsplit(each["icon"]).path)
        assert (icon.status, icon.headers["content-type"]) == (200, "image/png")
    assert site.get(file).body == CONTENT


def test_a_list_uses_no_export_up(site: Site, export: Export) -> None:
    listed, _ = site.link(export)
    for _ in range(3):
        assert site.get(listed).status == 200
    assert site.ended(export) is None


def test_behind_a_proxy_addresses_are_those_that_browsers_know(
    site: Site, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = replace(site.service.options, public_url="https://metis.example")
    monkeypatch.setattr(site.service, "options", public)
    data = site.post(f"/api/v1/exports/{export.id}/link").data
    assert data["repository"].startswith("https://metis.example/imager/")
    assert data["open"].startswith("rpi-imager://open?repo=https%3A%2F%2Fmetis.example%2Fimager%2F")
    card = json.loads(site.get(urlsplit(data["repository"]).path).body)["os_list"][0]
    assert card["url"] == data["image"]


def test_who_has_no_link_is_told_where_to_get_one(site: Site, export: Export) -> None:
    answer = site.get("/imager/os_list.json")
    assert answer.status == 200
    data = json.loads(answer.body)
    jsonschema.Draft7Validator(SCHEMA).validate(data)
    assert data["os_list"] == []
    assert export.node.encode() not in answer.body


# ----------------------------------------------------------------------------------------- downloads


def test_a_download_ends_the_export(site: Site, export: Export) -> None:
    listed, file = site.link(export)
    answer = site.get(file)
    assert answer.body == CONTENT
    assert int(answer.headers["content-length"]) == len(CONTENT)
    assert answer.headers["content-type"] == "application/zstd"
    assert site.noted.get(timeout=PATIENCE) == (0, len(CONTENT))
    assert (site.get(listed).status, site.get(file).status) == (404, 404)
    assert site.ended(export) == "used"
    assert not site.exports.place(export).exists()


def test_a_download_that_was_cut_goes_on_with_curl(site: Site, tmp_path: Path) -> None:
    export = offered(site.exports, os.urandom(1 << 20) * (LARGE >> 20))
    _, file = site.link(export)
    got = tmp_path / "got"
    with site.begun(file) as answer:
        got.write_bytes(answer.read(777) or b"")
    assert site.noted.get(timeout=PATIENCE)[1] < LARGE
    assert site.ended(export) is None
    process.run(["curl", "-sS", "--fail", "-C", "-", "-o", got, f"{site.origin}{file}"], timeout=PATIENCE)
    assert hashlib.sha256(got.read_bytes()).hexdigest() == export.sha256
    site.noted.get(timeout=PATIENCE)
    assert site.ended(export) == "used"


def test_ranges_together_are_one_download(site: Site, export: Export) -> None:
    _, file = site.link(export)
    got, etag = b"", site.ask("HEAD", file).headers["etag"]
    for start in range(0, len(CONTENT), 300_000):
        assert site.ended(export) is None
        part = site.get(file, range=f"bytes={start}-{start + 299_999}", if_range=etag)
        assert part.status == 206
        got += part.body
        site.noted.get(timeout=PATIENCE)
    assert got == CONTENT
    assert site.ended(export) == "used"


LENGTH = len(CONTENT)
ASKED: dict[str, tuple[int, int, int]] = {
    "bytes=0-0": (206, 0, 1),
    "bytes=5-": (206, 5, LENGTH),
    "bytes=-7": (206, LENGTH - 7, LENGTH),
    f"bytes=1-{'9' * 4000}": (206, 1, LENGTH),
    f"bytes={LENGTH - 1}-": (206, LENGTH - 1, LENGTH),
    f"bytes={LENGTH}-": (416, 0, 0),
    "bytes=-0": (416, 0, 0),
    f"bytes={'9' * 4000}-": (416, 0, 0),
    "bytes=1-0": (200, 0, LENGTH),
    "bytes=0-1,5-6": (200, 0, LENGTH),
    "bytes=" + ",".join(["0-"] * 1000): (200, 0, LENGTH),
    "bytes=\xb9-\xb2": (200, 0, LENGTH),
    "lines=0-1": (200, 0, LENGTH),
    "bytes": (200, 0, LENGTH),
}


@pytest.mark.parametrize("asked", ASKED, ids=lambda text: ascii(text[:16]))
def test_a_range_is_answered_with_its_bytes(site: Site, export: Export, asked: str) -> None:
    status, start, end = ASKED[asked]
    _, file = site.link(export)
    answer = site.get(file, range=asked)
    assert answer.status == status
    assert answer.body == CONTENT[start:end]
    assert int(answer.headers["content-length"]) == end - start
    assert answer.headers["accept-ranges"] == "bytes"
    there = {206: f"bytes {start}-{end - 1}/{LENGTH}", 416: f"bytes */{LENGTH}"}.get(status)
    assert answer.headers.get("content-range") == there


def test_a_head_says_what_a_get_would_and_sends_nothing(site: Site, export: Export) -> None:
    _, file = site.link(export)
    head = site.ask("HEAD", file, {"range": "bytes=0-1"})
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(LENGTH)
    got = site.get(file)
    ours = {"content-length", "content-type", "etag", "accept-ranges", "cache-control"}
    assert {name: head.headers[name] for name in ours} == {name: got.headers[name] for name in ours}


def test_a_file_that_is_another_by_now_is_sent_whole(site: Site, export: Export) -> None:
    _, file = site.link(export)
    answer = site.ask("GET", file, {"range": "bytes=5-9", "if-range": '"other"'})
    assert (answer.status, answer.body) == (200, CONTENT)


@pytest.mark.parametrize("way", ["revoked", "expired"])
def test_a_download_that_runs_ends_with_its_export(site: Site, way: str) -> None:
    export = offered(site.exports, bytes(LARGE))
    _, file = site.link(export)
    with site.begun(file) as slow:
        got = len(slow.read(1) or b"")
        if way == "revoked":
            assert site.post(f"/exports/{export.id}/revoke").status == 303
        else:
            site.exports.sweep(datetime.now(UTC) + timedelta(hours=2))
        while piece := slow.read(1 << 20):
            got += len(piece)
    assert got < LARGE
    site.noted.get(timeout=PATIENCE)
    assert site.ended(export) == way


def test_a_download_that_nobody_takes_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALLED", 0.2)
    export = offered(site.exports, bytes(LARGE))
    _, file = site.link(export)
    with site.begun(file) as answer:
        assert site.noted.get(timeout=PATIENCE)[1] < LARGE
        got = sum(map(len, iter(lambda: answer.read(1 << 20) or b"", b"")))
    assert got < LARGE
    assert site.ended(export) is None


def test_what_cannot_be_counted_is_sent_and_said(
    site: Site, export: Export, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, file = site.link(export)
    monkeypatch.setattr("pipeline.history.database.PATIENCE", 0)
    find = Exports.find
    with closing(sqlite3.connect(site.service.history, check_same_thread=False)) as other:

        def found_and_then_locked(self: Exports, token: str, now: datetime) -> Export | None:
            found = find(self, token, now)
            other.execute("BEGIN IMMEDIATE")
            return found

        monkeypatch.setattr(Exports, "find", found_and_then_locked)
        with site.begun(file) as answer:
            assert b"".join(iter(lambda: answer.read(1 << 20) or b"", b"")) == CONTENT
    (line,) = [record.getMessage() for record in caplog.records if record.name == imager.__name__]
    assert line.startswith(f"export {export.id}: what was sent of it is not counted")


# ------------------------------------------------------------------------------------- wrong links

WRONG = {
    "short": "A",
    "of another": "A" * 43,
    "long": "A" * 1000,
    "half a character": "%ed%a0%80",
    "a wildcard": "%25",
    "SQL": "%27OR%271%27=%271",
    "os_list.json": "os_list.json",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_link_is_answered_as_one_that_is_over(site: Site, export: Export, case: str) -> None:
    over, file_over = site.link(export)
    site.post(f"/exports/{export.id}/revoke")
    for path, ended in (("os_list.json", over), (export.file_name, file_over)):
        wrong, was_right = site.get(f"/imager/{WRONG[case]}/{path}"), site.get(ended)
        assert (wrong.status, wrong.body) == (was_right.status, was_right.body) == (404, was_right.body)
        assert wrong.headers.keys() == was_right.headers.keys()


@pytest.mark.parametrize("name", ["titan-14.img.zst", "titan-13.img", ".key"])
def test_a_link_leads_to_its_own_file_only(site: Site, export: Export, name: str) -> None:
    listed, _ = site.link(export)
    assert site.get(listed.replace("os_list.json", name)).status == 404
    assert site.ended(export) is None


def test_an_export_whose_time_is_over_is_not_there(site: Site) -> None:
    export = offered(site.exports, CONTENT)
    listed, file = site.link(export)
    with closing(sqlite3.connect(site.service.history)) as opened, opened:
        opened.execute("UPDATE exports SET expires_at = '2026-01-01T00:00:00Z'")
    assert (site.get(listed).status, site.get(file).status) == (404, 404)
    assert site.post(f"/exports/{export.id}/link").status == 410


def test_a_file_that_was_removed_by_hand_is_not_there(site: Site, export: Export) -> None:
    _, file = site.link(export)
    site.exports.place(export).unlink()
    assert site.get(file).status == 404


def test_a_file_that_was_put_there_by_a_link_is_not_followed(
    site: Site, export: Export, tmp_path: Path
) -> None:
    _, file = site.link(export)
    (tmp_path / "secret").write_bytes(b"other")
    site.exports.place(export).unlink()
    site.exports.place(export).symlink_to(tmp_path / "secret")
    assert site.get(file).status == 404


# --------------------------------------------------------------------------------------- operators

POSTS = ["/nodes/titan-13/exports", "/exports/{id}/link", "/exports/{id}/revoke"]
TO_PROGRAMS = ["/api/v1/exports/{id}/link", "/api/v1/exports/{id}/revoke"]
STRANGERS: dict[str, tuple[dict[str, str], int]] = {
    "nobody": ({"x-forwarded-user": "", "x-forwarded-groups": ""}, 401),
    "without a role": ({"x-forwarded-groups": "people"}, 403),
    "without the token of a page": ({csrf.HEADER: ""}, 403),
    "from another page": ({"origin": "https://other.example"}, 403),
}


def jobs_of(site: Site) -> list[tuple[str, str, str]]:
    return [(job.kind, job.node, job.who) for job in jobs.latest(site.service.history, limit=10)]


@pytest.mark.parametrize("case", STRANGERS)
@pytest.mark.parametrize("path", [*POSTS, *TO_PROGRAMS])
def test_only_who_may_burn_makes_and_ends_exports(site: Site, export: Export, path: str, case: str) -> None:
    headers, status = STRANGERS[case]
    listed, _ = site.link(export)
    before = jobs_of(site)
    assert site.post(path.format(id=export.id), **headers).status == status
    assert site.get(listed).status == 200
    assert jobs_of(site) == before
    assert site.ended(export) is None


def test_nothing_is_done_by_looking(site: Site, export: Export) -> None:
    for path in (*POSTS[1:], *TO_PROGRAMS):
        assert site.ask("GET", path.format(id=export.id), SIGNED_IN).status == 405
    assert site.ended(export) is None


def test_an_export_is_made_by_a_job_in_the_name_of_who_asked(site: Site) -> None:
    page = site.post("/nodes/titan-14/exports")
    assert jobs_of(site)[0] == ("export", "titan-14", "mara")
    (job,) = jobs.latest(site.service.history, limit=1)
    again = site.post("/nodes/titan-14/exports")  # it waits already
    where = f"/jobs/{job.id}"
    assert [(each.status, each.headers["location"]) for each in (page, again)] == [(303, where)] * 2
    assert KINDS[job.kind].words(job) == ["export", "--node", "titan-14", "--by=mara"]
    assert site.ask("GET", where, SIGNED_IN).status == 200


@pytest.mark.parametrize("node", ["-x", "a%2cb", "a" * 64, "--output=x"])
def test_what_is_no_name_of_a_node_starts_nothing(site: Site, node: str) -> None:
    before = jobs_of(site)
    assert site.post(f"/nodes/{node}/exports").status == 404
    assert site.ask("GET", f"/nodes/{node}/exports", SIGNED_IN).status == 404
    assert jobs_of(site) == before


def test_the_page_of_exports_has_a_button_for_each_that_is_open(site: Site) -> None:
    node = "titan-15"
    still, over = (offered(site.exports, CONTENT, node=node) for _ in range(2))
    site.post(f"/exports/{over.id}/revoke")
    answer = site.ask("GET", f"/nodes/{node}/exports", SIGNED_IN)
    text = answer.body.decode()
    assert answer.status == 200
    assert f'action="/exports/{still.id}/link"' in text
    assert f"/exports/{over.id}/" not in text
    assert "revoked" in text
    assert "secrets of the node" in text
    assert 'action="/nodes/titan-15/exports"' in text


def test_a_page_shows_the_link_once_with_its_warning(site: Site) -> None:
    export = offered(site.exports, CONTENT, node='"><script>alert(1)</script>')
    page = site.post(f"/exports/{export.id}/link")
    assert (page.status, page.headers["cache-control"]) == (200, "no-store")
    text = page.body.decode()
    assert "rpi-imager://open?repo=" in text
    assert "secrets of the node" in text
    assert "<script>alert" not in text


def test_a_revoked_export_ends_on_the_page_of_its_node(site: Site, export: Export) -> None:
    page = site.post(f"/exports/{export.id}/revoke")
    assert (page.status, page.headers["location"]) == (303, "/nodes/titan-13/exports")
    assert site.ended(export) == "revoked"


@pytest.mark.parametrize("path", [*POSTS[1:], *TO_PROGRAMS])
@pytest.mark.parametrize("name", ["none", "%27OR%271%27=%271", "a" * 64])
def test_an_export_that_is_not_there_is_said_to_be_over(
    site: Site, export: Export, name: str, path: str
) -> None:
    assert site.post(path.format(id=name)).status == 410
    assert site.ended(export) is None


def test_programs_are_told_of_exports_and_end_them(site: Site) -> None:
    older, export = (
        offered(site.exports, CONTENT, node="titan-16", now=datetime.now(UTC) - timedelta(minutes=age))
        for age in (5, 0)
    )
    listed = json.loads(site.ask("GET", "/api/v1/exports?node=titan-16", SIGNED_IN).body)
    assert ([each["id"] for each in listed["exports"]], listed["has_more"]) == ([export.id, older.id], False)
    assert listed["exports"][0]["state"] == "open"
    second = json.loads(site.ask("GET", "/api/v1/exports?node=titan-16&page=2", SIGNED_IN).body)
    assert second["exports"] == []
    link = json.loads(site.post(f"/api/v1/exports/{export.id}/link").body)
    assert link["open"].startswith("rpi-imager://open?repo=")
    assert any("secrets" in line for line in link["warning"])
    revoked = site.post(f"/api/v1/exports/{export.id}/revoke")
    about = json.loads(revoked.body)
    assert (revoked.status, about["id"], about["state"]) == (200, export.id, "revoked")
    assert site.get(urlsplit(link["repository"]).path).status == 404
    over = site.post(f"/api/v1/exports/{export.id}/link")
    assert (over.status, over.headers["content-type"]) == (410, "application/problem+json")


# ------------------------------------------------------------------------------------------ leaks


def test_no_link_is_in_a_log_or_in_the_history(
    site: Site, export: Export, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    listed, file = site.link(export)
    token = listed.split("/")[2]
    site.get(listed)
    site.get(file, range="bytes=0-9")
    site.get(f"{file}x")
    site.get(f"/imager/{token}%0a/os_list.json")
    site.get(file)
    while site.noted.get(timeout=PATIENCE) != (0, len(CONTENT)):
        pass
    site.get(file)
    large = offered(site.exports, bytes(LARGE))
    _, cut = site.link(large)
    with site.begun(cut) as slow:
        slow.read(1)
        site.post(f"/exports/{large.id}/revoke")
        while slow.read(1 << 20):
            pass
    # pytest listens to the log of accesses, which has no line where nobody does: it is off.
    assert server_settings(site.service.options)["access_log"] is False
    said = [each.getMessage() for each in caplog.records if each.name != "uvicorn.access"]
    assert "ASGI callable returned without completing response." in said
    for secret in (token, cut.split("/")[2]):
        assert not [line for line in said if secret in line]
        assert secret.encode() not in rows(site.service.history.parent)
