"""Who asks: what is believed of whom, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service.asked import Asked, address, asked
from pipeline.service.denial import Denial
from pipeline.service.identity import (
    Identity,
    check_host,
    check_local,
    client,
    groups_of,
    identify,
)
from pipeline.service.options import Headers, Options, checked, members, network
from tests.support import asgi

PROXY = "10.1.1.1"
OPTIONS = checked(
    Options(
        trusted_proxies=(network("10.1.0.0/16"), network("fd00:1::/32")),
        admin=members(["metis-admins"], ["root", "chief@lab.example"]),
        maintenance=members(["metis-crew", "röntgen"], ["eve@lab.example"]),
        public_url="https://metis.example",
        allowed_hosts=frozenset({"metis.lab.svc:8080"}),
    )
)
ALONE = checked(Options(no_auth=True))

Pair = tuple[bytes, bytes]


def request(*headers: Pair, peer: str = PROXY, host: str = "metis.example") -> Asked:
    return asked(asgi.scope("GET", "/", [(b"host", host.encode()), *headers], peer=peer))


def user(name: str = "anna", **more: str) -> list[Pair]:
    names = {
        "email": b"x-forwarded-email",
        "groups": b"x-forwarded-groups",
        "shown": b"x-forwarded-preferred-username",
    }
    return [
        (b"x-forwarded-user", name.encode()),
        *((names[key], text.encode()) for key, text in more.items()),
    ]


def denied(*headers: Pair, peer: str = PROXY, options: Options = OPTIONS) -> int:
    with pytest.raises(Denial) as caught:
        identify(request(*headers, peer=peer), options)
    return caught.value.status


# ------------------------------------------------------------------------------------------- roles


@pytest.mark.parametrize(
    ("headers", "role"),
    [
        (user(), None),
        (user(groups=""), None),
        (user(groups="metis-admins"), "admin"),
        (user(groups="metis-crew"), "maintenance"),
        (user(groups="metis-crew,metis-admins"), "admin"),
        (user(groups="everybody,metis-crew"), "maintenance"),
        (user(groups=" metis-crew , everybody "), "maintenance"),
        (user(groups="röntgen"), "maintenance"),
        # comparison is exact
        (user(groups="Metis-Admins"), None),
        (user(groups="metis-admins2"), None),
        (user(groups="x-metis-admins"), None),
        (user(groups="/metis-admins"), None),
        (user(groups="metis-admins;metis-crew"), None),
        (user(groups="metis-admins|metis-crew"), None),
        (user(groups="metis admins"), None),
        (user(groups='"metis-admins"'), None),
        (user(groups="metis\N{NON-BREAKING HYPHEN}admins"), None),
        (user(groups="ro\N{COMBINING DIAERESIS}ntgen"), None),
        # people
        (user("root"), "admin"),
        (user("ROOT"), None),
        (user("anna", email="chief@lab.example"), "admin"),
        (user("anna", email="eve@lab.example"), "maintenance"),
        (user("anna", email="Chief@lab.example"), None),
        # neither a name like an address nor an address like a name, nor a name to show
        (user("chief@lab.example"), None),
        (user("chief@lab.example", email="mallory@lab.example"), None),
        (user("anna", email="root"), None),
        (user("anna", shown="root"), None),
        (user("anna", shown="chief@lab.example"), None),
    ],
)
def test_a_role_comes_of_exactly_what_the_proxy_says(headers: list[Pair], role: str | None) -> None:
    assert identify(request(*headers), OPTIONS).role == role


def test_an_admin_may_all_that_a_maintainer_may() -> None:
    assert Identity("a", "admin").may("maintenance")
    assert Identity("a", "admin").may("admin")
    assert Identity("a", "maintenance").may("maintenance")
    assert not Identity("a", "maintenance").may("admin")
    assert not Identity("a", None).may("maintenance")


@pytest.mark.parametrize(
    ("headers", "label"),
    [
        (user("7f3a"), "7f3a"),
        (user("7f3a", email="anna@lab.example"), "anna@lab.example (7f3a)"),
        (user("7f3a", email="anna@lab.example", shown="anna"), "anna (7f3a)"),
        (user("anna", shown="anna"), "anna"),
        (user("7f3a", shown="x" * 256), f"{'x' * 60} (7f3a)"),
    ],
)
def test_people_are_called_by_the_name_that_stays_too(headers: list[Pair], label: str) -> None:
    assert identify(request(*headers), OPTIONS).label == label


def test_other_names_of_headers_are_the_only_ones_then() -> None:
    options = replace(OPTIONS, headers=Headers("Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name"))
    remote = [(b"remote-user", b"anna"), (b"remote-groups", b"metis-admins")]
    assert identify(request(*remote), options) == Identity("anna", "admin")
    assert denied(*user(groups="metis-admins"), options=options) == 401
    assert denied(*remote, peer="192.0.2.7", options=options) == 403


# --------------------------------------------------------------------------------- not to be believed


@pytest.mark.parametrize(
    "peer", ["192.0.2.7", "10.2.0.1", "127.0.0.1", "::1", "::ffff:192.0.2.7", "fd00:2::1", "unix"]
)
@pytest.mark.parametrize(
    "header",
    [
        (b"x-forwarded-user", b"anna"),
        (b"X-Forwarded-User", b"anna"),
        (b"x-forwarded-user", b""),
        (b"x-forwarded-email", b"chief@lab.example"),
        (b"x-forwarded-groups", b"metis-admins"),
        (b"x-forwarded-preferred-username", b"anna"),
    ],
)
def test_who_is_no_trusted_proxy_says_nothing_of_others(peer: str, header: Pair) -> None:
    assert denied(header, peer=peer) == 403


@pytest.mark.parametrize("peer", ["192.0.2.7", "10.2.0.1", "127.0.0.1", PROXY])
def test_who_says_nothing_is_nobody(peer: str) -> None:
    assert denied(peer=peer) == 401


@pytest.mark.parametrize("peer", [PROXY, "10.1.255.255", "::ffff:10.1.1.1", "fd00:1::7"])
def test_a_trusted_proxy_is_known_by_its_address(peer: str) -> None:
    assert identify(request(*user(), peer=peer), OPTIONS).name == "anna"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"x-forwarded-user", b"")], 401),
        ([(b"x-forwarded-user", b"  \t ")], 401),
        ([(b"x-forwarded-email", b"chief@lab.example")], 401),
        ([(b"x-forwarded-groups", b"metis-admins")], 401),
        ([*user(), *user("mallory")], 403),
        ([*user(), *user()], 403),
        ([*user(groups="metis-crew"), (b"x-forwarded-groups", b"metis-admins")], 403),
        ([*user(groups="metis-crew"), (b"X-FORWARDED-GROUPS", b"metis-admins")], 403),
        ([*user(), (b"x_forwarded_groups", b"metis-admins")], 403),
        ([(b"x_forwarded_user", b"root")], 403),
        ([*user(), (b"x-forwarded_email", b"chief@lab.example")], 403),
        ([(b"x-forwarded-user", b"an\x00na")], 403),
        ([(b"x-forwarded-user", b"an\nna")], 403),
        ([(b"x-forwarded-user", b"an\x1b[31mna")], 403),
        ([(b"x-forwarded-user", b"an\xffna")], 403),
        ([(b"x-forwarded-user", "an\N{RIGHT-TO-LEFT OVERRIDE}na".encode())], 403),
        ([(b"x-forwarded-user", "an\N{ZERO WIDTH SPACE}na".encode())], 403),
        ([(b"x-forwarded-user", b"a" * 257)], 403),
        (user(email="a" * 257), 403),
        (user(shown="a" * 257), 403),
        (user(groups="a," * 4097), 403),
        (user(groups="a\x0bb"), 403),
    ],
)
def test_what_a_proxy_may_not_say_is_refused(headers: list[Pair], status: int) -> None:
    assert denied(*headers) == status


def test_a_refusal_repeats_nothing_of_the_request() -> None:
    with pytest.raises(Denial) as caught:
        identify(request(*user("hunter2"), peer="192.0.2.7"), OPTIONS)
    assert "hunter2" not in f"{caught.value} {caught.value.what} {caught.value.hint}"


@given(st.lists(st.text(st.characters(exclude_characters=",")), max_size=9))
def test_groups_are_what_stands_between_commas(groups: list[str]) -> None:
    found = groups_of(",".join(groups))
    assert found == {group.strip(" \t") for group in groups} - {""}


@given(st.binary(max_size=400), st.binary(max_size=400), st.binary(max_size=400))
def test_any_bytes_give_somebody_whole_or_a_denial(name: bytes, email: bytes, groups: bytes) -> None:
    headers = [(b"x-forwarded-user", name), (b"x-forwarded-email", email), (b"x-forwarded-groups", groups)]
    try:
        found = identify(request(*headers), OPTIONS)
    except Denial:
        return
    assert found.name
    assert found.label.isprintable()
    assert found.name == name.decode().strip(" \t")
    if found.role == "admin":
        texts = {name.decode(), email.decode(), *groups.decode().split(",")}
        assert {text.strip(" \t") for text in texts} & {"metis-admins", "root", "chief@lab.example"}


@given(
    st.lists(
        st.tuples(st.sampled_from([b"x-forwarded-user", b"X-Forwarded-Groups", b"accept"]), st.binary()),
        max_size=4,
    )
)
def test_from_anywhere_else_nobody_is_anybody(headers: list[Pair]) -> None:
    with pytest.raises(Denial):
        identify(request(*headers, peer="192.0.2.7"), OPTIONS)


# ------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize("host", ["metis.example", "METIS.example", "metis.lab.svc:8080"])
def test_our_names_are_known(host: str) -> None:
    check_host(request(host=host), OPTIONS)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "metis.example.evil.example",
        "metis.example.",
        "metis.example:80",
        "metis.example:8080",
        "metis.lab.svc",
        "evil.example@metis.example",
        "metis.example, evil.example",
        "10.1.1.2",
        "localhost",
    ],
)
def test_other_names_are_refused(host: str) -> None:
    with pytest.raises(Denial) as caught:
        check_host(request(host=host), OPTIONS)
    assert caught.value.status == 403


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:8080"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_on_this_machine_loopback_is_served(host: str, peer: str) -> None:
    check_local(request(host=host, peer=peer), ALONE, 8080)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_port_80_is_the_one_that_is_not_written(host: str) -> None:
    check_local(request(host=host, peer="127.0.0.1"), ALONE, 80)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "localhost:8081",
        "localhost:",
        "localhost:80:8080",
        "localhost:8080x",
        "localhost.:8080",
        "localhost.evil.example:8080",
        "127.0.0.1.nip.example:8080",
        "evil.example:8080",
        "evil.example",
        "0.0.0.0:8080",
        "192.0.2.7:8080",
        "[::]:8080",
        "[::ffff:192.0.2.7]:8080",
        "::1:8080",
        "x@localhost:8080",
        "localhost:8080/x",
        "localhost:8080?x",
        "localhost:8080#x",
        "[::1:8080",
        "localhost:99999999",
        "localhost,evil.example:8080",
    ],
)
def test_a_name_that_leads_here_from_elsewhere_is_refused(host: str) -> None:
    with pytest.raises(Denial) as caught:
        check_local(request(host=host, peer="127.0.0.1"), ALONE, 8080)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "name",
    b"forwarded via x-real-ip x-client-ip true-client-ip remote-user x-forwarded-for x-forwarded-host "
    b"x-forwarded-proto x-forwarded-user x-forwarded-groups x-forwarded-anything X-Forwarded-For "
    b"x_forwarded_for x-original-url x-auth-request-user X-Real-IP".split(),
    ids=bytes.decode,
)
def test_what_came_through_a_proxy_is_refused_where_nobody_signs_in(name: bytes) -> None:
    with pytest.raises(Denial) as caught:
        check_local(request((name, b""), host="localhost:8080", peer="127.0.0.1"), ALONE, 8080)
    assert caught.value.status == 403


@pytest.mark.parametrize("peer", ["192.0.2.7", "10.1.1.1", "unix", "0.0.0.0"])
def test_what_came_from_elsewhere_is_refused_where_nobody_signs_in(peer: str) -> None:
    with pytest.raises(Denial):
        check_local(request(host="localhost:8080", peer=peer), ALONE, 8080)


# ------------------------------------------------------------------------------------------ clients


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        (PROXY, [], PROXY),
        (PROXY, ["192.0.2.7"], "192.0.2.7"),
        (PROXY, ["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        (PROXY, ["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
        (PROXY, ["192.0.2.7, 10.1.9.9"], "192.0.2.7"),
        (PROXY, ["10.1.9.8, 10.1.9.9"], "10.1.9.8"),
        (PROXY, ["192.0.2.7, unknown"], PROXY),
        (PROXY, ["192.0.2.7, fe80::1%<b>anna</b>"], PROXY),
        (PROXY, ["192.0.2.7, "], PROXY),
        (PROXY, ["192.0.2.7:1234"], PROXY),
        (PROXY, ["::ffff:192.0.2.7"], "192.0.2.7"),
        ("192.0.2.8", ["203.0.113.9"], "192.0.2.8"),
        ("unix", ["203.0.113.9"], "unknown"),
    ],
)
def test_the_client_is_the_nearest_that_no_trusted_proxy_is(
    peer: str, forwarded: list[str], found: str
) -> None:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    assert client(request(*headers, peer=peer), OPTIONS) == found


@given(st.binary())
def test_any_forwarded_for_gives_an_address(value: bytes) -> None:
    assert address(client(request((b"x-forwarded-for", value)), OPTIONS)) is not None
