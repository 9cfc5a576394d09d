"""The API of a real service: what it says of a lab, queues and refuses, all held to its document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

from pipeline.history import rejoins
from pipeline.history.rejoins import Rejoin
from pipeline.secret import Secret
from pipeline.service.app import create_app
from pipeline.service.options import Options, members
from pipeline.service.service import Service
from tests.integration.test_graph import make_lab, node_text
from tests.support import snapshots
from tests.support.history import today_or_yesterday
from tests.support.lab import Lab
from tests.support.lab_service import PROXY, SIGNED_IN, Served, serving

TOKEN = "a" * 32
OPTIONS = replace(PROXY, admin=members(["bosses"], []), tokens={"api": Secret(TOKEN)})
ADMIN = SIGNED_IN | {"X-Forwarded-Groups": "bosses"}
BUILD = {"kind": "image", "node": "alpha"}
REJOIN = Rejoin("gamma", None, "2026-11-28T08:05:00Z", "2026-11-28T08:07:00Z")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """A lab of three nodes, of which gamma was heard of and drifts, and a card that is a file.

    beta is of a cluster whose kubeconfig nobody can read.
    """
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden)
    lab.environment["KUBECONFIG"] = "/nowhere"
    k3s = "k3s: {role: agent, server: 'https://192.0.2.10:6443'}\n"
    lab.write("nodes/beta.yaml", node_text("plain", 2) + k3s)
    said = snapshots.small("gamma", at=datetime.now(UTC) - timedelta(minutes=5), hostname="other")
    snapshots.put(lab.artifacts / "snapshots/gamma.json", said)
    (lab.root / "cards").mkdir()
    (lab.root / "cards/card").touch()
    assert lab.metis("watch").code == 0
    rejoins.keep(lab.artifacts / "history.sqlite3", REJOIN)
    return lab


@pytest.fixture(scope="module")
def served(lab: Lab) -> Iterator[Served]:
    with serving(lab, replace(OPTIONS, card_files=str(lab.root / "cards"))) as there:
        there.wait_for_board()
        yield there


@pytest.fixture(scope="module")
def api(served: Served) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=60) as client:
        yield client


def got(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int) -> str:
    """Why something was refused, by a document as RFC 9457 has it."""
    said = got(answer, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert said["status"] == status
    return str(said["detail"])


def over(served: Served, api: httpx.Client, number: int) -> Any:
    """A job when it is over; the stream says when to look again."""
    with served.client.stream("GET", "/events") as stream:
        for _ in stream.iter_lines():
            job = got(api.get(f"/jobs/{number}"))
            if job["ended_at"]:
                return job
    raise AssertionError("the stream ended")


# -------------------------------------------------------------------------------------------- the lab


def test_nodes_are_listed_with_their_images(api: httpx.Client) -> None:
    page = got(api.get("/nodes"))
    assert [(each["node"], each["class"]) for each in page["nodes"]] == [
        ("alpha", "plain"),
        ("beta", "plain"),
        ("gamma", "other"),
    ]
    assert page["has_more"] is False


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"q": "ALP"}, ["alpha"]),
        ({"class": "other"}, ["gamma"]),
        ({"state": "fresh", "q": "gamma"}, []),
        ({"page": 2}, []),
        ({"q": "%"}, []),
    ],
)
def test_nodes_are_found(api: httpx.Client, query: dict[str, Any], names: list[str]) -> None:
    assert [each["node"] for each in got(api.get("/nodes", params=query))["nodes"]] == names


def test_a_node_has_its_drift(api: httpx.Client) -> None:
    node = got(api.get("/nodes/gamma"))
    assert node["drift"]["critical"] == 1
    assert [each["kind"] for each in node["findings"] if each["severity"] == "critical"] == ["hostname"]


def test_a_node_has_a_plan(api: httpx.Client) -> None:
    plan = got(api.get("/nodes/alpha/plan"))
    assert [each["subject"] for each in plan["steps"]][-1] == "image of alpha"


def test_drift_is_found_by_what_it_is_of(api: httpx.Client) -> None:
    found = got(api.get("/drift", params={"severity": "critical", "class": "other"}))
    assert [(each["node"], each["kind"]) for each in found["findings"]] == [("gamma", "hostname")]
    assert got(api.get("/drift", params={"node": "alpha"}))["findings"] == []


def test_classes_are_summed_up(api: httpx.Client) -> None:
    other, plain = got(api.get("/classes"))
    assert (other["name"], other["nodes"], other["drift"]["critical"]) == ("other", 1, 1)
    assert (plain["name"], plain["nodes"]) == ("plain", 2)


def test_a_class_tells_what_its_nodes_run_and_should(api: httpx.Client) -> None:
    other = got(api.get("/classes/other"))
    assert [name for names in other["images"].values() for name in names] == ["gamma"]
    kernel = next(each for each in other["versions"] if each["what"] == "kernel")
    assert (other["heard"], kernel["nodes"]) == (1, 1)
    assert got(api.get("/classes/other/targets")) == []
    recommended = got(api.get("/recommended"))
    assert recommended["patch"] == ""
    assert [line.partition(":")[0] for line in recommended["complaints"]] == ["class other"]


@pytest.mark.parametrize(
    ("query", "counts"), [({}, 1), ({"node": "gamma"}, 1), ({"class": "plain"}, 0), ({"kind": "kernel"}, 0)]
)
def test_drift_is_counted_by_day(api: httpx.Client, query: dict[str, str], counts: int) -> None:
    days = got(api.get("/drift/history", params=query))
    assert {each["day"] for each in days} <= {*today_or_yesterday()}
    assert days[0]["findings"]["critical"] == counts


def test_a_node_without_a_role_has_nothing_to_ask_its_cluster(api: httpx.Client) -> None:
    assert got(api.get("/nodes/alpha/preflight")) == {"node": "alpha", "refused": False, "checks": []}


def test_a_cluster_that_cannot_be_asked_is_a_problem(api: httpx.Client) -> None:
    assert "/nowhere" in refused(api.get("/nodes/beta/preflight"), 503)


def test_rejoins_are_told(api: httpx.Client) -> None:
    (found,) = got(api.get("/history/rejoins", params={"node": "gamma"}))["rejoins"]
    assert found == {"id": found["id"], **asdict(REJOIN)}
    assert got(api.get("/history/rejoins", params={"before": found["id"]}))["rejoins"] == []
    assert got(api.get("/history/rejoins", params={"node": "alpha"}))["rejoins"] == []


def test_what_is_not_there_is_a_problem(api: httpx.Client) -> None:
    for path in ("/nodes/delta", "/nodes/delta/plan", "/jobs/99999", "/jobs/99999/log", "/nothing"):
        refused(api.get(path), 404)


@pytest.mark.parametrize(
    "path",
    ["/jobs/0", "/jobs/x", f"/jobs/{2**63}", "/jobs?before=-1", "/nodes?page=0", "/nodes?state=rotten"],
)
def test_what_makes_no_sense_is_a_problem(api: httpx.Client, path: str) -> None:
    refused(api.get(path), 422)


@pytest.mark.parametrize(
    ("path", "status"), [("/jobs/x", 422), (f"/jobs/{2**70}", 422), ("/jobs/99999", 404)]
)
def test_people_get_a_page_for_the_same(served: Served, path: str, status: int) -> None:
    answer = served.client.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "Back to the nodes" in answer.text


# --------------------------------------------------------------------------------------------- jobs


def test_a_node_is_built_and_burned(served: Served, api: httpx.Client, lab: Lab) -> None:
    answer = api.post("/jobs", json=BUILD)
    number = got(answer, 202)["id"]
    assert answer.headers["location"] == f"/api/v1/jobs/{number}"
    built = over(served, api, number)
    assert (built["state"], built["who"], built["code"]) == ("done", "api token", 0)
    assert "next: put it on a card" in " ".join(got(api.get(f"/jobs/{number}/log"))["notes"])
    (card,) = (each for each in got(api.get("/cards")) if each["kind"] == "file")
    asked = {"kind": "burn", "node": "alpha", "confirm": "alpha", "card": card["id"]}
    burned = over(served, api, got(api.post("/jobs", json=asked), 202)["id"])
    assert (burned["state"], burned["card"]) == ("done", str(lab.root / "cards/card"))
    refused(api.post("/jobs", json=asked), 409)
    assert [each["id"] for each in got(api.get("/jobs", params={"node": "alpha"}))["jobs"]] == [
        burned["id"],
        number,
    ]
    refused(api.post(f"/jobs/{number}/cancel"), 409)


def test_what_was_built_and_burned_is_told(
    served: Served, api: httpx.Client, lab: Lab, tmp_path: Path
) -> None:
    card = tmp_path / "card"
    card.touch()
    assert lab.metis("burn", "--node", "gamma", "--device", str(card), "--yes").code == 0
    lab.write("overlays/other/root/etc/issue", "another\n")
    assert lab.metis("image", "--node", "gamma").code == 0
    events = got(api.get("/history", params={"node": "gamma"}))["events"]
    after, burned, before = (each for each in events if each["kind"] != "sentinel")
    assert [each["verdict"] for each in (after, burned, before)] == ["built", "burned", "built"]
    assert got(api.get(f"/history/burns/{burned['id']}"))["path"] == str(card)
    assert len(got(api.get(f"/history/builds/{after['id']}"))["golden"]) == 64
    found = got(api.get("/history/difference", params={"before": before["id"], "after": after["id"]}))
    assert [(each["what"], each["path"]) for each in found["base"]] == [("changed", "/etc/issue")]
    refused(api.get(f"/history/burns/{after['id']}"), 404)
    refused(api.get("/history/difference", params={"before": before["id"], "after": 99999}), 404)


def test_a_burn_asks_the_cluster_unless_an_admin_says_not_to(
    served: Served, api: httpx.Client, lab: Lab
) -> None:
    (card,) = (each for each in got(api.get("/cards")) if each["kind"] == "file")
    wanted = {"kind": "burn", "node": "beta", "confirm": "beta", "card": card["id"]}
    asked = over(served, api, got(api.post("/jobs", json=wanted), 202)["id"])
    assert (asked["skips_preflight"], asked["code"]) == (False, 2)
    assert "/nowhere" in asked["said"]
    wanted["skips_preflight"] = True
    assert "role admin" in refused(api.post("/jobs", json=wanted), 403)
    by_admin = {**ADMIN, "X-CSRF-Token": csrf_of(served, "/nodes/beta/burn")}
    answer = httpx.post(f"{served.url}/api/v1/jobs", json=wanted, headers=by_admin)
    burned = over(served, api, got(answer, 202)["id"])
    assert burned["skips_preflight"] is True
    assert "golden:plain" not in notes(api, asked["id"])
    assert "golden:plain" in notes(api, burned["id"])  # it got as far as the build, which lacks a token
    who = {"who": "ada", "target": "node=beta without preflight"}
    lines = got(httpx.get(f"{served.url}/api/v1/history/audit", params=who, headers=ADMIN))["acts"]
    assert [(each["what"], each["target"], each["outcome"]) for each in lines] == [
        ("POST /api/v1/jobs", "kind=burn node=beta without preflight", "202 Accepted")
    ]


def notes(api: httpx.Client, number: int) -> str:
    return "\n".join(got(api.get(f"/jobs/{number}/log"))["notes"])


def csrf_of(served: Served, path: str) -> str:
    """The token of a page, for the same name."""
    text = served.client.get(path, headers=ADMIN).text
    match = re.search(r'name="csrf" value="([^"]+)"', text)
    assert match is not None, text
    return match[1]


def test_who_may_not_skip_a_preflight_is_not_offered_to(served: Served) -> None:
    page = "/nodes/beta/burn"
    assert "skips_preflight" not in served.client.get(page).text
    assert "skips_preflight" in served.client.get(page, headers=ADMIN).text
    form = {"csrf": csrf_of(served, page), "confirm": "beta", "card": "0" * 16, "skips_preflight": "true"}
    assert served.client.post(page, data=form).status_code == 403
    assert served.client.post(page, data=form, headers=ADMIN).status_code == 409


# ------------------------------------------------------------------------------------------ the audit


def test_the_audit_is_for_admins_and_not_for_the_token(served: Served, api: httpx.Client) -> None:
    refused(api.get("/history/audit"), 403)
    refused(served.client.get("/api/v1/history/audit"), 403)
    assert got(served.client.get("/api/v1/history/audit", headers=ADMIN))["has_more"] is False


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"who": "API", "target": "node=nobody"}, ["404 Not Found"]),
        ({"who": "api", "target": "node=nobody", "outcome": "refused", "since": "1d"}, ["404 Not Found"]),
        ({"target": "node=nobody", "outcome": "done"}, []),
        ({"target": "node=nobody", "what": "cancel"}, []),
        ({"target": "node=nobody", "before": "1"}, []),
    ],
    ids=str,
)
def test_the_audit_is_found_by_programs_and_people(
    served: Served, api: httpx.Client, query: dict[str, str], found: list[str]
) -> None:
    """What one asks for is in it before the answer, so each case may make the line that it looks for."""
    before = httpx.get(f"{served.url}/api/v1/history/audit", params={"target": "nobody"}, headers=ADMIN)
    if not got(before)["acts"]:
        refused(api.post("/jobs", json={"kind": "image", "node": "nobody"}), 404)
    lines = got(served.client.get("/api/v1/history/audit", params=query, headers=ADMIN))["acts"]
    assert [each["outcome"] for each in lines] == found
    page = served.client.get("/history/audit", params=query, headers=ADMIN).text
    assert page.count('<td data-label="Ended">') == len(found)


@pytest.mark.parametrize("since", ["0d", "1y", "d", "-1d", "99999d", "1d ", "²d"])
def test_an_age_that_is_none_is_a_problem(served: Served, since: str) -> None:
    refused(served.client.get("/api/v1/history/audit", params={"since": since}, headers=ADMIN), 422)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"confirm": "beta"}, 422),
        ({"confirm": "Alpha"}, 422),
        ({"node": "delta", "confirm": "delta"}, 404),
        ({"node": "../alpha", "confirm": "../alpha"}, 404),
        ({"card": "0" * 16}, 409),
        ({"card": "/dev/sda"}, 422),
        ({"card": ""}, 422),
        ({"path": "/dev/sda"}, 422),
        ({"skips_preflight": True}, 403),
        ({"skips_preflight": "yes"}, 422),
        ({"kind": "image"}, 422),
        ({"kind": "wipe"}, 422),
        ({"node": 7}, 422),
        ({"node": ""}, 422),
    ],
    ids=str,
)
def test_a_burn_that_does_not_fit_is_refused(api: httpx.Client, change: dict[str, Any], status: int) -> None:
    before = got(api.get("/jobs"))
    (card,) = (each for each in got(api.get("/cards")) if each["kind"] == "file")
    wanted = {"kind": "burn", "node": "alpha", "confirm": "alpha", "card": card["id"]}
    refused(api.post("/jobs", json=wanted | change), status)
    assert got(api.get("/jobs")) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"\xff", 400),
        (b'{"kind":' * 5000, 400),
        (b"[" * 60_000, 400),
        (b" " * (65 << 10), 413),
    ],
    ids=["empty", "half", "a list", "null", "no text", "half and deep", "deep", "large"],
)
def test_a_body_that_is_none_is_refused(api: httpx.Client, body: bytes, status: int) -> None:
    refused(api.post("/jobs", content=body, headers={"Content-Type": "application/json"}), status)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {'b' * 32}"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        (SIGNED_IN, 403),
        (SIGNED_IN | {"X-Forwarded-Groups": "guests"}, 403),
    ],
    ids=["nobody", "another token", "no bearer", "no token of a page", "no role"],
)
def test_who_may_not_add_jobs_is_told_so(served: Served, headers: dict[str, str], status: int) -> None:
    refused(httpx.post(f"{served.url}/api/v1/jobs", json=BUILD, headers=headers), status)


def test_the_document_says_every_answer(api: httpx.Client) -> None:
    document = got(api.get("/openapi.json"))
    assert all(path.startswith("/api/v1/") for path in document["paths"])
    for methods in document["paths"].values():
        for method, operation in methods.items():
            assert {"408", "409", "413"} <= operation["responses"].keys() or method == "get"
            assert {"401", "403", "414", "422", "429", "431", "503"} <= operation["responses"].keys()
            assert operation["operationId"].isalpha()
            for status, answer in operation["responses"].items():
                wanted = "application/json" if status < "400" else "application/problem+json"
                assert list(answer["content"]) == [wanted], json.dumps(answer)


def operations() -> dict[str, Any]:
    """What the document has, by the names that it gives them."""
    app = create_app(Service(Options(), {}, Path("/nowhere")))
    schema = schemathesis.openapi.from_dict(app.openapi())
    found: Iterable[Any] = schema.get_all_operations()
    return {each.ok().definition.raw["operationId"]: each.ok() for each in found}


OPERATIONS = operations()
ASKED_SOMETHING = [
    name for name, each in OPERATIONS.items() if each.query or each.path_parameters or each.body
]
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def is_as_the_document_says(case: Any, served: Served) -> None:
    """By the token for the API, but for what is for admins."""
    by_token = {"Authorization": f"Bearer {TOKEN}"}
    is_for_admins = case.operation.definition.raw["operationId"] == "listActs"
    answer = case.call(base_url=served.url, headers=ADMIN if is_for_admins else by_token)
    case.validate_response(answer, checks=CHECKS)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - ASKED_SOMETHING))
def test_what_is_asked_nothing_answers_as_the_document_says(served: Served, name: str) -> None:
    is_as_the_document_says(OPERATIONS[name].Case(), served)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", ASKED_SOMETHING)
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_answer_is_as_the_document_says(
    served: Served, name: str, mode: GenerationMode, data: st.DataObject
) -> None:
    """Whatever is sent, no answer is an error of the service, or one that the document does not have."""
    is_as_the_document_says(data.draw(OPERATIONS[name].as_strategy(generation_mode=mode)), served)
