"""What a request must be to be read at all: one meaning, whoever reads it."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.secret import Secret
from pipeline.service.asked import asked
from pipeline.service.denial import Denial
from pipeline.service.doors import bearer, door, has_token
from tests.support import asgi

TOKEN = "0123456789abcdef" * 2


def status(method: str, target: bytes, *headers: tuple[bytes, bytes]) -> int:
    """What a request is refused with, given as a server reads its target (0 where it is not)."""
    raw, _, query = target.partition(b"?")
    try:
        asked(asgi.scope(method, unquote(raw.decode("latin-1")), headers, raw_path=raw, query=query))
    except Denial as denial:
        return denial.status
    return 0


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/nodes/titan-13",
        b"/nodes/titan%2D13",
        b"/nodes/titan-13/",
        b"/nodes?page=2//..",
        b"/.well-known/x",
        b"/nodes/...",
        b"/nodes/a..b",
        b"/nodes/r%C3%B6ntgen",
    ],
)
def test_a_plain_path_is_read(target: bytes) -> None:
    assert status("GET", target) == 0


@pytest.mark.parametrize(
    "target",
    [
        b"//evil.example/",
        b"/nodes//titan",
        b"/./nodes",
        b"/nodes/../jobs",
        b"/nodes/..",
        b"/static/../nodes",
        b"/static/%2e%2e/nodes",
        b"/static/%2E./nodes",
        b"/static/.%2e/nodes",
        b"/static/..%2fnodes",
        b"/static/..%2Fnodes",
        b"/static%2f..%2fnodes",
        b"/static/..%5cnodes",
        b"/static/..\\nodes",
        b"/static/%2e%2e%5Cnodes",
        b"/healthz%2f..%2fnodes",
        b"/healthz/../nodes",
        b"/imager/x/../../nodes",
        b"/%00",
        b"/nodes%0d%0aSet-Cookie:%20x",
        b"/nodes%20titan",
        b"/nodes%09",
        b"/nodes%7f",
        b"http://metis.example/",
        b"metis.example:443",
        b"*",
        b"",
    ],
)
def test_a_path_with_two_readings_is_refused(target: bytes) -> None:
    assert status("GET", target) == 400


def test_what_is_encoded_twice_is_decoded_once() -> None:
    assert status("GET", b"/static/%252e%252e/nodes") == 0
    found = asked(asgi.scope("GET", unquote("/static/%252e%252e/nodes")))
    assert found.path == "/static/%2e%2e/nodes"


@pytest.mark.parametrize("target", [b"/" + b"a" * 2048, b"/" + b"%61" * 2048, b"/" + b"%C3%B6" * 2000])
def test_a_long_path_is_refused(target: bytes) -> None:
    assert status("GET", target) == 414


@pytest.mark.parametrize(
    ("query", "refused"), [(b"q=" + b"a" * 4094, 0), (b"a&" * 2049, 414), (b"x" * 4097, 414)]
)
def test_a_long_query_is_refused(query: bytes, refused: int) -> None:
    assert status("GET", b"/nodes?" + query) == refused


@pytest.mark.parametrize(
    "method", ["OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "Post", "", "GET ", "DEBUG"]
)
def test_other_methods_are_not_served(method: str) -> None:
    assert status(method, b"/") == 405


@pytest.mark.parametrize(
    "headers",
    [[(b"x-long", b"x" * (32 << 10))], [(b"x" * (33 << 10), b"")], [(b"x-many", b"x" * 60)] * 600],
    ids=["value", "name", "many"],
)
def test_long_headers_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    assert status("GET", b"/", *headers) == 431
    assert status("GET", b"/", (b"x-long", b"x" * (31 << 10))) == 0


@pytest.mark.parametrize(
    "headers", [[(b"a", b"")] * 201, [(b"%x" % number, b"") for number in range(201)]], ids=["one", "many"]
)
def test_a_crowd_of_short_headers_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    assert status("GET", b"/", *headers) == 431
    assert status("GET", b"/", *headers[:200]) == 0


LENGTH = (b"content-length", b"4")
CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    "headers",
    [
        [LENGTH, LENGTH],
        [LENGTH, (b"content-length", b"5")],
        [LENGTH, (b"Content-Length", b"5")],
        [LENGTH, CHUNKED],
        [CHUNKED, CHUNKED],
        [CHUNKED, (b"transfer-encoding", b"identity")],
        [(b"content-length", b"4, 5")],
        [(b"content-length", b"+4")],
        [(b"content-length", b"-4")],
        [(b"content-length", b"0x4")],
        [(b"content-length", b"4_0")],
        [(b"content-length", b"")],
        [(b"content-length", b"9" * 19)],
        [(b"content-length", "\N{ARABIC-INDIC DIGIT FOUR}".encode())],
        [LENGTH, asgi.HOST, asgi.HOST],
        [LENGTH, asgi.HOST, (b"HOST", b"evil.example")],
        [LENGTH, (b"origin", b"a"), (b"origin", b"b")],
        [LENGTH, (b"x-csrf-token", b"a"), (b"x-csrf-token", b"b")],
        [LENGTH, (b"authorization", b"a"), (b"authorization", b"b")],
        [LENGTH, (b"content-type", b"a"), (b"content-type", b"b")],
        [LENGTH, (b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")],
    ],
)
def test_a_request_that_two_would_frame_differently_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    assert status("POST", b"/jobs", *headers) == 400


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_reads_has_no_body(method: str) -> None:
    assert status(method, b"/", LENGTH) == 400
    assert status(method, b"/", CHUNKED) == 400
    assert status(method, b"/", (b"content-length", b"0")) == 0


@pytest.mark.parametrize("value", [b"a\x00b", b"a\nb", b"\xff", b"a\x1bb"])
def test_a_header_that_is_no_line_of_text_is_refused(value: bytes) -> None:
    with pytest.raises(Denial) as caught:
        asked(asgi.scope("GET", "/", [(b"origin", value)])).header("origin")
    assert caught.value.status == 400


@given(st.text(max_size=60))
def test_any_path_is_refused_or_stays_within_itself(path: str) -> None:
    raw = quote(path, safe="/").encode()
    try:
        found = asked(asgi.scope("GET", unquote(raw.decode()), raw_path=raw))
    except Denial as denial:
        assert denial.status in {400, 414}  # noqa: PT017 - both outcomes are right
        return
    assert found.path.startswith("/")
    assert not {"..", "."} & set(found.path.split("/"))
    assert "" not in found.path.split("/")[1:-1]


# ------------------------------------------------------------------------------------------- doors


@pytest.mark.parametrize(
    ("method", "path", "kind", "purpose"),
    [
        ("GET", "/", "people", ""),
        ("GET", "/nodes", "people", ""),
        ("POST", "/jobs", "people", ""),
        ("GET", "/healthz", "probe", ""),
        ("HEAD", "/readyz", "probe", ""),
        ("POST", "/healthz", "people", ""),
        ("GET", "/healthz/", "people", ""),
        ("GET", "/healthz/x", "people", ""),
        ("GET", "/Healthz", "people", ""),
        ("GET", "/healthz;x", "people", ""),
        ("GET", "/healthz.css", "people", ""),
        ("GET", "/metrics", "token", "metrics"),
        ("POST", "/metrics", "people", ""),
        ("GET", "/metrics/", "people", ""),
        ("POST", "/internal/sentinel/snapshot", "token", "sentinel"),
        ("POST", "/internal/sentinel/watch", "token", "watch"),
        ("GET", "/static/app.css", "open", ""),
        ("HEAD", "/static/app.css", "open", ""),
        ("POST", "/static/app.css", "people", ""),
        ("GET", "/static", "people", ""),
        ("GET", "/STATIC/app.css", "people", ""),
        ("GET", "/staticx/app.css", "people", ""),
        ("GET", "/imager/os_list.json", "link", ""),
        ("GET", "/imager/0123/os_list.json", "link", ""),
        ("HEAD", "/imager/0123/titan.img.zst", "link", ""),
        ("POST", "/imager/0123/titan.img.zst", "people", ""),
        ("GET", "/imager/exports", "people", ""),
        ("GET", "/imager/", "people", ""),
        ("GET", "/imager/0123/", "people", ""),
        ("GET", "/imager/0123/x/y", "people", ""),
        ("GET", "/api/v1/nodes", "people", ""),
        ("GET", "/openapi.json", "people", ""),
    ],
)
def test_which_door_a_request_comes_to(method: str, path: str, kind: str, purpose: str) -> None:
    found = door(asked(asgi.scope(method, path)))
    assert (found.kind, found.purpose) == (kind, purpose)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/internal"),
        ("GET", "/internal/"),
        ("GET", "/internal/sentinel/snapshot"),
        ("PUT", "/internal/sentinel/other"),
        ("POST", "/internal/sentinel/snapshot/"),
        ("POST", "/internal/sentinel/Snapshot"),
        ("POST", "/Internal/sentinel/snapshot"),
        ("POST", "/INTERNAL"),
    ],
)
def test_nothing_else_is_internal(method: str, path: str) -> None:
    with pytest.raises(Denial) as caught:
        door(asked(asgi.scope(method, path)))
    assert caught.value.status == 404


# ------------------------------------------------------------------------------------------ tokens


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (f"Bearer {TOKEN}", TOKEN),
        (f"bearer  {TOKEN}", TOKEN),
        (f"Bearer {TOKEN} ", TOKEN),
        (TOKEN, ""),
        (f"Basic {TOKEN}", ""),
        (f"Bearer{TOKEN}", ""),
        (f"Bearer {TOKEN} {TOKEN}", ""),
        (f"Bearer\t{TOKEN}", None),
        ("Bearer ", ""),
        ("", ""),
    ],
)
def test_what_a_bearer_brings(value: str, found: str | None) -> None:
    request = asked(asgi.scope("GET", "/", [(b"authorization", value.encode())]))
    if found is None:
        with pytest.raises(Denial):
            bearer(request)
    else:
        assert bearer(request) == found


@pytest.mark.parametrize("given", ["", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "x" * 32])
def test_only_the_token_for_the_purpose_is_taken(given: str) -> None:
    tokens = {"sentinel": Secret(TOKEN), "watch": Secret("f" * 32)}
    request = asked(asgi.scope("GET", "/", [(b"authorization", f"Bearer {given}".encode())]))
    right = asked(asgi.scope("GET", "/", [(b"authorization", f"Bearer {TOKEN}".encode())]))
    assert not has_token(request, tokens, "sentinel")
    assert has_token(right, tokens, "sentinel")
    assert not has_token(right, tokens, "watch")
    assert not has_token(right, tokens, "metrics")
    assert not has_token(request, {}, "sentinel")
