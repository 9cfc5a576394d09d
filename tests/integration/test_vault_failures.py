"""Whatever Vault does, one line says so, no value is in it, and the token is shown to nobody else."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from pipeline.errors import MetisError, RefusedError, SecretError, SourceError, UsageError
from pipeline.secret import Secret
from pipeline.secrets.places import VaultPlace
from pipeline.secrets.source import CLUSTER, NOTHING, ConflictError
from pipeline.secrets.vault import http as vault_http
from pipeline.secrets.vault.access import VaultAccess
from pipeline.secrets.vault.vault import Vault
from pipeline.settings import Settings
from tests.support.history import today_or_yesterday
from tests.support.vault import CONFLICT, Answer, opened, vault_server
from tests.support.vault import Vault as Server
from tests.support.waiting import PATIENCE

NODE = "titan-13"
PATH = f"atlas/nodes/{NODE}"
CANARY = "hunter2"
DATA = f"GET kv/data/{PATH}"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_http, "PAUSE", 0.01)
    monkeypatch.setattr(vault_http, "LONGEST_PAUSE", 0.02)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without tokens, and no proxies: what the desk has is none of the tests' business."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("HOME", str(folder))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return folder


@pytest.fixture
def server() -> Iterator[Server]:
    with vault_server() as server:
        server.put(PATH, {"k3s_token": CANARY})
        yield server


@pytest.fixture
def vault(server: Server, tmp_path: Path) -> Vault:
    return opened(server.environment(), tmp_path, keeps_copies=False)


def failure(ask: Callable[[], object], kind: type[MetisError] = SourceError) -> str:
    """The one line of what goes wrong; no value is in it, nor in the traceback that --debug prints."""
    with pytest.raises(kind) as caught:
        ask()
    line = str(caught.value)
    whole = "".join(traceback.format_exception(caught.value))
    assert type(caught.value) is kind
    assert CANARY not in line + whole
    assert "hvs." not in line + whole
    assert "\n" not in line
    return line


# --------------------------------------------------------------------------------- what Vault says

ECHO = {"errors": [f"cannot do that with {CANARY}"], "data": {"data": {"k3s_token": CANARY}}}


@pytest.mark.parametrize(
    ("answer", "said", "tries"),
    [
        (Answer(500, ECHO), "has a fault of its own (500)", 3),
        (Answer(502, CANARY.encode()), "has a fault of its own (502)", 3),
        (Answer(503, ECHO), "has a fault of its own (503)", 3),
        (Answer(504, b""), "has a fault of its own (504)", 3),
        (Answer(429, ECHO, {"Retry-After": "0"}), "asks for fewer requests (429)", 3),
        (Answer(429, ECHO, {"Retry-After": "86400"}), "asks for fewer requests (429)", 3),
        (Answer(429, ECHO, {"Retry-After": "hunter2"}), "asks for fewer requests (429)", 3),
        (Answer(429, ECHO, {"Retry-After": "9" * 5000}), "asks for fewer requests (429)", 3),
        (Answer(501, ECHO), "is not initialised, asked for the secrets of titan-13: it is new: see", 1),
        (Answer(503, {"errors": ["Vault is sealed"]}), "is sealed, asked for the secrets of titan-13", 1),
        (Answer(403, ECHO), "denies reading kv/atlas/nodes/titan-13: the token must be valid", 1),
        (Answer(401, ECHO), "denies reading kv/atlas/nodes/titan-13", 1),
        (Answer(400, ECHO), "refuses reading kv/atlas/nodes/titan-13", 1),
        (Answer(404, {"errors": [f'no handler for "{CANARY}"']}), "has no secrets engine at kv", 1),
        (Answer(404, b"<html>hunter2", {"Content-Type": "text/html"}), "none of Vault's", 1),
        (Answer(404, {"data": {"data": None, "metadata": {"version": CANARY}}}), "none of Vault's", 1),
        (Answer(404, {"data": CANARY}), "none of Vault's", 1),
        (Answer(412, ECHO), "none of Vault's", 1),
        (Answer(418, ECHO), "none of Vault's", 1),
        (Answer(500, b'["hunter2"]'), "has a fault of its own (500)", 3),
        (Answer(403, b'["hunter2"]'), "none of Vault's", 1),
        (Answer(403, b'{"errors": [["hunter2"]]}'), "none of Vault's", 1),
        (Answer(403, b'{"errors": 222}'), "none of Vault's", 1),
        (Answer(200, b""), "none of Vault's", 1),
        (Answer(200, b"hunter2"), "none of Vault's", 1),
        (Answer(200, b"[" * 500_000), "none of Vault's", 1),
        (Answer(200, b'"hunter2"'), "none of Vault's", 1),
        (Answer(200, {"data": CANARY}), "none of Vault's", 1),
        (Answer(200, {"data": {"data": {"k3s_token": CANARY}}}), "none of Vault's", 1),
        (Answer(200, {"data": {"data": [CANARY], "metadata": {"version": 1}}}), "none of Vault's", 1),
        (Answer(200, {"data": {"data": {}, "metadata": {"version": 0}}}), "none of Vault's", 1),
        (Answer(200, {"data": {"data": {}, "metadata": {"version": True}}}), "none of Vault's", 1),
        (Answer(200, {"data": {"data": {}, "metadata": {"version": "1"}}}), "none of Vault's", 1),
        (Answer(200, {"data": {"data": {}, "metadata": CANARY}}), "none of Vault's", 1),
        (Answer(204), "none of Vault's", 1),
        (Answer(200, b"x" * (vault_http.MAX_BYTES + 1)), "answers with more than a secret can be", 1),
        (Answer(200, CANARY.encode(), {"Content-Encoding": "gzip"}), "none of Vault's", 1),
        (Answer(302, ECHO), "none of Vault's", 1),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else None,
)
def test_an_answer_that_is_no_document_is_one_line(
    server: Server, vault: Vault, answer: Answer, said: str, tries: int
) -> None:
    server.answer(DATA, answer)
    line = failure(lambda: vault.read(NODE))
    assert f"Vault at {server.address} " in line
    assert said in line
    assert len(server.asked(DATA)) == tries


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(server: Server, vault: Vault, status: int) -> None:
    server.answer(DATA, Answer(status, {"errors": ["x"]}, {"Retry-After": "0"}), times=2)
    assert vault.read(NODE).version == "1"
    assert len(server.asked(DATA)) == 3


def test_a_vault_that_is_too_busy_for_a_few_is_not_asked_for_a_thousand(server: Server, vault: Vault) -> None:
    server.answer("kv/metadata/", Answer(429, b"", {"Retry-After": "0"}))
    assert "asks for fewer requests (429)" in failure(lambda: vault.versions(f"n{n}" for n in range(1000)))
    assert len(server.asked("kv/metadata/")) <= 3 * vault_http.AT_ONCE


def test_retry_after_is_heeded_within_a_bound(
    server: Server, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(vault_http, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    monkeypatch.setattr(vault_http, "LONGEST_PAUSE", 7.0)
    server.answer(DATA, Answer(429, b"", {"Retry-After": "3"}), times=1)
    server.answer(DATA, Answer(429, b"", {"Retry-After": "3600"}), times=1)
    assert vault.read(NODE).version == "1"
    assert waits == [3.0, 7.0]


def test_a_value_that_is_no_text_is_named_and_not_shown(server: Server, vault: Vault) -> None:
    server.put(PATH, {"k3s_token": [CANARY]})
    line = failure(lambda: vault.read(NODE), SecretError)
    assert line.startswith("k3s_token in kv/atlas/nodes/titan-13 in Vault is no text")


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"current_version": CANARY}},
        {"data": {"current_version": 2, "versions": {}}},
        {"data": {"current_version": 1, "versions": {"1": {"destroyed": False}}}},
        {"data": {"current_version": 1, "versions": [CANARY]}},
        {"data": CANARY},
    ],
)
def test_metadata_that_is_none_tells_no_version(server: Server, vault: Vault, body: Any) -> None:
    server.answer(f"GET kv/metadata/{PATH}", Answer(200, body))
    assert "none of Vault's" in failure(lambda: vault.versions([NODE]))
    assert vault.versions([NODE, "other"]) == {"other": ""}


def test_a_proxy_may_say_more_about_the_form_of_an_answer(server: Server, vault: Vault) -> None:
    said = {"Content-Type": "Application/JSON; charset=utf-8"}
    server.answer(DATA, Answer(404, {"errors": []}, said))
    assert vault.read(NODE) == NOTHING
    server.answer(f"POST kv/data/{PATH}", Answer(400, {"errors": [CONFLICT]}, said))
    with pytest.raises(ConflictError):
        vault.put(NODE, {"k3s_token": Secret("x")}, "")


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=9),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.sampled_from("data metadata version versions errors auth extra k3s_token 1".split())
            | some.sampled_from("current_version created_time deletion_time destroyed".split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.sampled_from([200, 400, 403, 404]), anything)
def test_whatever_is_answered_ends_in_one_line(
    server: Server, vault: Vault, status: int, body: object
) -> None:
    server.behave()
    server.answer("(GET|POST) kv/", Answer(status, json.dumps(body).encode()))
    for ask in (
        lambda: vault.read(NODE),
        lambda: vault.versions([NODE]),
        lambda: vault.put(NODE, {"extra.a": Secret("x")}, ""),
    ):
        with suppress(SourceError, SecretError):
            ask()


def test_a_deletion_that_lies_ahead_is_none_yet(server: Server, vault: Vault) -> None:
    times = {"1": {"destroyed": False, "deletion_time": "2999-01-01T00:00:00.000000000Z"}}
    server.answer("GET kv/metadata", Answer(200, {"data": {"current_version": 1, "versions": times}}))
    assert vault.versions([NODE]) == {NODE: "1"}


def test_metadata_without_a_version_is_of_nothing_yet(server: Server, vault: Vault) -> None:
    server.answer("GET kv/metadata", Answer(200, {"data": {"current_version": 0, "versions": {}}}))
    assert vault.versions([NODE]) == {NODE: ""}


def test_who_is_denied_is_left_out_of_the_versions(server: Server, vault: Vault) -> None:
    server.denied = {f"kv/metadata/{PATH}"}
    assert vault.versions([NODE, "other", CLUSTER]) == {"other": "", CLUSTER: ""}
    server.denied = {"kv/metadata/"}
    assert "allow read on kv/metadata/atlas/nodes/titan-13" in failure(lambda: vault.versions([NODE, "x"]))


def test_a_policy_that_denies_writing_is_told(server: Server, vault: Vault) -> None:
    server.answer(f"POST kv/data/{PATH}", Answer(403, ECHO))
    line = failure(lambda: vault.put(NODE, {"extra.a": Secret("x")}, "1"))
    assert "denies writing kv/atlas/nodes/titan-13" in line
    assert "allow create and update on kv/data/atlas/nodes/titan-13" in line


def test_what_is_written_is_refused_without_repeating_it(server: Server, vault: Vault) -> None:
    server.answer(f"POST kv/data/{PATH}", Answer(400, ECHO))
    line = failure(lambda: vault.put(NODE, {"extra.a": Secret(CANARY)}, "1"))
    assert "refuses writing kv/atlas/nodes/titan-13" in line


def test_a_write_whose_answer_is_lost_is_done_once(server: Server, vault: Vault) -> None:
    """What was written is then somebody's: whoever reads again finds it."""
    server.answer(f"POST kv/data/{PATH}", Answer(502, after=True), times=1)
    with pytest.raises(SourceError, match="was changed meanwhile"):
        vault.put(NODE, {"extra.a": Secret("x")}, "1")
    assert vault.read(NODE).values["extra.a"] == Secret("x")
    assert server.version(PATH) == 2


def test_a_store_of_version_1_is_not_taken_for_one_of_2(server: Server, vault: Vault) -> None:
    """It knows nothing at kv/data/…, takes what is written there, and says no more than 204."""
    server.answer(f"POST kv/data/{PATH}", Answer(204))
    assert "that kv is of version 2" in failure(lambda: vault.put(NODE, {"extra.a": Secret("x")}, "1"))


# --------------------------------------------------------------------------------- out of reach


def test_vault_that_is_gone_is_asked_no_more(server: Server, vault: Vault) -> None:
    server.stop()
    line = failure(lambda: vault.read(NODE))
    assert f"Vault at {server.address} cannot be reached: nothing answers there" in line
    server.start()
    for ask in (lambda: vault.read("other"), lambda: vault.versions(["other", CLUSTER])):
        assert "cannot be reached: nothing answers there, asked for the secrets of other" in failure(ask)
    failure(lambda: vault.put(NODE, {}, "1"))
    assert server.log == []


def test_versions_of_many_end_together_where_vault_is_sealed(server: Server, vault: Vault) -> None:
    server.sealed = True
    line = failure(lambda: vault.versions(f"n{number}" for number in range(1000)))
    assert "is sealed, asked for the secrets of n0, n1, n2 and 997 more" in line
    assert len(server.log) <= 16


def test_versions_are_read_at_the_same_time_and_not_all_at_once(
    server: Server, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told a version before some have asked at once."""
    handle, several = server.handle, threading.Event()

    def handle_several(method: str, path: str, *more: Any) -> Any:
        if server.most_at_once > 4:
            several.set()
        if "kv/metadata" in path:
            assert several.wait(PATIENCE)
        return handle(method, path, *more)

    monkeypatch.setattr(server, "handle", handle_several)
    server.answer("GET kv/metadata", Answer(404, {"errors": []}))
    owners = [f"n{number}" for number in range(64)]
    assert vault.versions(owners) == dict.fromkeys(owners, "")
    assert 4 < server.most_at_once <= 16


def test_slow_answers_end(server: Server, tmp_path: Path) -> None:
    server.answer(DATA, Answer(200, ECHO, delay=2))
    vault = opened(server.environment(), tmp_path, timeout=0.1)
    assert "did not answer in time" in failure(lambda: vault.read(NODE))
    assert "did not answer in time" in failure(lambda: vault.read("other"))


def test_an_answer_in_drops_ends(server: Server, tmp_path: Path) -> None:
    server.answer(DATA, Answer(200, b" " * 100_000, drip=1))
    vault = opened(server.environment(), tmp_path, timeout=0.3)
    assert "did not answer in time" in failure(lambda: vault.read(NODE))


def test_a_name_that_nobody_has_is_told(tmp_path: Path) -> None:
    vault = opened({"VAULT_ADDR": "https://vault.invalid", "VAULT_TOKEN": "x"}, tmp_path)
    assert "cannot be reached: its name cannot be resolved" in failure(lambda: vault.read(NODE))


# --------------------------------------------------------------------------------- sealed copies


def test_who_is_not_answered_is_told_of_the_sealed_copy(server: Server, tmp_path: Path) -> None:
    opened(server.environment(), tmp_path).read(NODE)
    server.sealed = True
    lines = [
        failure(lambda: opened(server.environment(), tmp_path).read(NODE)),
        failure(lambda: opened(server.environment(), tmp_path).versions([CLUSTER, NODE])),
    ]
    server.sealed, server.denied = False, {"kv/data/"}
    lines.append(failure(lambda: opened(server.environment(), tmp_path).read(NODE)))
    for line in lines:
        assert any(
            f"METIS_OFFLINE=1 builds from the sealed copy of {day}, " in line for day in today_or_yesterday()
        )
        assert line.endswith(" old")
    server.stop()
    line = failure(lambda: opened(server.environment(), tmp_path).versions([NODE, "other"]))
    assert "METIS_OFFLINE=1 builds 1 of the 2 from sealed copies, the oldest of " in line
    assert "OFFLINE" not in failure(lambda: opened(server.environment(), tmp_path).read("other"))


def test_what_was_read_is_known_without_asking(server: Server, tmp_path: Path) -> None:
    vault = opened(server.environment(), tmp_path)
    assert vault.known(NODE) == {}
    assert server.log == []
    vault.read(NODE)
    later = opened(server.environment(), tmp_path)
    server.behave()
    assert vault.known(NODE) == later.known(NODE) == {"k3s_token": Secret(CANARY)}
    assert server.log == []


def test_who_only_looks_keeps_no_copy(server: Server, vault: Vault, tmp_path: Path) -> None:
    vault.read(NODE)
    assert not (tmp_path / "state").exists()
    assert opened(server.environment(), tmp_path).known(NODE) == {}


def test_a_copy_that_cannot_be_kept_is_noted_once_and_fails_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "config/metis").mkdir(parents=True, mode=0o700)
    (tmp_path / "config/metis/age.key").touch(mode=0o644)
    notes: list[str] = []
    vault = opened(server.environment(), tmp_path, note=notes.append)
    assert vault.read(NODE).version == "1"
    vault.read("other")
    assert len(notes) == 1
    assert notes[0].startswith("no sealed copies of what Vault gives are kept: ")
    assert "age.key" in notes[0]


# ------------------------------------------------------------------------------------------ login


def test_an_approle_logs_in_once_for_all(server: Server, tmp_path: Path) -> None:
    vault = opened({**server.approle(), "VAULT_ADDR": server.address}, tmp_path, keeps_copies=False)
    assert server.log == []
    start = threading.Barrier(12)

    def read(_: int) -> str:
        start.wait()
        return vault.read(NODE).version

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(read, range(12))) == {"1"}
    assert server.asked("auth/") == ["POST auth/approle/login"]
    assert len(server.asked(DATA)) == 12
    assert server.token not in {asked.token for asked in server.log}


def test_a_token_comes_before_an_approle(server: Server, tmp_path: Path) -> None:
    opened({**server.environment(), **server.approle()}, tmp_path).read(NODE)
    assert server.asked("auth/approle") == []


def test_an_approle_that_is_not_let_in_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    variables = {**server.approle(), "VAULT_SECRET_ID": CANARY, "VAULT_ADDR": server.address}
    vault = opened(variables, tmp_path)
    for node in (NODE, "other"):
        line = failure(lambda node=node: vault.read(node))  # type: ignore[misc]
        assert "does not let the AppRole of VAULT_ROLE_ID in" in line
        assert "get a new VAULT_SECRET_ID" in line
    assert server.asked() == ["POST auth/approle/login"]


@pytest.mark.parametrize(
    "auth", [None, {}, {"client_token": 7}, {"client_token": "hunter2\r\nX-A: b"}, CANARY]
)
def test_a_login_that_gives_no_token_is_none(server: Server, tmp_path: Path, auth: Any) -> None:
    server.answer("auth/approle/login", Answer(200, {"auth": auth}))
    vault = opened({**server.approle(), "VAULT_ADDR": server.address}, tmp_path)
    assert "none of Vault's" in failure(lambda: vault.read(NODE))


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 502, 503])
def test_many_who_wait_for_a_login_that_fails_do_not_try_it_after_one_another(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.answer("auth/approle/login", Answer(status, ECHO, delay=0.05))
    vault = opened({**server.approle(), "VAULT_ADDR": server.address}, tmp_path)
    failure(lambda: vault.versions(f"n{number}" for number in range(100)))
    assert len(server.log) <= 3


def test_cookies_are_not_kept(server: Server, vault: Vault) -> None:
    server.answer(DATA, Answer(500, b"", {"Set-Cookie": "a=b"}), times=1)
    vault.read(NODE)
    vault.read(NODE)
    assert not [asked for asked in server.log if "Cookie" in asked.headers]


def test_a_token_that_was_taken_back_is_got_again_once(server: Server, tmp_path: Path) -> None:
    vault = opened({**server.approle(), "VAULT_ADDR": server.address}, tmp_path, keeps_copies=False)
    vault.read(NODE)
    server.revoke()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: vault.read(NODE).version, range(8))) == {"1"}
    assert len(server.asked("auth/approle/login")) == 2
    server.revoke()
    assert "denies reading" in failure(lambda: vault.read(NODE))
    assert len(server.asked("auth/approle/login")) == 2


def test_paths_that_are_denied_for_good_cost_one_login_more(server: Server, tmp_path: Path) -> None:
    vault = opened({**server.approle(), "VAULT_ADDR": server.address}, tmp_path)
    server.denied = {"kv/data/"}
    for _ in range(5):
        failure(lambda: vault.read(NODE))
    assert len(server.asked("auth/approle/login")) == 2


class Clock:
    """A clock that a test turns on; leases are in its seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("renewable", "expected"),
    [
        (True, ["POST auth/approle/login", "POST auth/token/renew-self", "POST auth/token/renew-self"]),
        (False, ["POST auth/approle/login"] * 3),
    ],
)
def test_the_token_of_an_approle_is_prolonged_before_it_runs_out(
    server: Server, tmp_path: Path, renewable: bool, expected: list[str]
) -> None:
    clock = Clock()
    role = server.approle(lease=60, renewable=renewable)
    vault = opened({**role, "VAULT_ADDR": server.address}, tmp_path, keeps_copies=False, clock=clock)
    for _ in range(3):
        for _ in range(3):
            assert vault.read(NODE).version == "1"
        clock.now += 45
    assert server.asked("auth/") == expected


def test_a_token_near_its_last_hour_makes_an_approle_log_in_again(server: Server, tmp_path: Path) -> None:
    clock = Clock()
    vault = opened(
        {**server.approle(lease=60), "VAULT_ADDR": server.address}, tmp_path, keeps_copies=False, clock=clock
    )
    vault.read(NODE)
    server.answer("renew-self", Answer(200, {"auth": {"lease_duration": 5, "renewable": True}}))
    clock.now = 45
    vault.read(NODE)
    assert len(server.asked("auth/approle/login")) == 2


def test_a_token_that_was_given_is_prolonged_too(server: Server, tmp_path: Path) -> None:
    clock = Clock()
    token = server.new_token(lease=60, renewable=True)
    vault = opened({"VAULT_ADDR": server.address, "VAULT_TOKEN": token}, tmp_path, clock=clock)
    vault.read(NODE)
    clock.now = 45
    vault.read(NODE)
    assert server.asked("auth/") == ["GET auth/token/lookup-self", "POST auth/token/renew-self"]


@pytest.mark.parametrize("path", ["auth/token/lookup-self", "auth/token/renew-self", "auth/token/"])
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_a_token_that_cannot_look_at_itself_or_be_renewed_works_all_the_same(
    server: Server, tmp_path: Path, path: str, status: int
) -> None:
    clock = Clock()
    server.answer(path, Answer(status, ECHO))
    variables = {"VAULT_ADDR": server.address, "VAULT_TOKEN": server.new_token(lease=60, renewable=True)}
    vault = opened(variables, tmp_path, keeps_copies=False, clock=clock)
    for _ in range(3):
        assert vault.read(NODE).version == "1"
        clock.now += 45


def test_the_namespace_goes_with_each_request(tmp_path: Path) -> None:
    with vault_server(namespace="lab/atlas") as server:
        server.put(PATH, {"k3s_token": "x"})
        assert opened(server.environment(), tmp_path).read(NODE).version == "1"
        assert {asked.namespace for asked in server.log} == {"lab/atlas"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "Vault is to be asked without a token: set VAULT_TOKEN, or VAULT_ROLE_ID"),
        ({"VAULT_ROLE_ID": "a"}, "VAULT_ROLE_ID is set without VAULT_SECRET_ID"),
        ({"VAULT_SECRET_ID": CANARY}, "VAULT_SECRET_ID is set without VAULT_ROLE_ID"),
        ({"VAULT_TOKEN": "hunter2\nX-Evil: 1"}, "VAULT_TOKEN is no token of Vault"),
        ({"VAULT_TOKEN": "hunter2 "}, "VAULT_TOKEN is no token of Vault"),
        ({"VAULT_TOKEN": "hunterä"}, "VAULT_TOKEN is no token of Vault"),
        ({"VAULT_TOKEN": "x", "VAULT_NAMESPACE": "a\nb"}, "VAULT_NAMESPACE is no namespace"),
        ({"VAULT_TOKEN": "x", "VAULT_CACERT": "nowhere.pem"}, "nowhere.pem is no file of certificates"),
        ({"VAULT_TOKEN": "x", "VAULT_CACERT": "."}, "is no file of certificates"),
    ],
)
def test_what_is_missing_to_ask_vault_is_told(
    server: Server, tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    vault = opened({"VAULT_ADDR": server.address, **variables}, tmp_path)
    for ask in (lambda: vault.read(NODE), lambda: vault.versions([NODE])):
        assert said in failure(ask, UsageError)
    assert server.log == []


def test_the_token_of_vault_login_is_found(server: Server, tmp_path: Path, home: Path) -> None:
    file = home / ".vault-token"
    file.touch(mode=0o600)
    file.write_text(f"{server.token}\n")
    assert opened({"VAULT_ADDR": server.address}, tmp_path).read(NODE).version == "1"
    file.chmod(0o644)
    line = failure(lambda: opened({"VAULT_ADDR": server.address}, tmp_path).read(NODE), RefusedError)
    assert line == f"{file} is open to others than its owner: run `chmod 0600 {file}`"


# -------------------------------------------------------------------------------- where tokens go


ACCESS = VaultAccess("https://vault.example:8200", "", None, Secret("t"), "", Secret(""), 1.0)


@pytest.mark.parametrize(
    "address",
    [
        "vault.example:8200",
        "vault.example",
        "unix:///run/vault.sock",
        "ftp://vault.example",
        "https://",
        "https://:8200",
        "https://vault.example:port",
        "https://vault.example:99999",
        "https://[::1",
        "https://ops:hunter2@vault.example",
        "https://hunter2@vault.example",
        "https://vault.example/?token=hunter2",
        "https://vault.example/#hunter2",
    ],
)
def test_an_address_that_is_none_is_told_without_what_may_be_in_it(address: str) -> None:
    failure(lambda: vault_http.check(replace(ACCESS, address=address)), UsageError)


@pytest.mark.parametrize(
    "address",
    [
        "https://vault.example",
        "https://192.0.2.7:8200",
        "https://[2001:db8::7]:8200/prefix",
        "http://127.0.0.1:8200",
        "http://127.8.9.10",
        "http://[::1]:8200",
        "http://localhost:8200",
    ],
)
def test_an_address_that_shows_the_token_to_nobody_is_taken(address: str) -> None:
    vault_http.check(replace(ACCESS, address=address))


@pytest.mark.parametrize(
    "address", ["http://vault.example", "http://192.0.2.7:8200", "http://localhost.example", "http://0.0.0.0"]
)
def test_plain_http_to_others_is_refused_unless_one_insists(tmp_path: Path, address: str) -> None:
    vault = opened({"VAULT_ADDR": address, "VAULT_TOKEN": "x"}, tmp_path)
    line = failure(lambda: vault.read(NODE), RefusedError)
    assert line.startswith(f"{address} is plain HTTP: the token would cross the network in the clear")
    insists = {"VAULT_ADDR": address, "VAULT_TOKEN": "x", "METIS_VAULT_INSECURE": "1"}
    place = Settings.from_environment(insists, tmp_path).secrets
    assert isinstance(place, VaultPlace)
    vault_http.check(place.access)


def test_tls_with_a_certificate_that_is_known_works(certificate: Path, tmp_path: Path) -> None:
    with vault_server(certificate) as server:
        variables = {**server.environment(), "VAULT_CACERT": f"{certificate}.crt"}
        assert opened(variables, tmp_path).versions([NODE]) == {NODE: ""}


def test_a_certificate_that_nobody_knows_is_told_at_once(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "1")
    with vault_server(certificate) as server:
        line = failure(lambda: opened(server.environment(), tmp_path).read(NODE))
        assert "has a certificate that cannot be verified" in line
        assert "VAULT_CACERT" in line
        assert server.log == []


def test_a_certificate_for_another_name_is_told(certificate: Path, tmp_path: Path) -> None:
    with vault_server(certificate) as server:
        address = server.address.replace("127.0.0.1", "localhost")
        variables = {"VAULT_ADDR": address, "VAULT_TOKEN": "x", "VAULT_CACERT": f"{certificate}.crt"}
        assert "cannot be verified" in failure(lambda: opened(variables, tmp_path).read(NODE))


def test_a_server_without_tls_is_told(server: Server, tmp_path: Path) -> None:
    variables = {**server.environment(), "VAULT_ADDR": server.address.replace("http:", "https:")}
    assert "it does not speak TLS with us" in failure(lambda: opened(variables, tmp_path).read(NODE))


def test_a_standby_names_the_active_server(server: Server, certificate: Path, tmp_path: Path) -> None:
    with vault_server(certificate) as active:
        active.tokens[server.token] = active.tokens[active.token]
        server.answer("kv/", Answer(307, b"", {"Location": f"{active.address}/v1/kv/data/{PATH}"}))
        variables = {**server.environment(), "VAULT_CACERT": f"{certificate}.crt"}
        opened(variables, tmp_path).put(NODE, {"k3s_token": Secret("x")}, "")
        assert active.get(PATH) == {"k3s_token": "x"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_shows_the_token_to_another_in_the_clear(
    server: Server, vault: Vault, status: int
) -> None:
    with vault_server() as other:
        server.answer(DATA, Answer(status, b"", {"Location": f"{other.address}/v1/kv/data/{PATH}"}))
        line = failure(lambda: vault.read(NODE))
        assert "redirects to plain HTTP, where the token would be in the clear" in line
        assert other.log == []


@pytest.mark.parametrize("location", ["//127.0.0.1:1/x", "http://[::1", "ftp://127.0.0.1/x", "http://:0/"])
def test_a_redirect_to_nowhere_is_not_followed(server: Server, vault: Vault, location: str) -> None:
    server.answer(DATA, Answer(307, b"", {"Location": location}))
    assert "redirects" in failure(lambda: vault.read(NODE))


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_write_is_not_made_a_read_by_a_redirect(server: Server, vault: Vault, status: int) -> None:
    server.answer(f"POST kv/data/{PATH}", Answer(status, b"", {"Location": f"/v1/kv/data/{PATH}"}))
    line = failure(lambda: vault.put(NODE, {"k3s_token": Secret("x")}, "1"))
    assert "redirects what it should do itself" in line


def test_redirects_in_a_circle_end(server: Server, vault: Vault) -> None:
    server.answer(DATA, Answer(307, b"", {"Location": f"/v1/kv/data/{PATH}"}))
    assert "redirects again and again" in failure(lambda: vault.read(NODE))


def test_nothing_of_netrc_is_sent(
    certificate: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".netrc").touch(mode=0o600)
    (home / ".netrc").write_text("default login ops password hunter2\n")
    with vault_server(certificate) as server:
        server.answer("GET kv/data", Answer(307, b"", {"Location": "/v1/kv/data/x"}), times=1)
        opened({**server.environment(), "VAULT_CACERT": f"{certificate}.crt"}, tmp_path).read(NODE)
        assert not [asked for asked in server.log if "Authorization" in asked.headers]
        assert len(server.log) == 3


def test_a_plain_token_is_shown_to_no_proxy(
    server: Server, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert vault.read(NODE).version == "1"


def test_a_variable_of_vault_that_we_do_not_name_changes_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hvac looks into the environment too."""
    monkeypatch.setenv("VAULT_TOKEN", "hvs.other")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    assert opened(server.environment(), tmp_path).read(NODE).version == "1"
    assert {asked.token for asked in server.log} == {server.token}
