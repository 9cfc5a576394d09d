"""The guard before a real FastAPI application on a real uvicorn, asked by raw sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse

from pipeline.history.audit import acts
from pipeline.secret import Secret
from pipeline.service import listening, private_files
from pipeline.service.access import form_token, require, who
from pipeline.service.answers import POLICY
from pipeline.service.asked import LONGEST_HEAD
from pipeline.service.guard import Guard, noting
from pipeline.service.identity import Identity
from pipeline.service.options import Options, checked, members, network
from tests.support import asgi
from tests.support.waiting import PATIENCE

TOKEN = "0123456789abcdef" * 2


def application(released: threading.Event) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    def page(request: Request, identity: Annotated[Identity, Depends(who)]) -> dict[str, str]:
        return {"name": identity.name, "csrf": form_token(request)}

    @app.get("/settings")
    def settings(identity: Annotated[Identity, Depends(require("admin"))]) -> dict[str, str]:
        return {"name": identity.name}

    @app.post("/nodes/{node}/build")
    async def build(node: str, request: Request) -> dict[str, str]:
        return {"node": node, "body": (await request.body()).decode()}

    @app.post("/internal/sentinel/snapshot")
    async def snapshot(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/break")
    def broken() -> None:
        raise RuntimeError("canary")

    @app.get("/events")
    def events() -> StreamingResponse:
        async def each() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.to_thread(released.wait)
            yield b"second"

        return StreamingResponse(each(), media_type="text/event-stream")

    return app


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


class Served:
    """A service on loopback, where 127.0.0.1 is the trusted proxy and 127.0.0.2 is a stranger.

    A head may take `seconds`, and a body as long.
    """

    def __init__(self, options: Options, folder: Path, seconds: float = PATIENCE) -> None:
        self.released = threading.Event()
        self.history = folder / "history.sqlite3"
        app = application(self.released)
        key = private_files.key(folder)
        app.add_middleware(Guard, options=options, key=key, note=noting(self.history), seconds=seconds)
        protocol = type("Punctual", (listening.PunctualProtocol,), {"seconds": seconds})
        settings = listening.server_settings(options) | {"port": 0, "http": protocol, "log_config": None}
        self._server = _Server(uvicorn.Config(app, **settings))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        assert self._server.listens.wait(PATIENCE)
        self._port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self.released.set()
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @contextmanager
    def connected(self, source: str = "127.0.0.1") -> Iterator[socket.socket]:
        address = ("127.0.0.1", self._port)
        with socket.create_connection(address, timeout=PATIENCE, source_address=(source, 0)) as connection:
            yield connection

    def ask(self, data: bytes, source: str = "127.0.0.1") -> bytes:
        """All that comes back until the service ends the connection."""
        with self.connected(source) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            return rest(connection)


def rest(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@contextmanager
def serving(folder: Path, seconds: float = PATIENCE) -> Iterator[Served]:
    options = checked(
        Options(
            trusted_proxies=(network("127.0.0.1"),),
            admin=members(["admins"], []),
            maintenance=members(["crew"], []),
            public_url="https://metis.example",
            tokens={"sentinel": Secret(TOKEN)},
        )
    )
    service = Served(options, folder, seconds)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def served(state: Path) -> Iterator[Served]:
    with serving(state) as service:
        yield service


@pytest.fixture(scope="module")
def hurried(state: Path) -> Iterator[Served]:
    """The same, with little time for those that take all there is."""
    with serving(state, 0.5) as service:
        yield service


def head(line: str, *headers: str, user: str = "anna", group: str = "admins") -> bytes:
    said = [f"X-Forwarded-User: {user}", f"X-Forwarded-Groups: {group}"] if user else []
    return "\r\n".join(
        [f"{line} HTTP/1.1", "Host: metis.example", "Connection: close", *said, *headers, "", ""]
    ).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def token_of(served: Served, user: str = "anna", group: str = "admins") -> str:
    found: str = json.loads(body(served.ask(head("GET /", user=user, group=group))))["csrf"]
    return f"X-CSRF-Token: {found}"


# ---------------------------------------------------------------------------------------- what works


def test_a_page_knows_who_asks_and_has_the_headers_of_all(served: Served) -> None:
    answer = served.ask(head("GET /"))
    assert json.loads(body(answer))["name"] == "anna"
    assert f"content-security-policy: {POLICY}".encode() in answer.lower().replace(
        POLICY.lower().encode(), POLICY.encode()
    )
    assert b"server: uvicorn" not in answer.lower()


@pytest.mark.parametrize(("group", "expected"), [("admins", 200), ("crew", 403), ("staff", 403)])
def test_a_page_is_for_its_role(served: Served, group: str, expected: int) -> None:
    assert status(served.ask(head("GET /settings", group=group))) == expected


def test_what_is_done_is_in_the_history_by_its_route(served: Served) -> None:
    token = token_of(served)
    answer = served.ask(head("POST /nodes/titan-13/build?x=canary", token, "Content-Length: 6") + b"canary")
    assert json.loads(body(answer)) == {"node": "titan-13", "body": "canary"}
    line = acts(served.history, limit=1)[0]
    assert (line["who"], line["what"], line["target"]) == (
        "anna",
        "POST /nodes/{node}/build",
        "node=titan-13",
    )
    assert b"canary" not in served.history.read_bytes()


def test_an_error_of_ours_is_a_plain_answer_with_the_headers_of_all(served: Served) -> None:
    answer = served.ask(head("GET /break"))
    assert status(answer) == 500
    assert b"canary" not in answer
    assert b"content-security-policy" in answer.lower()


def test_a_stream_comes_while_it_is_made(served: Served) -> None:
    served.released.clear()
    with served.connected() as connection:
        connection.sendall(head("GET /events"))
        found = b""
        while b"first" not in found:
            found += connection.recv(65536)
        assert b"second" not in found
        served.released.set()
        assert b"second" in rest(connection)


def test_a_large_snapshot_gets_through(served: Served) -> None:
    data = b"x" * (3 << 20)
    asked = head(
        "POST /internal/sentinel/snapshot",
        f"Authorization: Bearer {TOKEN}",
        f"Content-Length: {len(data)}",
        user="",
    )
    assert json.loads(body(served.ask(asked + data, "127.0.0.2"))) == {"bytes": len(data)}


# ------------------------------------------------------------------------------------- what does not


def test_headers_from_another_address_are_not_believed(served: Served) -> None:
    assert status(served.ask(head("GET /"), "127.0.0.2")) == 403
    assert status(served.ask(head("GET /", "X-Forwarded-For: 127.0.0.1"), "127.0.0.2")) == 403
    assert status(served.ask(head("GET /", user=""), "127.0.0.2")) == 401


SMUGGLED = {
    "two lengths": ["Content-Length: 4", "Content-Length: 5"],
    "a length and chunks": ["Content-Length: 4", "Transfer-Encoding: chunked"],
    "chunks in disguise": ["Transfer-Encoding: xchunked"],
    "chunks twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "a blank before the colon": ["Content-Length : 4"],
    "a second Host": ["Host: evil.example"],
    "a second user": ["X-Forwarded-User: eve"],
    "a user with _": ["X_Forwarded_User: eve"],
    "a length that is none": ["Content-Length: +4"],
    "a name that is none": ["X Forwarded User: eve"],
    "a nul": ["X-One: a\x00b"],
}


@pytest.mark.parametrize("what", SMUGGLED)
def test_a_smuggled_request_changes_nothing(served: Served, what: str) -> None:
    before = len(acts(served.history, limit=1000))
    token = token_of(served)
    answer = served.ask(head("POST /nodes/titan-13/build", token, *SMUGGLED[what]) + b"0\r\n\r\n")
    assert 400 <= status(answer) < 500 or status(answer) == 501
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(acts(served.history, limit=1000)) == before


@pytest.mark.parametrize(
    "line",
    [
        "GET http://evil.example/",
        "GET //evil.example/",
        "GET /static/%2e%2e/settings",
        "GET /static/..%2fsettings",
        "OPTIONS *",
        "TRACE /",
        "CONNECT metis.example:443",
    ],
)
def test_a_line_with_two_readings_is_refused(served: Served, line: str) -> None:
    assert status(served.ask(head(line))) in {400, 405}


def test_a_header_that_is_folded_into_another_says_nothing(served: Served) -> None:
    assert status(served.ask(head("GET /", "X-One: a", " X-Forwarded-User: anna", user=""))) == 401


def test_a_huge_header_is_refused(served: Served) -> None:
    assert status(served.ask(head("GET /", f"X-Long: {'x' * LONGEST_HEAD}"))) == 431
    assert status(served.ask(head("GET /", f"X-Long: {'x' * 3_000_000}"))) in {0, 400}
    assert status(served.ask(head(f"GET /{'x' * 4000}"))) == 414
    assert status(served.ask(head("GET /", f"X-Long: {'x' * 16000}"))) == 200


def test_a_body_of_strangers_ends_the_connection_unread(served: Served) -> None:
    answer = served.ask(
        head("POST /nodes/x/build", "Content-Length: 50000000", user="") + b"x" * 200000, "127.0.0.2"
    )
    assert status(answer) in {
        0,
        401,
    }  # where it still sends, the end of the connection may overtake the answer


def test_chunks_that_grow_too_large_are_cut(served: Served) -> None:
    token = token_of(served)
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    with served.connected() as connection:
        connection.sendall(head("POST /nodes/x/build", token, "Transfer-Encoding: chunked") + chunk * 4)
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(chunk)
        assert status(rest(connection)) == 413


@pytest.mark.parametrize("size", ["ffffffffffffffffff", "-1", "0x4", "4;x=" + "y" * 70000])
def test_a_chunk_whose_size_is_a_lie_is_cut(served: Served, hurried: Served, size: str) -> None:
    answer = hurried.ask(
        head("POST /nodes/x/build", token_of(served), "Transfer-Encoding: chunked")
        + size.encode()
        + b"\r\nabcd"
    )
    assert status(answer) in {400, 408}


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: metis.example\r\nX-Slow: "])
def test_who_never_ends_its_headers_is_cut(hurried: Served, sent: bytes) -> None:
    with hurried.connected("127.0.0.2") as connection:
        connection.sendall(sent)
        assert rest(connection) == b""


def test_who_drips_its_headers_is_cut_all_the_same(hurried: Served) -> None:
    with hurried.connected("127.0.0.2") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        connection.settimeout(0.05)
        for _ in range(600):  # each wait for an answer is the pause between two drops
            with suppress(TimeoutError):
                assert connection.recv(1) == b""
                return
            connection.sendall(b"x")
    pytest.fail("it was let go on")


def test_the_second_request_of_a_connection_must_come_in_time_too(hurried: Served) -> None:
    with hurried.connected() as connection:
        connection.sendall(head("GET /").replace(b"Connection: close\r\n", b""))
        while b"csrf" not in (piece := connection.recv(65536)):
            assert piece
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert rest(connection).count(b"HTTP/1.1") == 0


def test_who_never_ends_its_body_is_told_so(served: Served, hurried: Served) -> None:
    answer = hurried.ask(head("POST /nodes/x/build", token_of(served), "Content-Length: 9") + b"x")
    assert status(answer) == 408


def test_slow_clients_keep_nobody_waiting(served: Served) -> None:
    with ExitStack() as many:
        for _ in range(40):
            slow = many.enter_context(served.connected("127.0.0.2"))
            slow.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert status(served.ask(head("GET /"))) == 200


def test_a_service_without_sign_in_is_for_this_machine_by_its_own_names(tmp_path: Path) -> None:
    service = Served(checked(Options(no_auth=True, port=0)), tmp_path)
    try:
        port = str(service._port)
        plain = head("GET /", user="")
        local = plain.replace(b"metis.example", f"localhost:{port}".encode())
        assert json.loads(body(service.ask(local)))["name"] == "local"
        assert status(service.ask(plain)) == 403
        assert (
            status(service.ask(local.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"))) == 403
        )
    finally:
        service.stop()


def test_an_application_without_its_guard_serves_nobody() -> None:
    reply = asgi.send(application(threading.Event()), asgi.scope("GET", "/"))
    assert reply.status == 500
