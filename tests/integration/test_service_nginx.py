"""Behind a real proxy: nginx as docs/service.md sets it up, in front of a real service."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent

import httpx
import pytest

from pipeline.facts.snapshot import LARGEST
from pipeline.secret import Secret
from pipeline.service.limits import BODY
from pipeline.service.options import members
from pipeline.service.service import Service
from tests.support import snapshots
from tests.support.exports import offered
from tests.support.lab import REPOSITORY, Lab
from tests.support.lab_service import PROXY, Served, serving

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")

TOKENS = {"api": "a" * 32, "sentinel": "s" * 32}
PEOPLE = {"ada": "ops", "mara": "ops,bosses", "guest": "guests"}
"""Who may sign in, by what their cookie says, and their groups."""
AROUND = """
daemon off;
user root;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""
CONTENT = os.urandom(300_000)


class SignIn(BaseHTTPRequestHandler):
    """Says who has which session, as oauth2-proxy does with --set-xauthrequest."""

    def do_GET(self) -> None:
        session = re.search(r"session=(\w+)", self.headers.get("Cookie", ""))
        if self.path != "/oauth2/auth":
            self._answer(403, b"Sign in")
        elif session is None or session[1] not in PEOPLE:
            self._answer(401)
        else:
            name = session[1]
            about = {"User": name, "Email": f"{name}@lab.example", "Groups": PEOPLE[name]}
            self._answer(202, headers={f"X-Auth-Request-{what}": value for what, value in about.items()})

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def signing_in() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SignIn)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def documented(places: dict[str, str]) -> str:
    """The server of docs/service.md, elsewhere."""
    page = (REPOSITORY / "docs/service.md").read_text()
    (block,) = re.findall(r"^    server \{\n.*?^    \}\n", page, re.MULTILINE | re.DOTALL)
    text = dedent(block)
    for place, here in places.items():
        assert place in text
        text = text.replace(place, here)
    return text


@contextmanager
def nginx(listening: socket.socket, folder: Path, server: str) -> Iterator[None]:
    """It takes over a socket that listens already, so whoever connects is served when it is ready."""
    config = folder / "nginx.conf"
    config.write_text(AROUND.format(folder=folder, server=server))
    number = listening.fileno()
    with (folder / "nginx.log").open("wb") as log:
        child = subprocess.Popen(
            ["nginx", "-e", "stderr", "-p", folder, "-c", config],
            env={"PATH": os.environ["PATH"], "NGINX": f"{number};"},
            pass_fds=[number],
            stderr=log,
        )
    try:
        yield
        assert child.poll() is None, (folder / "nginx.log").read_text()
    finally:
        child.terminate()
        child.wait()


@dataclass(frozen=True)
class Site:
    """The service behind its proxy."""

    url: str
    service: Service
    trust: ssl.SSLContext

    @contextmanager
    def by(self, name: str = "", address: str = "127.0.0.1", **headers: str) -> Iterator[httpx.Client]:
        """A browser of somebody who has signed in, at an address; headers have _ for -."""
        transport = httpx.HTTPTransport(verify=self.trust, local_address=address)
        cookies = {"session": name} if name else {}
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        with httpx.Client(
            base_url=self.url, transport=transport, cookies=cookies, headers=given, timeout=60
        ) as client:
            yield client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Site]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.write("classes/pi.yaml", "arch: arm64\nos: debian\n")
    lab.write("nodes/titan-13.yaml", "class: pi\nnetwork: {interface: eth0, address: 192.0.2.13/24}\n")
    folder = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as listening, signing_in() as sign_in:
        here = f"127.0.0.1:{listening.getsockname()[1]}"
        options = replace(
            PROXY,
            admin=members(["bosses"], []),
            public_url=f"https://{here}",
            tokens={name: Secret(token) for name, token in TOKENS.items()},
        )
        with serving(lab, options) as there:
            places = {
                "listen 443 ": f"listen {here} ",
                "/etc/nginx/metis.pem": str(certificate),
                "127.0.0.1:8080": f"127.0.0.1:{there.service.options.port}",
                "127.0.0.1:4180": f"127.0.0.1:{sign_in}",
            }
            trust = ssl.create_default_context(cafile=certificate)
            site = Site(options.public_url, there.service, trust)
            with nginx(listening, folder, documented(places)), site.by("ada") as ada:
                Served(site.url, site.service, ada, trust).wait_for_board()
                yield site


def csrf_of(client: httpx.Client) -> str:
    match = re.search(r'name="csrf" value="([^"]+)"', client.get("/nodes/titan-13").text)
    assert match is not None
    return match[1]


# ---------------------------------------------------------------------------------------- signing in


@pytest.mark.parametrize("path", ["/nodes", "/events", "/api/v1/nodes", "/metrics", "/history/audit"])
@pytest.mark.parametrize("session", ["", "eve"])
def test_who_has_not_signed_in_is_asked_to(site: Site, path: str, session: str) -> None:
    with site.by(session) as stranger:
        answer = stranger.get(path)
    assert (answer.status_code, answer.text) == (403, "Sign in")


@pytest.mark.parametrize(
    ("name", "page", "audit"), [("ada", 200, 403), ("mara", 200, 200), ("guest", 403, 403)]
)
def test_who_has_signed_in_has_the_role_of_their_groups(site: Site, name: str, page: int, audit: int) -> None:
    with site.by(name) as client:
        assert client.get("/nodes").status_code == page
        assert client.get("/history/audit").status_code == audit
        assert (f"Signed in as </span>{name} " in client.get("/nodes").text) == (page == 200)


FORGED = {
    "groups": {"X-Forwarded-Groups": "bosses"},
    "groups twice": {"X-Forwarded-Groups": "bosses", "x-forwarded-groups": "bosses"},
    "groups with _": {"X_Forwarded_Groups": "bosses"},
    "user": {"X-Forwarded-User": "mara", "X-Forwarded-Groups": "bosses"},
    "email": {"X-Forwarded-Email": "mara@lab.example"},
    "what the sign-in says": {"X-Auth-Request-User": "mara", "X-Auth-Request-Groups": "bosses"},
    "a name to show": {"X-Forwarded-Preferred-Username": "mara"},
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_headers_that_a_browser_makes_up_do_not_get_through(site: Site, headers: dict[str, str]) -> None:
    with site.by("ada") as ada:
        assert ada.get("/history/audit", headers=headers).status_code == 403
        page = ada.get("/nodes", headers=headers)
        assert page.status_code == 200
        assert "Signed in as </span>ada " in page.text
        assert "mara" not in page.text
    with site.by() as nobody:
        assert nobody.get("/nodes", headers=headers).text == "Sign in"


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_who_brings_a_token_is_nobody_else(site: Site, headers: dict[str, str]) -> None:
    with site.by("mara", authorization=f"Bearer {TOKENS['api']}") as program:
        assert program.get("/api/v1/nodes", headers=headers).status_code == 200
        assert program.get("/api/v1/history/audit", headers=headers).status_code == 403
    with site.by("mara", authorization="Bearer of nothing") as eve:
        answer = eve.get("/api/v1/nodes", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert eve.get("/history/audit", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-For": "203.0.113.9, 127.0.0.1"},
        {"X-Real-IP": "203.0.113.9"},
        {"X-Forwarded-Preferred-Username": "mara"},
        {"Forwarded": "for=203.0.113.9"},
        {},
    ],
    ids=str,
)
def test_the_audit_has_the_name_and_address_that_the_proxy_saw(site: Site, headers: dict[str, str]) -> None:
    with site.by("ada", "127.0.0.2") as ada:
        answer = ada.post("/jobs/99999/cancel", data={"csrf": csrf_of(ada)}, headers=headers)
        assert answer.status_code == 404
    with site.by("mara") as mara:
        line = mara.get("/api/v1/history/audit").json()["acts"][0]
    assert (line["who"], line["origin"]) == ("ada@lab.example (ada)", "127.0.0.2")


def test_what_another_site_makes_a_browser_send_changes_nothing(site: Site) -> None:
    with site.by("ada") as ada:
        body = {"csrf": csrf_of(ada)}
        for origin, status in {"https://evil.example": 403, site.url: 404}.items():
            answer = ada.post("/jobs/99999/cancel", data=body, headers={"Origin": origin})
            assert answer.status_code == status


# --------------------------------------------------------------------------------- what comes through


def test_events_come_while_they_happen(site: Site) -> None:
    with site.by("ada") as ada, ada.stream("GET", f"/events?since={site.service.events.at}") as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": listening"
        with site.by("ada") as other:
            asked = other.post("/nodes/titan-13/exports", data={"csrf": csrf_of(other)})
        assert asked.status_code == 303
        assert "event: jobs" in lines


def test_an_export_is_fetched_in_parts_by_who_has_its_link(site: Site) -> None:
    export = offered(site.service.exports, CONTENT)
    with site.by(authorization=f"Bearer {TOKENS['api']}") as program:
        link = program.post(f"/api/v1/exports/{export.id}/link").json()
    with site.by() as imager:
        listed = imager.get(link["repository"]).json()["os_list"]
        assert [each["url"] for each in listed] == [link["image"]]
        half = len(CONTENT) // 2
        got = [
            imager.get(link["image"], headers={"Range": f"bytes={part}"})
            for part in (f"0-{half - 1}", f"{half}-")
        ]
        assert [each.status_code for each in got] == [206, 206]
        assert b"".join(each.content for each in got) == CONTENT


def test_a_snapshot_is_taken_and_what_is_too_large_is_not(site: Site) -> None:
    snapshot = snapshots.written(snapshots.small("titan-13", at=datetime.now(UTC)))
    padded = snapshot + b" " * (LARGEST - len(snapshot))
    token = f"Bearer {TOKENS['sentinel']}"
    with site.by(authorization=token, content_type="application/json") as sentinel:
        assert sentinel.post("/internal/sentinel/snapshot", content=padded).status_code == 201
        assert sentinel.post("/internal/sentinel/snapshot", content=padded + b" ").status_code == 413
    with site.by(authorization=f"Bearer {TOKENS['api']}", content_type="application/json") as program:
        assert program.post("/api/v1/jobs", content=b" " * (BODY + 1)).status_code == 413
    with site.by("ada") as ada:
        form = {"csrf": csrf_of(ada), "confirm": "x" * BODY}
        assert ada.post("/nodes/titan-13/burn", data=form).status_code == 413
