"""A download survives what networks and servers do, and brings no byte that was not published."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import MetisError, RefusedError, SourceError, UsageError
from pipeline.golden.asking import Manners
from pipeline.golden.backoff import TRIES
from pipeline.golden.http import HttpSource
from pipeline.machine.progress import QuietReporter
from tests.integration.web import Answer, Headers, Script, Web, publish, serving

BODY = os.urandom(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
NEWER = os.urandom(250_000)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    with serving() as web:
        yield web


@pytest.fixture
def web(server: Web) -> Web:
    server.asked.clear()
    server.paths.clear()
    return server


class Fetch:
    """Fetches, and keeps the waits in between and what was said."""

    def __init__(self, folder: Path) -> None:
        self.into = folder / "golden"
        self.waits: list[float] = []
        self.notes = io.StringIO()

    def __call__(self, url: str, silence: float = 5.0, limit: int = 1 << 30) -> str:
        source = HttpSource(url, Manners(self.waits.append, silence))
        found = source.fetch(self.into, QuietReporter(self.notes), limit)
        assert found == hashlib.sha256(self.into.read_bytes()).hexdigest()
        return found


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return Fetch(tmp_path)


def in_turn(*answers: Answer) -> Script:
    """Give these answers, the last one for ever; a 200 that is whole serves ranges."""

    def script(number: int, asked: Headers) -> Answer:
        answer = answers[min(number, len(answers) - 1)]
        return publish(answer.body, asked) if answer == Answer(body=answer.body) else answer

    return script


def test_a_file_is_fetched_and_hashed(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(Answer(body=BODY))
    assert fetch(web.url) == SHA256
    assert fetch.waits == []


def test_an_empty_file_is_a_file(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(Answer(body=b""))
    assert fetch(web.url) == hashlib.sha256(b"").hexdigest()


def test_the_bytes_are_those_that_were_published_even_if_called_compressed(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(Answer(body=BODY, headers={"Content-Encoding": "gzip"}))
    assert fetch(web.url) == SHA256
    assert web.asked[0]["Accept-Encoding"] == "identity"


def test_a_body_in_chunks_of_unknown_length_is_taken(web: Web, fetch: Fetch) -> None:
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    web.script = in_turn(Answer(body=chunked, headers={"Transfer-Encoding": "chunked", "Content-Length": ""}))
    assert fetch(web.url) == SHA256


def test_a_body_of_just_the_limit_is_taken(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(Answer(body=BODY))
    assert fetch(web.url, limit=len(BODY)) == SHA256


def test_a_length_over_the_limit_is_refused_before_the_body(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(Answer(body=b"x", headers={"Content-Length": "1000000000000"}, silence=60))
    started = time.monotonic()
    with pytest.raises(MetisError, match="has 1000000000000 bytes, more than 1000: raise"):
        fetch(web.url, limit=1000)
    assert time.monotonic() - started < 30
    assert (fetch.waits, len(web.asked)) == ([], 1)
    assert not fetch.into.exists()


def test_a_body_without_end_stops_at_the_limit(web: Web, fetch: Fetch) -> None:
    endless = Answer(body=bytes(20 << 20), headers={"Content-Length": ""})
    web.script = in_turn(endless)
    with pytest.raises(MetisError, match="has more than 100000 bytes: raise"):
        fetch(web.url, limit=100_000)
    assert (fetch.waits, len(web.asked)) == ([], 1)
    assert fetch.into.stat().st_size <= 100_000


def test_a_chunk_whose_length_is_a_lie_takes_no_memory(web: Web, fetch: Fetch) -> None:
    """Read as the number that it is, it would mean all that there is, at once."""
    body = b"-1\r\n" + bytes(32 << 20)
    web.script = in_turn(Answer(body=body, headers={"Transfer-Encoding": "chunked", "Content-Length": ""}))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(MetisError):
            fetch(web.url, limit=1000)
        # the server's own copy of the body is in this process too
        assert tracemalloc.get_traced_memory()[1] - before < len(body) * 1.5
    finally:
        tracemalloc.stop()


def test_a_part_that_runs_over_the_limit_stops_there(web: Web, fetch: Fetch) -> None:
    start = Answer(body=BODY, headers={"ETag": '"1"'}, cut=65_536)
    rest = {"Content-Range": "bytes 65536-299999/*", "Content-Length": "", "ETag": '"1"'}
    web.script = in_turn(start, Answer(206, bytes(10 << 20), rest))
    with pytest.raises(MetisError, match="has more than 300000 bytes"):
        fetch(web.url, limit=300_000)
    assert fetch.into.stat().st_size <= 300_000


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, len(BODY) - 1), max_size=TRIES - 1))
def test_cuts_anywhere_are_resumed_from_where_they_broke_off(server: Web, cuts: list[int]) -> None:
    arrived = 0

    def script(number: int, asked: Headers) -> Answer:
        nonlocal arrived
        assert asked.get("Range", "bytes=0-") == f"bytes={arrived}-"
        cut = cuts[number] if number < len(cuts) else len(BODY)
        arrived = min(arrived + cut, len(BODY))
        return publish(BODY, asked, cut=cut)

    server.asked.clear()
    server.script = script
    with tempfile.TemporaryDirectory() as folder:
        assert Fetch(Path(folder))(server.url) == SHA256
    assert arrived == len(BODY)


def test_another_process_goes_on_where_one_broke_off(web: Web, fetch: Fetch) -> None:
    web.script = lambda number, asked: publish(BODY, asked, cut=0 if number else 100_000)
    with pytest.raises(SourceError):
        fetch(web.url)
    web.asked.clear()
    web.script = in_turn(Answer(body=BODY))
    assert fetch(web.url) == SHA256
    assert [asked["Range"] for asked in web.asked] == ["bytes=100000-"]


def test_a_download_that_was_whole_already_needs_no_network(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(Answer(body=BODY))
    fetch(web.url)
    web.asked.clear()
    assert fetch(web.url) == SHA256
    assert web.asked == []


def test_what_arrived_from_another_address_is_not_gone_on_with(web: Web, fetch: Fetch) -> None:
    fetch.into.write_bytes(b"x" * 1000)
    fetch.into.with_name("golden.json").write_text(
        '{"name": "http://a/b", "total": 300000, "validator": "x"}'
    )
    web.script = in_turn(Answer(body=BODY))
    assert fetch(web.url) == SHA256


@pytest.mark.parametrize("side", ["", "[]", "{}", '{"name": 1}', '{"total": "many"}', "\x00"])
def test_a_damaged_side_file_means_to_begin_again(web: Web, fetch: Fetch, side: str) -> None:
    fetch.into.write_bytes(b"x" * 1000)
    fetch.into.with_name("golden.json").write_text(side)
    web.script = in_turn(Answer(body=BODY))
    assert fetch(web.url) == SHA256


@pytest.mark.parametrize(
    "version",
    [
        {"ETag": '"1"'},
        {"ETag": 'W/"1"', "Last-Modified": "Sat, 01 Jun 2024 10:00:00 GMT"},
        {"Last-Modified": "Sat, 01 Jun 2024 10:00:00 GMT"},
    ],
)
def test_a_version_that_can_be_named_is_resumed(web: Web, fetch: Fetch, version: Headers) -> None:
    web.script = lambda number, asked: publish(BODY, asked, version=version, cut=None if number else 1000)
    assert fetch(web.url) == SHA256
    assert web.asked[1]["Range"] == "bytes=1000-"
    assert web.asked[1]["If-Range"] in {'"1"', "Sat, 01 Jun 2024 10:00:00 GMT"}


@pytest.mark.parametrize("version", [{}, {"ETag": 'W/"1"'}])
def test_a_version_without_a_name_is_begun_again(web: Web, fetch: Fetch, version: Headers) -> None:
    web.script = lambda number, asked: publish(BODY, asked, version=version, cut=None if number else 1000)
    assert fetch(web.url) == SHA256
    assert "Range" not in web.asked[1]


def test_a_file_that_changed_between_two_tries_is_begun_again(web: Web, fetch: Fetch) -> None:
    web.script = lambda number, asked: publish(NEWER if number else BODY, asked, cut=None if number else 1000)
    assert fetch(web.url) == hashlib.sha256(NEWER).hexdigest()


def test_a_server_without_ranges_is_begun_again(web: Web, fetch: Fetch) -> None:
    web.script = lambda number, asked: publish(BODY, {}, cut=None if number else 1000)
    assert fetch(web.url) == SHA256
    assert web.asked[1]["Range"] == "bytes=1000-"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-299999/300000"},
        {"Content-Range": "bytes 1001-299999/300000"},
        {"Content-Range": "bytes 1000-299999/299999"},
        {"Content-Range": "bytes */300000"},
        {"Content-Range": "bytes -5-5/5"},
        {"Content-Range": "bytes 1000-299999/300000", "ETag": '"another"'},
        {},
    ],
)
def test_a_part_that_is_not_the_one_asked_for_is_never_used(web: Web, fetch: Fetch, headers: Headers) -> None:
    def script(number: int, asked: Headers) -> Answer:
        if number == 1:
            return Answer(206, BODY[1000:], headers)
        return publish(BODY, asked, cut=None if number else 1000)

    web.script = script
    assert fetch(web.url) == SHA256
    assert "Range" not in web.asked[2]


def test_a_range_behind_the_end_is_begun_again(web: Web, fetch: Fetch) -> None:
    version = {"ETag": '"1"'}

    def script(number: int, asked: Headers) -> Answer:
        body = BODY if number == 0 else BODY[:500]
        return publish(body, asked, version=version, cut=None if number else 1000)

    web.script = script
    assert fetch(web.url) == hashlib.sha256(BODY[:500]).hexdigest()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_tried_again(web: Web, fetch: Fetch, status: int) -> None:
    web.script = in_turn(Answer(status), Answer(status), Answer(body=BODY))
    assert fetch(web.url) == SHA256
    first, second = fetch.waits
    assert 0.5 <= first <= 1
    assert 1 <= second <= 2


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("999999999999999999999999", 60, 60),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 60, 60),
        ("Sat, 01 Jun 2024 10:00:00 GMT", 0.5, 1),
        ("-5", 0.5, 1),
        ("soon", 0.5, 1),
    ],
)
def test_a_server_may_say_how_long_to_wait_within_bounds(
    web: Web, fetch: Fetch, value: str, low: float, high: float
) -> None:
    web.script = in_turn(Answer(429, headers={"Retry-After": value}), Answer(body=BODY))
    assert fetch(web.url) == SHA256
    assert low <= fetch.waits[0] <= high


def test_a_server_may_say_until_when_to_wait(web: Web, fetch: Fetch) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=55), usegmt=True)
    web.script = in_turn(Answer(429, headers={"Retry-After": moment}), Answer(body=BODY))
    assert fetch(web.url) == SHA256
    assert 5 <= fetch.waits[0] <= 55


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "answered 404 Not Found: check the address in the inventory"),
        (410, "answered 410 Gone"),
        (401, "answered 401 Unauthorized: put credentials for it into ~/.netrc"),
        (403, "answered 403 Forbidden: put credentials for it into ~/.netrc"),
        (299, "answered 299: "),
        (304, "answered 304 Not Modified"),
    ],
)
def test_a_lasting_trouble_is_told_at_once(web: Web, fetch: Fetch, status: int, words: str) -> None:
    web.script = in_turn(Answer(status))
    with pytest.raises(SourceError, match=words) as caught:
        fetch(web.url)
    assert str(caught.value).startswith(f"{web.url} ")
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(500), "it answered 500 Internal Server Error"),
        (Answer(body=BODY, cut=10), "the connection was cut"),
    ],
)
def test_trouble_that_does_not_pass_ends(web: Web, fetch: Fetch, answer: Answer, words: str) -> None:
    web.script = lambda *_: answer
    with pytest.raises(SourceError, match=f"{words}, and {TRIES} tries did not get on"):
        fetch(web.url)
    assert len(web.asked) == TRIES


def test_a_server_that_always_begins_again_does_not_go_on_for_ever(web: Web, fetch: Fetch) -> None:
    body = bytes(3 << 20)
    web.script = lambda *_: Answer(body=body, cut=2 << 20)
    with pytest.raises(SourceError, match="did not get on"):
        fetch(web.url)
    assert len(web.asked) == TRIES


def test_a_download_that_breaks_often_but_gets_on_ends(web: Web, fetch: Fetch) -> None:
    body = os.urandom(8 << 20)
    web.script = lambda _, asked: publish(body, asked, cut=(1 << 20) + 1)
    assert fetch(web.url) == hashlib.sha256(body).hexdigest()
    assert len(web.asked) > TRIES


def test_a_server_that_falls_silent_is_asked_again(web: Web, fetch: Fetch) -> None:
    web.script = lambda number, asked: publish(BODY, asked, silence=0 if number else 1)
    assert fetch(web.url, silence=0.2) == SHA256
    assert "it did not answer in time" in fetch.notes.getvalue()


def test_a_slow_server_is_waited_for(web: Web, fetch: Fetch) -> None:
    web.script = lambda _, asked: publish(BODY, asked, silence=0.3)
    assert fetch(web.url) == SHA256
    assert fetch.waits == []


def test_a_machine_where_nothing_listens_is_one_line(fetch: Fetch, closed_port: int) -> None:
    with pytest.raises(SourceError, match="nothing answers there, and"):
        fetch(f"http://127.0.0.1:{closed_port}/x")
    assert len(fetch.waits) == TRIES - 1


def test_a_name_that_cannot_be_resolved_is_one_line(fetch: Fetch) -> None:
    with pytest.raises(SourceError, match="its name cannot be resolved"):
        fetch("http://no-such-host.invalid/x")


def test_an_answer_that_is_not_http_is_one_line(fetch: Fetch, web: Web) -> None:
    web.script = lambda *_: Answer(headers={"Content-Length": "1\r\nContent-Length: 2"})
    with pytest.raises(SourceError, match="did not get on"):
        fetch(web.url)


def test_redirects_are_followed(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(
        *(Answer(status, headers={"Location": f"/{status}"}) for status in (301, 302, 303, 307, 308)),
        Answer(body=BODY),
    )
    assert fetch(web.url) == SHA256
    assert web.paths == ["/x.img.xz", "/301", "/302", "/303", "/307", "/308"]


def test_the_body_of_a_redirect_is_not_read(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(
        Answer(302, b"x" * 1000, {"Location": "/next", "Content-Length": "1000000000000"}, silence=60),
        Answer(body=BODY),
    )
    assert fetch(web.url) == SHA256
    assert fetch.waits == []


def test_redirects_in_a_circle_end(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(Answer(302, headers={"Location": "/again"}))
    with pytest.raises(SourceError, match="redirects more than 10 times"):
        fetch(web.url)
    assert len(web.asked) == 11


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://a/b", "http://[", "https://a:99999/", "mailto:a@b"]
)
def test_a_redirect_to_what_is_no_web_address_is_one_line(web: Web, fetch: Fetch, location: str) -> None:
    web.script = in_turn(Answer(302, headers={"Location": location}))
    with pytest.raises(SourceError, match="redirects to something that is not a web address"):
        fetch(web.url)


def test_a_redirect_with_credentials_is_refused(web: Web, fetch: Fetch) -> None:
    web.script = in_turn(Answer(302, headers={"Location": "http://u:hunter2@127.0.0.1/"}))
    with pytest.raises(RefusedError) as caught:
        fetch(web.url)
    assert "hunter2" not in str(caught.value)


def test_tls_with_a_certificate_that_is_known_works(
    fetch: Fetch, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.crt")
    with serving(certificate) as web:
        web.script = in_turn(Answer(body=BODY))
        assert fetch(web.url) == SHA256


def test_a_redirect_from_https_to_plain_http_is_refused(
    fetch: Fetch, certificate: Path, monkeypatch: pytest.MonkeyPatch, web: Web
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.crt")
    with serving(certificate) as secure:
        secure.script = in_turn(Answer(302, headers={"Location": f"{web.url}?token=hunter2"}))
        with pytest.raises(RefusedError, match="redirects to plain HTTP at http://") as caught:
            fetch(secure.url)
    assert "hunter2" not in str(caught.value)
    assert web.asked == []


def test_a_certificate_that_nobody_knows_is_told_at_once(fetch: Fetch, certificate: Path) -> None:
    with (
        serving(certificate) as web,
        pytest.raises(SourceError, match="cannot be verified: set REQUESTS_CA_"),
    ):
        fetch(web.url)
    assert fetch.waits == []


@pytest.mark.parametrize(
    "url", ["https://u:hunter2@host/x", "http://hunter2@host/x?a", "https://:hunter2@host/"]
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(RefusedError, match=r"~/\.netrc") as caught:
        HttpSource(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http:", "https://", "http://[::1", "http://host:99999/", "http://u:hunter2@"]
)
def test_what_is_no_url_is_a_usage_error_that_repeats_no_secret(url: str) -> None:
    with pytest.raises(UsageError, match="is not an http or https URL") as caught:
        HttpSource(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("answer", [Answer(404), Answer(500), Answer(body=BODY, cut=10), Answer(302)])
def test_a_query_is_never_shown_nor_kept(web: Web, fetch: Fetch, answer: Answer) -> None:
    web.script = lambda *_: answer
    with pytest.raises(MetisError) as caught:
        fetch(f"{web.url}?token=hunter2")
    assert web.paths[0].endswith("?token=hunter2")
    kept = "".join(path.read_text(errors="replace") for path in fetch.into.parent.iterdir())
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}{fetch.notes.getvalue()}{kept}"
    assert f"{web.url}?…" in str(caught.value)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "https_proxy"])
def test_an_environment_that_cannot_be_used_is_told_at_once(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv(name, "http://[nowhere")
    with pytest.raises(SourceError, match=r"cannot be asked for: check .* REQUESTS_CA_BUNDLE"):
        fetch("https://127.0.0.1:1/x")
    assert fetch.waits == []


def test_credentials_come_from_netrc_and_stay_with_their_machine(
    web: Web, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login metis password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    elsewhere = web.url.replace("127.0.0.1", "localhost")
    web.script = in_turn(Answer(302, headers={"Location": elsewhere}), Answer(body=BODY))
    assert fetch(web.url) == SHA256
    assert ["Authorization" in asked for asked in web.asked] == [True, False]
