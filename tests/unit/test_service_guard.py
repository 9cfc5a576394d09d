"""The guard as a whole: what is forged never gets to the application, what is right gets there whole."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.facts.snapshot import LARGEST
from pipeline.history.audit import Act
from pipeline.secret import Secret
from pipeline.service import csrf
from pipeline.service.answers import POLICY
from pipeline.service.guard import Clocks, Guard, Note
from pipeline.service.limits import ROOM
from pipeline.service.options import TOKENS, Options, checked, members, network
from tests.support import asgi
from tests.support.asgi import HOST, Reply

Pair = tuple[bytes, bytes]

KEY = b"k" * 32
NOW = 1_800_000_000.0
PROXY, STRANGER = "10.1.1.1", "192.0.2.7"
TOKEN = {purpose: f"{purpose:x<32}" for purpose in TOKENS}
OPTIONS = checked(
    Options(
        host="0.0.0.0",
        trusted_proxies=(network("10.1.0.0/16"),),
        admin=members(["metis-admins"], []),
        maintenance=members(["metis-crew"], []),
        public_url="https://metis.example",
        tokens={purpose: Secret(text) for purpose, text in TOKEN.items()},
    )
)
ALONE = checked(Options(no_auth=True))
GUI = checked(Options(no_auth=True, gui_token=Secret("g" * 43)))

ANNA: list[Pair] = [(b"x-forwarded-user", b"anna"), (b"x-forwarded-groups", b"metis-admins")]
CREW: list[Pair] = [(b"x-forwarded-user", b"eve"), (b"x-forwarded-groups", b"metis-crew")]
NOBODYS: list[Pair] = [(b"x-forwarded-user", b"carl"), (b"x-forwarded-groups", b"staff")]
LOCALLY: Pair = (b"host", b"localhost:8080")


def csrf_of(name: str, now: float = NOW, key: bytes = KEY) -> Pair:
    return b"x-csrf-token", csrf.token(key, name, now).encode()


def with_bearer(token: str) -> Pair:
    return b"authorization", f"Bearer {token}".encode()


@dataclass
class Behind:
    """The application: notes what gets to it, and answers as it is told to."""

    status: int = 200
    headers: list[Pair] = field(default_factory=list)
    fails: bool = False
    route: tuple[str, dict[str, str]] | None = None
    waits_for: asyncio.Event | None = None
    got: list[tuple[str, str, bytes]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive() if scope["method"] not in {"GET", "HEAD"} else {"body": b""}
        self.got.append((scope["method"], scope["path"], message["body"]))
        self.states.append(scope["state"])
        if self.waits_for:
            await self.waits_for.wait()
        if self.fails:
            raise RuntimeError("the application broke")
        if self.route:
            scope["route"] = type("Route", (), {"path": self.route[0]})()
            scope["path_params"] = self.route[1]
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"from behind"})


@dataclass
class Bench:
    """A guard with an application behind it, and clocks that stand still."""

    options: Options = OPTIONS
    behind: Behind = field(default_factory=Behind)
    acts: list[Act] = field(default_factory=list)
    steady: float = 0.0
    seconds: float = 15.0

    def __post_init__(self) -> None:
        clocks = Clocks(steady=lambda: self.steady, wall=lambda: NOW)
        self.guard = Guard(
            self.behind, self.options, key=KEY, note=self.acts.append, clocks=clocks, seconds=self.seconds
        )

    def ask(
        self,
        method: str,
        path: str,
        headers: Iterable[Pair] = (),
        pieces: Sequence[bytes] = (b"",),
        *,
        ends: bool = True,
        **more: Any,
    ) -> Reply:
        return asgi.send(self.guard, asgi.scope(method, path, headers, **more), pieces, ends=ends)


# ---------------------------------------------------------------------------------------- what may


def test_who_signed_in_gets_there_and_the_application_knows_who_it_is() -> None:
    bench = Bench()
    assert (
        bench.ask("GET", "/nodes", [HOST, *ANNA, (b"x-forwarded-for", b"203.0.113.9")]).body == b"from behind"
    )
    state = bench.behind.states[0]
    assert (state["identity"].name, state["identity"].role, state["client"]) == (
        "anna",
        "admin",
        "203.0.113.9",
    )
    assert state["csrf"].encode() == csrf_of("anna")[1]


def test_a_form_with_its_token_gets_there_with_its_body() -> None:
    bench = Bench()
    headers, body = asgi.form(csrf=csrf_of("anna")[1].decode(), node="titan-13")
    assert bench.ask("POST", "/jobs", [HOST, *ANNA, *headers], [body]).status == 200
    assert bench.behind.got == [("POST", "/jobs", body)]


@pytest.mark.parametrize("pieces", [[b"ab", b"cd"], [b"", b"abcd"], [b"abcd", b""], [b"a", b"b", b"c", b"d"]])
def test_a_body_in_pieces_gets_there_as_one(pieces: list[bytes]) -> None:
    bench = Bench()
    headers = [HOST, *ANNA, csrf_of("anna"), (b"transfer-encoding", b"chunked")]
    assert bench.ask("POST", "/jobs", headers, pieces).status == 200
    assert bench.behind.got == [("POST", "/jobs", b"abcd")]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("peer", [PROXY, STRANGER, "127.0.0.1"])
def test_whether_it_lives_is_told_to_all_by_whatever_name(path: str, peer: str) -> None:
    assert Bench().ask("GET", path, [(b"host", b"10.42.0.17:8080")], peer=peer).status == 200


@pytest.mark.parametrize("path", ["/static/app.css", "/imager/0123/os_list.json", "/imager/0123/x.img.zst"])
def test_what_needs_no_sign_in_is_given_by_our_names_only(path: str) -> None:
    assert Bench().ask("GET", path, [HOST], peer=STRANGER).status == 200
    assert Bench().ask("GET", path, [(b"host", b"evil.example")], peer=STRANGER).status == 403


@pytest.mark.parametrize(
    ("method", "path", "purpose"),
    [
        ("POST", "/internal/sentinel/snapshot", "sentinel"),
        ("POST", "/internal/sentinel/watch", "watch"),
        ("GET", "/metrics", "metrics"),
        ("POST", "/api/v1/jobs", "api"),
        ("GET", "/api/v1/jobs", "api"),
    ],
)
def test_each_token_opens_its_own_door_and_no_other(method: str, path: str, purpose: str) -> None:
    for owner, token in TOKEN.items():
        bench = Bench()
        status = bench.ask(method, path, [HOST, with_bearer(token)], peer=STRANGER).status
        assert (status == 200) == (owner == purpose) == bool(bench.behind.got), owner


def test_a_script_with_the_token_may_what_the_crew_may() -> None:
    bench = Bench()
    bench.ask("POST", "/api/v1/jobs", [HOST, with_bearer(TOKEN["api"])], peer=STRANGER)
    assert bench.behind.states[0]["identity"].role == "maintenance"
    assert bench.acts[0].who == "api token"


def test_a_header_that_the_proxy_adds_is_no_token_and_does_no_harm() -> None:
    bench = Bench()
    bearer = with_bearer("an id token of somebody")
    assert bench.ask("GET", "/api/v1/jobs", [HOST, *CREW, bearer]).status == 200
    assert bench.ask("POST", "/api/v1/jobs", [HOST, *CREW, bearer]).status == 403
    assert bench.ask("POST", "/api/v1/jobs", [HOST, *CREW, bearer, csrf_of("eve")]).status == 200


@pytest.mark.parametrize(
    ("headers", "peer", "status"),
    [
        ([LOCALLY], "127.0.0.1", 200),
        ([LOCALLY], STRANGER, 401),
        ([HOST], "127.0.0.1", 401),
        ([LOCALLY, (b"x-forwarded-for", b"203.0.113.9")], "127.0.0.1", 401),
        ([LOCALLY, *ANNA], "127.0.0.1", 401),
    ],
)
def test_without_a_token_metrics_are_for_this_machine(headers: list[Pair], peer: str, status: int) -> None:
    from dataclasses import replace

    assert Bench(replace(OPTIONS, tokens={})).ask("GET", "/metrics", headers, peer=peer).status == status
    assert Bench().ask("GET", "/metrics", headers, peer=peer).status == 401


def test_on_this_machine_everybody_is_local_and_forms_need_their_token() -> None:
    bench = Bench(ALONE)
    assert bench.ask("GET", "/", [LOCALLY], peer="127.0.0.1").status == 200
    assert bench.behind.states[0]["identity"].role == "admin"
    assert bench.ask("POST", "/jobs", [LOCALLY], peer="127.0.0.1").status == 403
    assert bench.ask("POST", "/jobs", [LOCALLY, csrf_of("local")], peer="127.0.0.1").status == 200


# --------------------------------------------------------------------------------- what may never

UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]
TARGETS = [
    "/jobs",
    "/nodes/titan-13/burn",
    "/api/v1/jobs",
    "/imager/0123/revoke",
    "/static/app.css",
    "/healthz",
]
FORGED: dict[str, tuple[list[Pair], str]] = {
    "nobody": ([HOST], PROXY),
    "nobody, from elsewhere": ([HOST, csrf_of("anna")], STRANGER),
    "headers from elsewhere": ([HOST, *ANNA, csrf_of("anna")], STRANGER),
    "headers from loopback": ([HOST, *ANNA, csrf_of("anna")], "127.0.0.1"),
    "without a role": ([HOST, *NOBODYS, csrf_of("carl")], PROXY),
    "no token": ([HOST, *ANNA], PROXY),
    "an empty token": ([HOST, *ANNA, (b"x-csrf-token", b"")], PROXY),
    "an old token": ([HOST, *ANNA, csrf_of("anna", NOW - 14 * 3600)], PROXY),
    "another's token": ([HOST, *ANNA, csrf_of("eve")], PROXY),
    "the token of another service": ([HOST, *ANNA, csrf_of("anna", key=b"x" * 32)], PROXY),
    "two tokens": ([HOST, *ANNA, csrf_of("eve"), csrf_of("anna")], PROXY),
    "another origin": ([HOST, *ANNA, csrf_of("anna"), (b"origin", b"https://evil.example")], PROXY),
    "a plain origin": ([HOST, *ANNA, csrf_of("anna"), (b"origin", b"http://metis.example")], PROXY),
    "no origin": ([HOST, *ANNA, csrf_of("anna"), (b"origin", b"null")], PROXY),
    "another site": ([HOST, *ANNA, csrf_of("anna"), (b"sec-fetch-site", b"cross-site")], PROXY),
    "a neighbour's site": ([HOST, *ANNA, csrf_of("anna"), (b"sec-fetch-site", b"same-site")], PROXY),
    "a foreign Host": ([(b"host", b"evil.example"), *ANNA, csrf_of("anna")], PROXY),
    "an address as Host": ([(b"host", b"10.1.1.2:8080"), *ANNA, csrf_of("anna")], PROXY),
    "no Host": ([*ANNA, csrf_of("anna")], PROXY),
    "two Hosts": ([HOST, (b"host", b"evil.example"), *ANNA, csrf_of("anna")], PROXY),
    "two users": ([HOST, *ANNA, (b"x-forwarded-user", b"eve"), csrf_of("anna")], PROXY),
    "two readings of groups": (
        [HOST, *CREW, (b"x_forwarded_groups", b"metis-admins"), csrf_of("eve")],
        PROXY,
    ),
    "two lengths": (
        [HOST, *ANNA, csrf_of("anna"), (b"content-length", b"0"), (b"transfer-encoding", b"chunked")],
        PROXY,
    ),
    "the sentinel's token": ([HOST, with_bearer(TOKEN["sentinel"])], STRANGER),
    "a guessed token": ([HOST, with_bearer("0" * 32)], STRANGER),
}


@pytest.mark.parametrize("what", FORGED)
@pytest.mark.parametrize("path", TARGETS)
@pytest.mark.parametrize("method", UNSAFE)
def test_a_forged_request_never_gets_there(method: str, path: str, what: str) -> None:
    bench = Bench()
    headers, peer = FORGED[what]
    reply = bench.ask(method, path, headers, peer=peer)
    assert 400 <= reply.status < 500
    assert not bench.behind.got
    assert reply.header("content-security-policy") == POLICY
    assert reply.header("connection") == "close"


@pytest.mark.parametrize("path", TARGETS)
def test_the_same_request_unforged_gets_there(path: str) -> None:
    bench = Bench()
    assert (
        bench.ask("POST", path, [HOST, *ANNA, csrf_of("anna"), (b"origin", b"https://metis.example")]).status
        == 200
    )
    assert bench.behind.got


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("cross-site", "no-cors", "image", 403),
        ("cross-site", "cors", "empty", 403),
        ("same-site", "cors", "empty", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "navigate", "object", 403),
        ("cross-site", "navigate", "", 403),
        ("cross-site", "navigate", "document", 200),
        ("same-site", "navigate", "document", 200),
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
        ("", "", "", 200),
    ],
)
@pytest.mark.parametrize("path", ["/events", "/nodes/titan-13/plan", "/api/v1/cards"])
def test_a_page_elsewhere_may_lead_here_and_make_us_do_nothing(
    path: str, site: str, mode: str, dest: str, status: int
) -> None:
    said = {b"sec-fetch-site": site, b"sec-fetch-mode": mode, b"sec-fetch-dest": dest}
    headers = [(name, value.encode()) for name, value in said.items() if value]
    bench = Bench(ALONE)
    assert locally(bench, "GET", path, *headers).status == status
    assert bool(bench.behind.got) == (status == 200)
    assert Bench().ask("GET", path, [HOST, *ANNA, *headers]).status == status


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "BREW", "post"])
@pytest.mark.parametrize("path", ["/", "/jobs", "/healthz", "/internal/sentinel/watch", "/static/app.css"])
def test_other_methods_never_get_there_and_let_no_origin_in(method: str, path: str) -> None:
    bench = Bench()
    preflight = [(b"origin", b"https://evil.example"), (b"access-control-request-method", b"POST")]
    reply = bench.ask(method, path, [HOST, *ANNA, csrf_of("anna"), *preflight])
    assert reply.status == 405
    assert reply.header("allow") == "DELETE, GET, HEAD, PATCH, POST, PUT"
    assert not bench.behind.got
    assert not [name for name, _ in reply.headers if name.startswith(b"access-control")]


@pytest.mark.parametrize(
    "path", ["//healthz", "/healthz/..", "/./healthz", "/static/../nodes", "/nodes/\\x", "x"]
)
def test_a_path_with_two_readings_never_gets_there(path: str) -> None:
    for method in ("GET", "POST"):
        bench = Bench()
        assert bench.ask(method, path, [HOST, *ANNA, csrf_of("anna")]).status == 400
        assert not bench.behind.got


NAMES = [
    b"host",
    b"x-forwarded-user",
    b"x-forwarded-groups",
    b"x-csrf-token",
    b"origin",
    b"authorization",
    b"cookie",
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"accept",
]
VALUES = st.binary(max_size=40) | st.sampled_from([value for _, value in [HOST, *ANNA, csrf_of("anna")]])


@given(
    st.sampled_from(["GET", *UNSAFE]),
    st.sampled_from(["/", "/jobs", "/api/v1/jobs", "/internal/sentinel/watch", "/metrics"])
    | st.text(max_size=20),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8),
    st.binary(max_size=60),
)
def test_whatever_a_stranger_sends_stays_outside_and_is_answered(
    method: str, path: str, headers: list[Pair], body: bytes
) -> None:
    bench = Bench()
    raw = path.encode(errors="replace")
    reply = bench.ask(method, path, headers, [body], peer=STRANGER, raw_path=raw, query=body)
    assert 400 <= reply.status < 500
    assert not bench.behind.got
    assert reply.header("content-security-policy") == POLICY


@given(st.binary())
def test_no_cookie_is_guessed(cookie: bytes) -> None:
    assert locally(Bench(GUI), "GET", "/", (b"cookie", cookie)).status == 401


@pytest.mark.parametrize(
    "kind", [b"multipart/form-data; boundary=x", b"text/plain", b"application/json", b""]
)
def test_a_token_in_a_body_that_is_no_plain_form_is_none(kind: bytes) -> None:
    _, body = asgi.form(csrf=csrf_of("anna")[1].decode())
    headers = [HOST, *ANNA, (b"content-type", kind), (b"content-length", str(len(body)).encode())]
    bench = Bench()
    assert bench.ask("POST", "/jobs", headers, [body]).status == 403
    assert not bench.behind.got


@pytest.mark.parametrize(
    "body", ["csrf={0}&csrf={0}", "CSRF={0}", "csrf={0}x", "a=1;csrf={0}", "csrf=&csrf={0}"]
)
def test_a_form_with_anything_but_one_token_is_refused(body: str) -> None:
    data = body.format(csrf_of("anna")[1].decode()).encode()
    headers, _ = asgi.form()
    bench = Bench()
    assert (
        bench.ask(
            "POST", "/jobs", [HOST, *ANNA, headers[0], (b"transfer-encoding", b"chunked")], [data]
        ).status
        == 403
    )
    assert not bench.behind.got


@pytest.mark.parametrize("data", [b"\xff=1", b"&".join([b"a=1"] * 300)])
def test_a_form_that_cannot_be_read_is_refused(data: bytes) -> None:
    headers, _ = asgi.form()
    bench = Bench()
    reply = bench.ask("POST", "/jobs", [HOST, *ANNA, headers[0], (b"transfer-encoding", b"chunked")], [data])
    assert reply.status == 400
    assert not bench.behind.got


# ------------------------------------------------------------------------------------ large and slow

LARGE = (64 << 10) + 1


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes() -> None:
    bench = Bench()
    headers = [HOST, *ANNA, csrf_of("anna"), (b"content-length", str(LARGE).encode())]
    assert bench.ask("POST", "/jobs", headers, [], ends=False).status == 413
    assert not bench.behind.got


@pytest.mark.parametrize(
    "pieces", [[b"x" * LARGE], [b"x" * 1000] * 66, [b"", b"x" * LARGE]], ids=["one", "many", "late"]
)
def test_a_body_that_grows_too_large_is_refused(pieces: list[bytes]) -> None:
    bench = Bench()
    headers = [HOST, *ANNA, csrf_of("anna"), (b"transfer-encoding", b"chunked")]
    assert bench.ask("POST", "/jobs", headers, pieces, ends=False).status == 413
    assert not bench.behind.got


def test_a_body_of_strangers_is_not_even_waited_for() -> None:
    bench = Bench()
    for path, headers in {
        "/jobs": [HOST],
        "/internal/sentinel/snapshot": [HOST, with_bearer("0" * 32)],
    }.items():
        assert bench.ask("POST", path, [*headers, (b"content-length", b"9")], [], ends=False).status == 401


def test_so_many_snapshots_at_once_and_no_more_are_in_memory() -> None:
    """Each until it is answered, also where what it is for takes long."""
    bench, released = Bench(), asyncio.Event()
    headers = [HOST, with_bearer(TOKEN["sentinel"])]

    def deliver(body: bytes) -> Coroutine[Any, Any, Reply]:
        framing = (b"content-length", str(len(body)).encode())
        asked = asgi.scope("POST", "/internal/sentinel/snapshot", [*headers, framing], peer=STRANGER)
        return asgi.exchange(bench.guard, asked, [body])

    async def story() -> None:
        bench.behind.waits_for = released
        large = b"x" * LARGEST
        going = [asyncio.create_task(deliver(large)) for _ in range(ROOM // LARGEST)]
        while len(bench.behind.got) < len(going):
            await asyncio.sleep(0)
        refused = await deliver(large)
        assert (refused.status, int(refused.header("retry-after")) > 0) == (503, True)
        released.set()
        assert (await deliver(b"small")).status == 200
        assert {(await each).status for each in going} == {200}
        assert (await deliver(large)).status == 200

    asyncio.run(story())


def test_a_body_that_takes_too_long_is_cut() -> None:
    bench = Bench(seconds=0.01)
    headers = [HOST, *ANNA, csrf_of("anna"), (b"content-length", b"9")]
    reply = bench.ask("POST", "/jobs", headers, [b"x"], ends=False)
    assert (reply.status, reply.header("connection")) == (408, "close")
    assert not bench.behind.got


def test_who_hangs_up_is_not_answered_and_changes_nothing() -> None:
    bench = Bench()
    said: list[Any] = []

    async def hang_up() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def collect(message: Any) -> None:
        said.append(message)

    scope = asgi.scope("POST", "/jobs", [HOST, *ANNA, csrf_of("anna"), (b"content-length", b"9")])
    asyncio.run(bench.guard(scope, hang_up, collect))
    assert not said
    assert not bench.behind.got


# ------------------------------------------------------------------------------------------- rates


def test_who_acts_too_often_waits_and_others_do_not() -> None:
    bench = Bench()
    statuses = [bench.ask("POST", "/jobs", [HOST, *ANNA, csrf_of("anna")]).status for _ in range(120)]
    assert statuses == [200] * 100 + [429] * 20
    assert bench.ask("POST", "/jobs", [HOST, *CREW, csrf_of("eve")]).status == 200
    assert bench.ask("GET", "/", [HOST, *ANNA]).status == 200
    bench.steady += 1.0
    assert bench.ask("POST", "/jobs", [HOST, *ANNA, csrf_of("anna")]).status == 200


def test_who_tries_tokens_is_told_to_wait_by_address() -> None:
    bench = Bench()

    def guess(peer: str) -> Reply:
        return bench.ask("POST", "/internal/sentinel/watch", [HOST, with_bearer("0" * 32)], peer=peer)

    replies = [guess(STRANGER) for _ in range(70)]
    assert [reply.status for reply in replies] == [401] * 60 + [429] * 10
    assert int(replies[-1].header("retry-after")) >= 1
    assert guess("192.0.2.8").status == 401
    assert bench.ask("GET", "/", [HOST, *ANNA]).status == 200


def test_a_page_is_read_often_enough_for_many_browsers() -> None:
    bench = Bench()
    assert {bench.ask("GET", "/", [HOST, *ANNA]).status for _ in range(1000)} == {200}
    assert bench.ask("GET", "/", [HOST, *ANNA]).status == 429


# ----------------------------------------------------------------------------------------- headers

EACH = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
    "strict-transport-security": "max-age=31536000",
}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", [HOST, *ANNA], 200),
        ("GET", "/", [HOST], 401),
        ("GET", "/", [HOST, *NOBODYS], 403),
        ("GET", "/internal/x", [HOST], 404),
        ("BREW", "/", [HOST], 405),
        ("GET", "/healthz", [HOST], 200),
    ],
)
def test_each_answer_has_the_headers_of_all(method: str, path: str, headers: list[Pair], status: int) -> None:
    reply = Bench().ask(method, path, headers)
    assert reply.status == status
    assert {name: reply.header(name) for name in EACH} == EACH


def test_an_application_can_loosen_none_of_them() -> None:
    loose = [
        (b"Content-Security-Policy", b"default-src *"),
        (b"Cache-Control", b"public, max-age=99"),
        (b"Access-Control-Allow-Origin", b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"X-Own", b"kept"),
    ]
    reply = Bench(behind=Behind(headers=loose)).ask("GET", "/", [HOST, *ANNA])
    assert {name: reply.header(name) for name in EACH} == EACH
    assert reply.header("x-own") == "kept"
    assert not [name for name, _ in reply.headers if name.lower().startswith(b"access-control")]


def test_files_of_the_program_may_be_kept() -> None:
    kept = Behind(headers=[(b"cache-control", b"public, max-age=3600")])
    assert (
        Bench(behind=kept).ask("GET", "/static/app.css", [HOST]).header("cache-control")
        == "public, max-age=3600"
    )


def test_by_plain_http_browsers_are_not_told_to_come_by_https() -> None:
    reply = Bench(ALONE).ask("GET", "/", [LOCALLY], peer="127.0.0.1")
    assert (reply.status, reply.header("strict-transport-security")) == (200, "")


def test_an_application_that_breaks_is_answered_for_and_the_server_hears_of_it() -> None:
    bench = Bench(behind=Behind(fails=True))
    said: list[Any] = []

    async def run() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def collect(message: Any) -> None:
            said.append(message)

        await bench.guard(asgi.scope("POST", "/jobs", [HOST, *ANNA, csrf_of("anna")]), receive, collect)

    with pytest.raises(RuntimeError):
        asyncio.run(run())
    assert said[0]["status"] == 500
    assert b"broke" not in said[1]["body"]
    assert (b"content-security-policy", POLICY.encode()) in said[0]["headers"]
    assert [act.outcome for act in bench.acts] == ["500 Internal Server Error"]


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/", b"text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("/", b"*/*", "application/problem+json"),
        ("/", b"", "application/problem+json"),
        ("/api/v1/nodes", b"text/html", "application/problem+json"),
    ],
)
def test_who_is_refused_is_told_what_to_do(path: str, accept: bytes, kind: str) -> None:
    reply = Bench().ask("GET", path, [HOST, (b"accept", accept)], peer=STRANGER)
    assert (reply.status, reply.header("content-type")) == (401, kind)
    assert int(reply.header("content-length")) == len(reply.body)
    assert b"proxy" in reply.body
    if kind == "application/problem+json":
        assert set(json.loads(reply.body)) == {"type", "title", "status", "detail"}
    else:
        assert not re.search(rb"<script|<style|\s(?:style|on[a-z]+)=", reply.body)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refusal_shows_nothing_of_the_request(method: str) -> None:
    canary = b"<script>canary"
    headers = [HOST, (b"x-forwarded-user", canary), (b"accept", b"text/html"), (b"origin", canary)]
    for peer in (PROXY, STRANGER):
        reply = Bench().ask(method, "/canary", headers, peer=peer, query=b"token=canary")
        assert b"canary" not in reply.body + b"".join(value for _, value in reply.headers)


# --------------------------------------------------------------------------------------- streaming


def test_an_answer_is_handed_on_piece_by_piece_as_it_comes() -> None:
    order: list[str] = []

    async def streaming(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            order.append(f"made {number}")
            await send({"type": "http.response.body", "body": b"x", "more_body": number < 2})

    async def collect(message: Any) -> None:
        if message["type"] == "http.response.body":
            order.append("sent")

    async def receive() -> dict[str, Any]:
        raise AssertionError("nobody asks for the body of what reads")

    guard = Guard(streaming, OPTIONS, key=KEY, note=lambda _: None)
    asyncio.run(guard(asgi.scope("GET", "/events", [HOST, *ANNA]), receive, collect))
    assert order == ["made 0", "sent", "made 1", "sent", "made 2", "sent"]


def test_after_its_body_an_application_hears_that_somebody_hung_up() -> None:
    heard: list[str] = []
    left: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"x", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def patient(_scope: Any, receive: Any, send: Any) -> None:
        heard.extend([(await receive())["type"], (await receive())["type"]])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    async def ignore(_message: Any) -> None:
        pass

    guard = Guard(patient, OPTIONS, key=KEY, note=lambda _: None, clocks=Clocks(wall=lambda: NOW))
    scope = asgi.scope("POST", "/jobs", [HOST, *ANNA, csrf_of("anna"), (b"content-length", b"1")])
    asyncio.run(guard(scope, receive, ignore))
    assert heard == ["http.request", "http.disconnect"]


def test_a_socket_of_the_web_is_closed() -> None:
    said: list[Any] = []

    async def collect(message: Any) -> None:
        said.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    bench = Bench()
    scope = {**asgi.scope("GET", "/events", [HOST, *ANNA]), "type": "websocket"}
    asyncio.run(bench.guard(scope, receive, collect))
    assert [message["type"] for message in said] == ["websocket.close"]
    assert not bench.behind.got


# ------------------------------------------------------------------------------------------- audit


def test_what_was_done_is_noted_by_its_route_and_its_target() -> None:
    bench = Bench(behind=Behind(status=303, route=("/nodes/{node}/burn", {"node": "titan-13"})))
    headers = [HOST, *ANNA, csrf_of("anna"), (b"x-forwarded-for", b"203.0.113.9")]
    bench.ask("POST", "/nodes/titan-13/burn", headers, query=b"x=hunter2")
    assert bench.acts == [
        Act("anna", "POST /nodes/{node}/burn", "node=titan-13", "303 See Other", "203.0.113.9")
    ]


def test_what_somebody_was_refused_is_noted_too() -> None:
    bench = Bench()
    bench.ask("POST", "/jobs", [HOST, *ANNA, csrf_of("eve")])
    bench.ask("POST", "/jobs", [HOST, *NOBODYS, csrf_of("carl")])
    assert [(act.who, act.target, act.outcome) for act in bench.acts] == [
        ("anna", "/jobs", "403 Forbidden"),
        ("carl", "/jobs", "403 Forbidden"),
    ]


def test_a_link_that_lets_one_in_is_not_noted() -> None:
    bench = Bench()
    bench.ask("POST", "/imager/hunter2/revoke", [HOST, *ANNA])
    bench.behind.route = ("/imager/{token}/revoke", {"token": "hunter2"})
    bench.ask("POST", "/imager/hunter2/revoke", [HOST, *ANNA, csrf_of("anna")])
    assert len(bench.acts) == 2
    assert "hunter2" not in str(bench.acts)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", [HOST, *ANNA]),
        ("GET", "/healthz", [HOST]),
        ("POST", "/jobs", [HOST]),
        ("POST", "/internal/sentinel/snapshot", [HOST, with_bearer(TOKEN["sentinel"])]),
    ],
)
def test_what_nobody_did_is_not_noted(method: str, path: str, headers: list[Pair]) -> None:
    bench = Bench()
    bench.ask(method, path, headers)
    assert bench.acts == []


def test_a_line_is_noted_before_the_answer_is_heard() -> None:
    bench = Bench()
    seen: list[int] = []

    async def run() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def collect(_message: Any) -> None:
            seen.append(len(bench.acts))

        await bench.guard(asgi.scope("POST", "/jobs", [HOST, *ANNA, csrf_of("anna")]), receive, collect)

    asyncio.run(run())
    assert seen == [1, 1]


@pytest.mark.parametrize(
    "error",
    [MetisError("history.sqlite3: disk full"), OSError(28, "disk full")],
    ids=["of ours", "of the disk"],
)
def test_a_history_that_cannot_be_written_costs_no_answer_and_is_said(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def broken(_line: Act) -> None:
        raise error

    guard = Guard(Behind(), OPTIONS, key=KEY, note=broken, clocks=Clocks(wall=lambda: NOW))
    with caplog.at_level(logging.ERROR):
        reply = asgi.send(guard, asgi.scope("POST", "/jobs", [HOST, *ANNA, csrf_of("anna")]))
    assert reply.status == 200
    assert "disk full" in caplog.text
    assert "anna" in caplog.text


def test_what_is_about_to_be_done_is_noted_before_it_is() -> None:
    """By its path, as no route knows it yet; the same line says afterwards how it ended."""
    lines: list[Act] = []
    seen: list[list[Act]] = []

    def begin(line: Act) -> Callable[[Act], None]:
        lines.append(line)
        return lambda end: lines.__setitem__(0, end)

    async def behind(_scope: Any, receive: Any, send: Any) -> None:
        seen.append(list(lines))
        await Behind(status=303)({"method": "GET", "path": "", "state": {}}, receive, send)

    guard = Guard(behind, OPTIONS, key=KEY, note=print, begin=begin, clocks=Clocks(wall=lambda: NOW))
    asgi.send(guard, asgi.scope("POST", "/imager/hunter2/x", [HOST, *ANNA, csrf_of("anna")]))
    assert [(act.who, act.what, act.target, act.outcome) for act in seen[0]] == [
        ("anna", "POST", "/imager/***/x", "begun")
    ]
    assert [act.outcome for act in lines] == ["303 See Other"]


@pytest.mark.parametrize(
    "error",
    [MetisError("history.sqlite3: disk full", "free some space"), OSError(28, "disk full")],
    ids=["of ours", "of the disk"],
)
def test_what_cannot_be_noted_is_not_done(error: Exception) -> None:
    def broken(_line: Act) -> Note:
        raise error

    behind = Behind()
    guard = Guard(behind, OPTIONS, key=KEY, note=print, begin=broken, clocks=Clocks(wall=lambda: NOW))
    reply = asgi.send(guard, asgi.scope("POST", "/jobs", [HOST, *ANNA, csrf_of("anna")]))
    assert (reply.status, behind.got) == (503, [])
    assert b"what cannot be noted is not done: " in reply.body
    assert b"disk full" in reply.body
    assert reply.header("retry-after") == "10"
    asgi.send(guard, asgi.scope("GET", "/jobs", [HOST, *ANNA]))
    assert len(behind.got) == 1, "who only reads is not kept from it"


def test_logs_have_no_token_and_no_link(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    with caplog.at_level(logging.DEBUG):
        bench.ask("POST", "/internal/sentinel/watch", [HOST, with_bearer("canary" * 6)], peer=STRANGER)
        bench.ask("GET", "/imager/canary/os_list.json", [(b"host", b"evil.example")], peer=STRANGER)
        bench.ask("GET", "/", [HOST, (b"x-forwarded-user", b"canary")], peer=STRANGER, query=b"token=canary")
    assert caplog.records
    assert "canary" not in caplog.text


# ------------------------------------------------------------------------------------ one-time token

LINK = b"token=" + b"g" * 43


def locally(bench: Bench, method: str, path: str, *headers: Pair, query: bytes = b"") -> Reply:
    return bench.ask(method, path, [LOCALLY, *headers], peer="127.0.0.1", query=query)


def cookie_of(reply: Reply) -> Pair:
    return b"cookie", reply.header("set-cookie").partition(";")[0].encode()


def test_the_link_opens_once_and_is_gone_from_the_address() -> None:
    bench = Bench(GUI)
    opened = locally(bench, "GET", "/", query=LINK)
    assert (opened.status, opened.header("location"), opened.body) == (303, "/", b"")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(opened.header("set-cookie").split("; "))
    assert "g" * 43 not in opened.header("set-cookie")
    assert locally(bench, "GET", "/", cookie_of(opened)).status == 200
    assert locally(bench, "POST", "/jobs", cookie_of(opened), csrf_of("local")).status == 200
    assert locally(bench, "GET", "/", query=LINK).status == 403
    assert locally(bench, "GET", "/", cookie_of(opened)).status == 200


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"token=",
        b"token=x",
        b"token=" + b"G" * 43,
        LINK + b"x",
        LINK + b"&" + LINK,
        b"x=1",
        b"token=%ff",
        b"\xff",
    ],
)
def test_without_the_link_nobody_gets_there_and_the_link_stays_good(query: bytes) -> None:
    bench = Bench(GUI)
    assert locally(bench, "GET", "/", query=query).status in {401, 403}
    assert not bench.behind.got
    assert locally(bench, "GET", "/", query=LINK).status == 303


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("GET", "/nodes"), ("HEAD", "/"), ("GET", "/api/v1/nodes")]
)
def test_the_link_opens_one_page_only(method: str, path: str) -> None:
    bench = Bench(GUI)
    assert locally(bench, method, path, query=LINK).status == 401
    assert not bench.behind.got


def test_what_the_link_opens_is_also_shut_for_metrics() -> None:
    """Others of this machine would read the names of nodes there."""
    bench = Bench(GUI)
    assert locally(bench, "GET", "/metrics").status == 401
    opened = locally(bench, "GET", "/", query=LINK)
    assert locally(bench, "GET", "/metrics").status == 401
    assert locally(bench, "GET", "/metrics", cookie_of(opened)).status == 200
    assert locally(Bench(ALONE), "GET", "/metrics").status == 200


@pytest.mark.parametrize(
    "cookie", [b"", b"metis_8080=", b"metis_8080=x", b"metis_8081={0}", b"{0}", b"metis_8080={0}x"]
)
def test_another_cookie_is_none(cookie: bytes) -> None:
    bench = Bench(GUI)
    session = cookie_of(locally(bench, "GET", "/", query=LINK))[1].partition(b"=")[2]
    assert locally(bench, "GET", "/", (b"cookie", cookie.replace(b"{0}", session))).status == 401


def test_the_cookie_is_found_among_others() -> None:
    bench = Bench(GUI)
    name, value = cookie_of(locally(bench, "GET", "/", query=LINK))
    assert locally(bench, "GET", "/", (name, b"a=b; " + value + b"; metis_8080=old")).status == 200
    assert locally(bench, "GET", "/", (name, b"a=b"), (name, value)).status == 200


def test_the_link_is_no_way_in_by_another_name() -> None:
    bench = Bench(GUI)
    assert (
        bench.ask("GET", "/", [(b"host", b"evil.example:8080")], peer="127.0.0.1", query=LINK).status == 403
    )
    assert locally(bench, "GET", "/", query=LINK).status == 303
