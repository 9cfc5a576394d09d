"""What `metis serve` may be told, and what it refuses to serve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import MetisError, RefusedError, SourceError, UsageError
from pipeline.secret import Secret
from pipeline.service import private_files
from pipeline.service.options import Headers, Members, Options, checked, members, network, tokens

GOOD = Options(
    host="0.0.0.0",
    trusted_proxies=(network("10.42.0.0/16"),),
    admin=members(["metis-admins"], []),
    public_url="https://metis.example",
)
ALONE = Options(no_auth=True)
TOKEN = "0123456789abcdef" * 2


def test_a_proxy_a_role_and_an_address_are_enough() -> None:
    assert checked(GOOD) == GOOD


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.1.2.3"])
def test_without_sign_in_it_is_served_on_loopback(host: str) -> None:
    assert checked(replace(ALONE, host=host)).no_auth


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:8080"),
        ("localhost", "http://localhost:8080"),
    ],
)
def test_without_sign_in_its_address_is_where_it_listens(host: str, url: str) -> None:
    assert checked(replace(ALONE, host=host)).public_url == url
    assert checked(checked(replace(ALONE, host=host))).public_url == url


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        (replace(ALONE, host="0.0.0.0"), "--no-auth"),
        (replace(ALONE, host="::"), "--no-auth"),
        (replace(ALONE, host="192.0.2.7"), "--no-auth"),
        (replace(ALONE, host=""), "--no-auth"),
        (replace(ALONE, host="metis.example"), "--no-auth"),
        (replace(ALONE, host="localhost.example"), "--no-auth"),
        (replace(ALONE, trusted_proxies=GOOD.trusted_proxies), "--no-auth"),
        (replace(ALONE, admin=GOOD.admin), "--no-auth"),
        (replace(ALONE, public_url="https://metis.example"), "--no-auth"),
        (replace(GOOD, trusted_proxies=()), "--trusted-proxy"),
        (replace(GOOD, admin=Members()), "--admin-group"),
        (replace(GOOD, public_url=""), "--public-url"),
        (replace(GOOD, gui_token=Secret(TOKEN)), "--no-auth"),
        (replace(GOOD, port=-1), "--port"),
        (replace(GOOD, port=65536), "--port"),
        (replace(GOOD, headers=Headers(user="X User")), "header"),
        (replace(GOOD, headers=Headers(user="X_User")), "header"),
        (replace(GOOD, headers=Headers(groups="")), "header"),
        (replace(GOOD, allowed_hosts=frozenset({"metis.example/x"})), "--allowed-host"),
        (replace(GOOD, allowed_hosts=frozenset({"*"})), "--allowed-host"),
        (replace(GOOD, tokens={"watch": Secret("short")}), "watch token"),
        (replace(GOOD, tokens={"watch": Secret("with space" * 9)}), "watch token"),
        (replace(GOOD, tokens={"watch": Secret("ü" * 40)}), "watch token"),
        (replace(GOOD, tokens={"watch": Secret("a" * 8193)}), "watch token"),
        (replace(GOOD, tokens={"watch": Secret(TOKEN), "sentinel": Secret(TOKEN)}), "two purposes"),
        (replace(ALONE, tokens={"api": Secret(TOKEN)}, gui_token=Secret(TOKEN)), "two purposes"),
        (replace(ALONE, gui_token=Secret("short")), "gui token"),
    ],
)
def test_what_must_not_be_served_is_refused_by_the_name_of_its_flag(bad: Options, names: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(bad)
    assert names in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "2000::/3",
        "proxy",
        "",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10",
    ],
)
def test_a_network_that_is_everybody_or_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        network(text)
    assert "--trusted-proxy" in str(caught.value)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.7", "fd00::/8", "::1", "fc00::/7", " 10.42.0.0/16 "])
def test_the_networks_of_a_lab_are_taken(text: str) -> None:
    assert str(network(text)).startswith(text.strip().partition("/")[0])


def test_networks_that_came_another_way_are_looked_at_too() -> None:
    from ipaddress import ip_network

    with pytest.raises(UsageError):
        checked(replace(GOOD, trusted_proxies=(ip_network("0.0.0.0/0"),)))


@pytest.mark.parametrize("name", ["", " ops", "ops ", "o\nps", "o\x00ps", "a,b"])
def test_a_group_that_no_header_could_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        members([name], [])


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://metis.example", "https://metis.example"),
        ("https://Metis.Example/", "https://metis.example"),
        ("https://metis.example:443", "https://metis.example"),
        ("http://metis.example:80", "http://metis.example"),
        ("https://metis.example:8443", "https://metis.example:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_the_public_address_is_kept_as_browsers_write_an_origin(url: str, origin: str) -> None:
    assert checked(replace(GOOD, public_url=url)).public_url == origin


@pytest.mark.parametrize(
    "url",
    [
        "metis.example",
        "ftp://metis.example",
        "https://",
        "https://me:hunter2@metis.example",
        "https://metis.example/under",
        "https://metis.example?x",
        "https://metis.example#x",
        "https://metis.example:port",
        "https://metis.example:99999",
        "https://[::1",
        "https://metis .example",
    ],
)
def test_what_is_no_origin_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(replace(GOOD, public_url=url))
    assert "hunter2" not in str(caught.value)


def test_hosts_are_the_public_one_and_those_that_are_allowed_in_lower_case() -> None:
    options = checked(replace(GOOD, allowed_hosts=frozenset({"Metis.lab.svc", "[2001:DB8::1]:8080"})))
    assert options.hosts == {"metis.example", "metis.lab.svc", "[2001:db8::1]:8080"}


def test_tokens_come_from_variables_or_files() -> None:
    found = tokens(
        {"METIS_SENTINEL_TOKEN": TOKEN, "METIS_WATCH_TOKEN": ""},
        {"watch": "f"},
        lambda file: Secret(f"of {file}"),
    )
    assert found == {"sentinel": Secret(TOKEN), "watch": Secret("of f")}


def test_a_token_that_comes_twice_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        tokens({"METIS_WATCH_TOKEN": TOKEN}, {"watch": "f"}, Secret)
    assert TOKEN not in str(caught.value)
    assert "METIS_WATCH_TOKEN" in str(caught.value)


# ------------------------------------------------------------------------------------------- files


def private(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_gives_its_line(tmp_path: Path, mode: int) -> None:
    file = private(tmp_path / "token", f"{TOKEN}\n", mode)
    assert private_files.token(str(file)) == Secret(TOKEN)


def test_a_link_to_a_private_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(private(tmp_path / "token", TOKEN))
    assert private_files.token(str(tmp_path / "link")) == Secret(TOKEN)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(RefusedError) as caught:
        private_files.token(str(private(tmp_path / "token", TOKEN, mode)))
    assert TOKEN not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, kind in {"pipe": RefusedError, "none": SourceError}.items():
        with pytest.raises(kind):
            private_files.token(str(tmp_path / name))
    with pytest.raises(MetisError):
        private_files.token(str(tmp_path))


def test_the_key_of_pages_is_made_once_and_private(tmp_path: Path) -> None:
    first = private_files.key(tmp_path / "state")
    assert len(first) == 32
    assert private_files.key(tmp_path / "state") == first
    assert private_files.key(tmp_path / "other") != first
    assert (tmp_path / "state" / private_files.KEY).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "short", "k" * 33])
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    private(tmp_path / private_files.KEY, content)
    with pytest.raises(RefusedError):
        private_files.key(tmp_path)
