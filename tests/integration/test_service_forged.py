"""Forged requests at the real service: whatever is wrong with one, nothing is otherwise afterwards.

What is forged is always the very request that does its action where it is sent as it is (the controls below).
What is compared is all there is: the database but for the audit, the files of the lab, and the cards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from pipeline.history import jobs
from pipeline.history.audit import acts
from pipeline.history.jobs import Wanted
from pipeline.machine import durable
from pipeline.secret import Secret
from pipeline.service import private_files
from pipeline.service.guard import Guard
from pipeline.service.job_files import lock_of
from pipeline.service.listening import PunctualProtocol
from pipeline.service.runner import MOST
from tests.support import snapshots
from tests.support.exports import offered
from tests.support.forging import FORM, JSON, TOKENS, Asked, Site, status_of
from tests.support.lab import Lab
from tests.support.lab_service import PROXY, serving

PATIENCE = 3.0
"""Seconds that a head or a body may take here."""
DEFAULTS = Guard.__init__.__kwdefaults__ or {}
STRANGER = "127.0.0.2"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service whose queue is full of what never ends, so that nothing that is asked for is begun."""
    lab = Lab(tmp_path_factory.mktemp("forged"))
    lab.write("classes/pi.yaml", "arch: arm64\nos: debian\n")
    for number, name in enumerate(("alpha", "beta"), 13):
        network = f"{{interface: eth0, address: 192.0.2.{number}/24}}"
        lab.write(f"nodes/{name}.yaml", f"class: pi\nnetwork: {network}\n")
    cards = lab.root / "cards"
    cards.mkdir()
    (cards / "sd-1").write_bytes(b"photos" * 1000)
    tokens = {purpose: Secret(token) for purpose, token in TOKENS.items()}
    history = lab.artifacts / "history.sqlite3"
    with ExitStack() as held, pytest.MonkeyPatch.context() as patch:
        patch.setattr(PunctualProtocol, "seconds", PATIENCE)
        patch.setattr(Guard.__init__, "__kwdefaults__", {**DEFAULTS, "seconds": PATIENCE})
        for number in range(MOST):
            job = jobs.add(history, Wanted("image", f"other-{number}", "ops"), datetime.now(UTC))[0]
            held.enter_context(durable.locked(lock_of(history, job.id), lambda _: None))
            assert jobs.claim(history, job.id, datetime.now(UTC))
        options = replace(PROXY, tokens=tokens, card_files=str(cards))
        served = held.enter_context(serving(lab, options))
        served.wait_for_board()
        (card,) = served.client.get("/api/v1/cards").json()
        key = private_files.key(served.service.artifacts.state)
        yield Site(served, lab, key, card["id"])


# ------------------------------------------------------------------------------------- what may be done


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


def said(node: str) -> bytes:
    return snapshots.written(snapshots.small(node, at=datetime.now(UTC)))


def burn_as_json(site: Site) -> bytes:
    return json.dumps({"kind": "burn", "node": "alpha", "confirm": "alpha", "card": site.card}).encode()


def export(site: Site) -> str:
    return offered(site.served.service.exports, b"secrets of a node", node="alpha").id


ACTIONS: dict[str, Callable[[Site], Asked]] = {
    "build": lambda site: site.people("/nodes/alpha/build", FORM, form()),
    "burn": lambda site: site.people("/nodes/alpha/burn", FORM, form(card=site.card, confirm="alpha")),
    "cancel": lambda site: site.people(f"/jobs/{site.waiting('beta')}/cancel", FORM, form()),
    "export": lambda site: site.people("/nodes/alpha/exports", FORM, form()),
    "link": lambda site: site.people(f"/exports/{export(site)}/link", FORM, form()),
    "revoke": lambda site: site.people(f"/exports/{export(site)}/revoke", FORM, form()),
    "build by a script": lambda site: site.people(
        "/api/v1/jobs", JSON, b'{"kind": "image", "node": "alpha"}'
    ),
    "burn by a token": lambda site: site.program("/api/v1/jobs", "api", burn_as_json(site)),
    "snapshot": lambda site: site.program("/internal/sentinel/snapshot", "sentinel", said("alpha")),
}
PEOPLE = [name for name in ACTIONS if name not in {"burn by a token", "snapshot"}]


@pytest.fixture(autouse=True)
def nothing_waits(site: Site) -> Iterator[None]:
    """What an action has queued is taken back, as the next would find that it waits already."""
    yield
    for job in jobs.unfinished(site.history):
        if job.state == "waiting":
            jobs.cancel(site.history, job.id, datetime.now(UTC))


@pytest.mark.parametrize("action", ACTIONS)
def test_unforged_each_request_does_its_action(site: Site, action: str) -> None:
    request = ACTIONS[action](site)
    before = site.state()
    assert site.ask(request) in {200, 201, 202, 303}
    assert site.state() != before


def test_a_button_pressed_by_many_at_once_is_one_burn_and_the_card_is_nobody_elses(site: Site) -> None:
    request = ACTIONS["burn"](site)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(site.ask, [request] * 8)) == {303}
    assert [job.kind for job in jobs.unfinished(site.history)].count("burn") == 1
    other = site.program("/api/v1/jobs", "api", burn_as_json(site).replace(b"alpha", b"beta"))
    assert site.ask(other) == 409
    assert [job.kind for job in jobs.unfinished(site.history)].count("burn") == 1


# --------------------------------------------------------------------------------------- what is forged


def elsewhere(request: Asked) -> str:
    """The path of a request, by a way around."""
    return request.path.replace("/", "/nodes/../", 1)


Forge = Callable[[Asked], Asked]
OF_ALL: dict[str, Forge] = {
    "two Hosts": lambda it: replace(it, more=("Host: evil.example",)),
    "a path around": lambda it: replace(it, path=elsewhere(it)),
    "a path around, encoded": lambda it: replace(it, path=elsewhere(it).replace("..", "%2e%2e")),
    "a path with an encoded slash": lambda it: replace(it, path="/nodes/..%2f.." + it.path),
    "a body too large": lambda it: replace(it, body=it.body + b" " * (5 << 20)),
    "a body said to be too large": lambda it: it.having(Content_Length=str(1 << 40)),
    "two lengths": lambda it: replace(it, more=("Content-Length: 0",)),
    "a length and chunks": lambda it: replace(it, more=("Transfer-Encoding: chunked",)),
    "a method that only reads": lambda it: replace(it, method="GET"),
    "a method of nobody": lambda it: replace(it, method="OPTIONS"),
}
OF_PEOPLE: dict[str, Forge] = {
    "a foreign Host": lambda it: it.having(Host="evil.example"),
    "an address that is not trusted": lambda it: replace(it, source=STRANGER),
    "nobody": lambda it: it.having(X_Forwarded_User=None, X_Forwarded_Groups=None),
    "another role": lambda it: it.having(X_Forwarded_Groups="staff, Ops, ops2"),
    "a role in another writing": lambda it: replace(
        it.having(X_Forwarded_Groups="staff"), more=("X_Forwarded_Groups: ops",)
    ),
    "two users": lambda it: replace(it, more=("X-Forwarded-User: eve",)),
    "no token of a page": lambda it: tokened(it, ""),
    "the token of somebody else": lambda it: it.having(X_Forwarded_User="eve"),
    "an old token": lambda it: tokened(it, it.old_token),
    "another origin": lambda it: it.having(Origin="https://evil.example"),
    "no origin": lambda it: it.having(Origin="null"),
    "another site": lambda it: it.having(Sec_Fetch_Site="cross-site"),
    "a kind of form that any page may send": lambda it: it.having(
        Content_Type="text/plain", X_CSRF_Token=None
    ),
}
OF_PROGRAMS: dict[str, Forge] = {
    "no token": lambda it: it.having(Authorization=None),
    "another purpose's token": lambda it: it.having(Authorization=f"Bearer {'m' * 32}"),
    "half a token": lambda it: it.having(Authorization=f"Bearer {'s' * 16}"),
    "two tokens": lambda it: replace(it, more=(f"Authorization: Bearer {'s' * 32}",)),
    "a token as a password": lambda it: it.having(Authorization=f"Basic {'s' * 32}"),
}
OF_NAMES: dict[tuple[str, str], Forge] = {
    ("build by a script", "a way in a node"): lambda it: replace(
        it, body=it.body.replace(b"alpha", b"../alpha")
    ),
    ("burn by a token", "a foreign Host"): OF_PEOPLE["a foreign Host"],
    ("burn by a token", "a way in a node"): lambda it: replace(
        it, body=it.body.replace(b"alpha", b"../alpha")
    ),
    ("burn by a token", "another name"): lambda it: replace(
        it, body=it.body.replace(b'm": "alpha', b'm": "beta')
    ),
    ("snapshot", "a way in a node"): lambda it: replace(it, body=it.body.replace(b"alpha", b"../../x")),
    ("burn", "a device for a card"): lambda it: carded(it, b"/dev/sda"),
    ("burn by a token", "a way to a card"): lambda it: carded(it, b"../cards/sd-1"),
}
FORGED: dict[tuple[str, str], Forge] = {
    **{(action, flaw): forge for action in ACTIONS for flaw, forge in OF_ALL.items()},
    **{(action, flaw): forge for action in PEOPLE for flaw, forge in OF_PEOPLE.items()},
    **{(action, flaw): forge for action in set(ACTIONS) - set(PEOPLE) for flaw, forge in OF_PROGRAMS.items()},
    **OF_NAMES,
}
SLOW = [(action, stops) for action in ACTIONS for stops in ("head", "body")]


def tokened(request: Asked, token: str) -> Asked:
    """With another token of a page."""
    body = re.sub(rb"csrf=[^&]*", b"csrf=" + token.encode(), request.body)
    return replace(request.having(X_CSRF_Token=token or None), body=body)


def carded(request: Asked, card: bytes) -> Asked:
    """With something else for the id of a card, which comes first in a body."""
    return replace(request, body=re.sub(rb"[0-9a-f]{16}", card, request.body, count=1))


def test_there_are_more_than_a_hundred_of_them() -> None:
    assert len(FORGED) + len(SLOW) > 150


@pytest.mark.parametrize(("action", "flaw"), sorted(FORGED), ids=[f"{a}, {b}" for a, b in sorted(FORGED)])
def test_a_forged_request_changes_nothing(site: Site, action: str, flaw: str) -> None:
    request = ACTIONS[action](site)
    forged = FORGED[action, flaw](request)
    assert forged != request
    before, noted = site.state(), newest(site)
    status = site.ask(forged)
    assert 400 <= status < 500, status
    assert status != 429, "it was not looked at"
    assert site.state() == before
    assert all(str(act["outcome"]).startswith("4") for act in acts(site.history) if int(act["id"]) > noted)


def newest(site: Site) -> int:
    return max((int(act["id"]) for act in acts(site.history, limit=1)), default=0)


def test_who_never_ends_a_request_changes_nothing(site: Site) -> None:
    requests = [replace(ACTIONS[action](site), stops=stops) for action, stops in SLOW]
    before = site.state()
    with ExitStack() as opened:
        slow = [opened.enter_context(site.connected(request)) for request in requests]
        for connection, request in zip(slow, requests, strict=True):
            connection.sendall(request.sent)
        assert {status_of(connection) for connection in slow} == {0, 408}
    assert site.state() == before
