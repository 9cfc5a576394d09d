"""Tokens of pages and where requests were made; how many may come, and how large."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.facts.snapshot import LARGEST
from pipeline.service import csrf
from pipeline.service.asked import Asked, asked
from pipeline.service.denial import Denial
from pipeline.service.limits import BODY, Buckets, Rate, Room, check_size, largest_body, place
from pipeline.service.options import Options, checked, members, network
from tests.support import asgi

KEY = b"k" * 32
HOUR = 3600
NOW = 500_000 * HOUR + 1800.0
OPTIONS = checked(
    Options(
        trusted_proxies=(network("10.1.0.0/16"),),
        admin=members(["a"], []),
        public_url="https://metis.example",
        allowed_hosts=frozenset({"metis.lab:8443"}),
    )
)
ALONE = checked(Options(no_auth=True))


def refused(key: bytes, name: str, now: float, token: str) -> bool:
    try:
        csrf.check_token(key, name, now, token)
    except Denial as denial:
        return denial.status == 403
    return False


@pytest.mark.parametrize("later", [0, 1, HOUR, 11 * HOUR, 12 * HOUR, -HOUR])
def test_the_token_of_a_page_is_good_for_hours(later: float) -> None:
    assert not refused(KEY, "anna", NOW + later, csrf.token(KEY, "anna", NOW))


@pytest.mark.parametrize("later", [13 * HOUR, 365 * 24 * HOUR, -2 * HOUR])
def test_the_token_of_an_old_page_is_not(later: float) -> None:
    assert refused(KEY, "anna", NOW + later, csrf.token(KEY, "anna", NOW))


def test_a_token_is_of_one_person_and_one_service() -> None:
    token = csrf.token(KEY, "anna", NOW)
    assert refused(KEY, "eve", NOW, token)
    assert refused(KEY, "anna ", NOW, token)
    assert refused(b"x" * 32, "anna", NOW, token)


@pytest.mark.parametrize(
    "token", ["", "-", "x", "7a120", "7a120-", "7a120-" + "0" * 64, "-" + "0" * 64, "0" * 200, "ü"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refused(KEY, "anna", NOW, token)


def test_another_hour_is_another_token_and_cannot_be_put_in_its_place() -> None:
    old = csrf.token(KEY, "anna", NOW - 20 * HOUR)
    new_hour = csrf.token(KEY, "anna", NOW).partition("-")[0]
    assert refused(KEY, "anna", NOW, f"{new_hour}-{old.partition('-')[2]}")


@given(st.text(), st.text())
def test_no_text_is_taken_for_a_token(name: str, token: str) -> None:
    assert refused(KEY, name, NOW, token)


@given(st.text(st.characters(exclude_categories=())))
def test_everybody_has_a_token(name: str) -> None:
    assert not refused(KEY, name, NOW, csrf.token(KEY, name, NOW))


# ----------------------------------------------------------------------------------------- origins


def made(origin: str | None, site: str | None = None, host: str = "metis.example") -> Asked:
    headers = [(b"host", host.encode())]
    headers += [(b"origin", origin.encode())] if origin is not None else []
    headers += [(b"sec-fetch-site", site.encode())] if site is not None else []
    return asked(asgi.scope("POST", "/jobs", headers))


@pytest.mark.parametrize(
    ("origin", "site", "host"),
    [
        ("https://metis.example", None, "metis.example"),
        ("https://metis.example", "same-origin", "metis.example"),
        ("https://metis.lab:8443", None, "metis.lab:8443"),
        (None, "same-origin", "metis.example"),
        (None, "none", "metis.example"),
        (None, None, "metis.example"),
    ],
)
def test_pages_of_ours_may_ask(origin: str | None, site: str | None, host: str) -> None:
    csrf.check_origin(made(origin, site, host), OPTIONS)


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("https://evil.example", None),
        ("https://evil.example", "same-origin"),
        ("http://metis.example", None),
        ("https://metis.example:8443", None),
        ("https://metis.example.evil.example", None),
        ("https://metis.example/", None),
        ("https://evil.example https://metis.example", None),
        ("https://metis.lab:8443", None),
        ("null", None),
        ("null", "same-origin"),
        ("", "cross-site"),
        (None, "cross-site"),
        (None, "same-site"),
        (None, "Same-Origin"),
        (None, "anything"),
        ("https://metis.example", "cross-site"),
        ("https://metis.example", "same-site"),
    ],
)
def test_pages_elsewhere_may_not(origin: str | None, site: str | None) -> None:
    with pytest.raises(Denial) as caught:
        csrf.check_origin(made(origin, site), OPTIONS)
    assert caught.value.status == 403


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"])
def test_on_this_machine_the_origin_is_what_the_browser_opened(host: str) -> None:
    csrf.check_origin(made(f"http://{host}", host=host), ALONE)
    with pytest.raises(Denial):
        csrf.check_origin(made("http://localhost:3000", host=host), ALONE)
    with pytest.raises(Denial):
        csrf.check_origin(made(f"https://{host}", host=host), ALONE)


def test_by_plain_http_the_origin_is_plain_too() -> None:
    plain = replace(OPTIONS, public_url="http://metis.example")
    csrf.check_origin(made("http://metis.example"), plain)
    with pytest.raises(Denial):
        csrf.check_origin(made("https://metis.example"), plain)


# ------------------------------------------------------------------------------------------- rates


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def took(buckets: Buckets, who: str, times: int) -> int:
    """How many of some requests are let through."""
    count = 0
    for _ in range(times):
        try:
            buckets.take(who)
        except Denial as denial:
            assert denial.status == 429  # noqa: PT017 - the others are counted
            continue
        count += 1
    return count


def test_so_many_come_at_once_and_then_as_time_fills_the_bucket() -> None:
    clock = Clock()
    buckets = Buckets(Rate(2, 5), clock)
    assert took(buckets, "anna", 9) == 5
    assert took(buckets, "eve", 9) == 5
    clock.now += 1
    assert took(buckets, "anna", 9) == 2
    clock.now += 1000
    assert took(buckets, "anna", 9) == 5


def test_who_must_wait_is_told_for_how_long() -> None:
    clock = Clock()
    buckets = Buckets(Rate(0.1, 1), clock)
    buckets.take("anna")
    with pytest.raises(Denial) as caught:
        buckets.take("anna")
    assert caught.value.retry_after >= 10
    clock.now += caught.value.retry_after
    buckets.take("anna")


def test_a_clock_that_stands_still_fills_nothing() -> None:
    assert took(Buckets(Rate(1000, 3), Clock()), "anna", 50) == 3


def test_only_so_many_are_remembered_and_who_asks_most_stays() -> None:
    buckets = Buckets(Rate(1, 2), Clock(), most=3)
    for number in range(50):
        took(buckets, "busy", 1)
        took(buckets, f"other {number}", 1)
    assert len(buckets) == 3
    assert took(buckets, "busy", 1) == 0
    assert took(buckets, "other 49", 9) == 1
    assert took(buckets, "other 40", 9) == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=80))
def test_nobody_gets_more_than_the_bucket_and_the_time_since(asks: list[tuple[str, float]]) -> None:
    clock = Clock()
    buckets = Buckets(Rate(1, 4), clock, most=10)
    got = dict.fromkeys("abc", 0)
    for who, pause in asks:
        clock.now += pause
        got[who] += took(buckets, who, 1)
    assert max(got.values()) <= 4 + (clock.now - 100.0) + 1e-6


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("unknown", "unknown"),
    ],
)
def test_of_ipv6_a_network_is_counted(address: str, counted: str) -> None:
    assert place(address) == counted


# ------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    "path",
    ["/jobs", "/internal/sentinel/watch", "/internal/sentinel/snapshot/", "/x/internal/sentinel/snapshot"],
)
def test_a_form_is_small(path: str) -> None:
    assert largest_body(path) == 64 << 10


def test_a_snapshot_may_be_as_large_as_one_in_a_file() -> None:
    request = asked(asgi.scope("POST", "/internal/sentinel/snapshot"))
    check_size(request, LARGEST)
    with pytest.raises(Denial) as caught:
        check_size(request, LARGEST + 1)
    assert caught.value.status == 413


def sent(path: str = "/internal/sentinel/snapshot", size: int | None = None) -> Asked:
    framing = (b"transfer-encoding", b"chunked") if size is None else (b"content-length", str(size).encode())
    return asked(asgi.scope("POST", path, [framing]))


def test_larger_bodies_share_a_room() -> None:
    room = Room(2 * LARGEST)
    assert room.take(sent(size=LARGEST)) == LARGEST
    size = room.take(sent())
    with pytest.raises(Denial) as caught:
        room.take(sent(size=BODY + 1))
    assert (caught.value.status, caught.value.retry_after > 0) == (503, True)
    room.give_back(size)
    room.take(sent(size=LARGEST - BODY - 1))
    assert room.take(sent(size=BODY + 1)) == BODY + 1


@pytest.mark.parametrize("request_", [sent("/jobs"), sent("/jobs", 1 << 40), sent(size=BODY)])
def test_forms_need_no_room(request_: Asked) -> None:
    assert Room(0).take(request_) == 0


def test_more_than_may_be_takes_no_more_room_than_that() -> None:
    assert Room(LARGEST).take(sent(size=1 << 40)) == LARGEST
