"""What `metis serve` and `metis gui` are told becomes the options of a service, or is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from pipeline.commands.serve import options_of, serve
from pipeline.errors import MetisError
from pipeline.secret import Secret
from pipeline.service.options import Headers, Members, Options, network
from pipeline.service.serving import at_port

SIGNED_IN = ("--trusted-proxy", "192.0.2.7", "--public-url", "https://metis.example", "--admin-group", "ops")
TOKEN = "0123456789abcdef" * 2


def told(*words: str) -> Options:
    """The options that the words mean."""
    context = click.Context(serve)
    serve.parse_args(context, list(words))
    return options_of(context.params)


def test_behind_a_proxy_people_sign_in() -> None:
    assert told(*SIGNED_IN) == Options(
        trusted_proxies=(network("192.0.2.7"),),
        public_url="https://metis.example",
        admin=Members(frozenset({"ops"})),
    )


def test_all_that_can_be_said_is_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(f"{TOKEN}\n")
    options = told(
        *SIGNED_IN,
        *("--host", "0.0.0.0", "--port", "8443", "--allowed-host", "Metis.Local"),
        *("--user-header", "X-User", "--name-header", "X-Name", "--maintenance-user", "kim@lab.example"),
        *("--sentinel-token-file", str(file)),
    )
    assert (options.host, options.port) == ("0.0.0.0", 8443)
    assert options.allowed_hosts == {"metis.local"}
    assert options.headers == Headers(user="X-User", shown="X-Name")
    assert options.maintenance == Members(people=frozenset({"kim@lab.example"}))
    assert options.tokens == {"sentinel": Secret(TOKEN)}


def test_tokens_come_out_of_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIS_WATCH_TOKEN", TOKEN)
    assert told("--no-auth").tokens == {"watch": Secret(TOKEN)}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "no proxy is trusted"),
        (("--trusted-proxy", "192.0.2.7"), "nobody has a role"),
        (("--trusted-proxy", "0.0.0.0/0"), "is as good as everybody"),
        (SIGNED_IN[:2] + SIGNED_IN[4:], "--public-url is missing"),
        (("--no-auth", "--host", "192.0.2.1"), "--no-auth would let everybody who reaches"),
        (("--no-auth", *SIGNED_IN), "--no-auth is for one machine alone"),
        (("--no-auth", "--sentinel-token-file", "/nowhere"), "/nowhere cannot be read"),
    ],
)
def test_what_must_not_be_served_is_refused(words: Sequence[str], line: str) -> None:
    with pytest.raises(MetisError) as refused:
        told(*words)
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("words", "url"),
    [
        (("--no-auth", "--port", "0"), "http://127.0.0.1:4711"),
        (("--no-auth", "--port", "0", "--host", "::1"), "http://[::1]:4711"),
        (("--port", "0", *SIGNED_IN), "https://metis.example"),
        (("--no-auth", "--port", "8080"), "http://127.0.0.1:8080"),
    ],
)
def test_whoever_takes_any_port_is_told_which_it_is(words: Sequence[str], url: str) -> None:
    assert at_port(told(*words), 4711).public_url == url
