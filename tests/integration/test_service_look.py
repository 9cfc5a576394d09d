"""The pages of classes, drift and history: a real browser, a real service, snapshots and images of a lab."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Locator, Page, Request, Route, expect

from pipeline.facts.show import stamp
from pipeline.history import audit, burns, events, jobs, rejoins
from pipeline.history.audit import Act
from pipeline.history.database import writing
from pipeline.history.events import Wanted
from pipeline.history.exports import Export, Exports
from pipeline.history.records import fitting
from pipeline.history.rejoins import Rejoin
from pipeline.machine import process
from pipeline.secret import Secret
from pipeline.service.app import OF_BUILDS, OF_BURNS
from pipeline.service.options import members
from pipeline.service.queries import PAGE
from tests.integration.test_graph import make_lab
from tests.support import snapshots
from tests.support.browser import Looker, hear, settled
from tests.support.history import BURN, event, today_or_yesterday
from tests.support.lab import Lab
from tests.support.lab_service import PROXY, SIGNED_IN, Served, serving

TOKENS = {"sentinel": "s" * 32, "watch": "w" * 32}
OPTIONS = replace(
    PROXY, admin=members(["bosses"], []), tokens={name: Secret(token) for name, token in TOKENS.items()}
)
ADMIN = SIGNED_IN | {"X-Forwarded-Groups": "bosses"}
KERNEL = "6.6.31-current-bcm2711"
PACKAGES = {f"package-{number:02}": "2" for number in range(PAGE + 5)}
"""So many that their drift takes two pages."""
TARGETS: dict[str, Any] = {"kernel": "6.1.0", "packages": dict.fromkeys(PACKAGES, "1")}
HOSTILE = "<script>alert(1)</script>\x1b[2J"
on_a_desk = pytest.mark.parametrize("looker", ["desktop"], indirect=True)
"""For what is the same on a phone."""


def said(node: str, number: int, age: timedelta = timedelta(minutes=5), **changes: Any) -> bytes:
    """A snapshot of a node that has the address of its file in the inventory."""
    addresses = [{"interface": "eth0", "address": f"192.0.2.{number}/24"}]
    about = {"addresses": addresses, "kernel": KERNEL, "card": None, "burn": None, **changes}
    return snapshots.written(snapshots.small(node, at=datetime.now(UTC) - age, **about))


def keep(lab: Lab, node: str, content: bytes) -> None:
    snapshots.put(lab.artifacts / "snapshots" / f"{node}.json", content)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """alpha was built twice and burned once; it drifts in much, beta in nothing, and gamma is silent."""
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden)
    text = (lab.inventory / "classes/plain.yaml").read_text()
    lab.write("classes/plain.yaml", f"{text}targets: {json.dumps(TARGETS)}\n")
    assert lab.metis("image", "--node", "alpha").code == 0
    lab.write("overlays/plain/root/etc/issue", "another\n")
    assert lab.metis("image", "--node", "alpha", "--node", "beta").code == 0
    keep(lab, "alpha", said("alpha", 1, packages=PACKAGES))
    keep(lab, "beta", said("beta", 2, **TARGETS | {"kernel": HOSTILE}))
    keep(lab, "gamma", said("gamma", 3, timedelta(days=60)))
    keep(lab, "stranger", said("stranger", 9))
    assert lab.metis("watch").code == 0
    keep(lab, "beta", said("beta", 2, **TARGETS))
    assert lab.metis("watch").code == 0
    history = lab.artifacts / "history.sqlite3"
    burned = event(kind="burn", node="alpha", klass="plain", verdict="failed", why=fitting(HOSTILE), code=1)
    burns.keep(history, [replace(BURN, event=burned)])
    with writing(history) as connection:
        events.note(connection, [replace(burned, kind="golden", node="", why="no such host", code=5)])
    now = datetime.now(UTC)
    rejoins.keep(history, Rejoin("alpha", stamp(now - timedelta(hours=3)), stamp(now), stamp(now)))
    job, _is_new = jobs.add(history, jobs.Wanted("image", "gamma", "ada"), now)
    jobs.claim(history, job.id, now)
    jobs.end(history, job.id, "failed", 5, fitting(HOSTILE), now)
    export(lab, now)
    for number in range(PAGE + 5):
        act = Act(f"{HOSTILE} {number}", "POST /nodes/{node}/build", "node=alpha", "303 See Other", "::1")
        audit.note(history, act, now - timedelta(days=2))
    audit.note(history, Act("ada", "POST /nodes/{node}/burn", "node=beta", "409 Conflict", "::1"), now)
    return lab


def export(lab: Lab, now: datetime) -> None:
    """One of alpha that is open; nobody fetches it."""
    exports = Exports(lab.artifacts / "history.sqlite3", lab.artifacts / "exports")
    until = stamp(now + timedelta(days=1))
    made = Export(
        "e" * 16, "alpha", "plain", "amd64", "c" * 64, "ada", stamp(now), until, 4, "a" * 64, 8, "b" * 64
    )
    exports.folder.mkdir(mode=0o700, parents=True)
    part = exports.folder / ".part"
    part.write_bytes(b"gzip")
    exports.add(part, made)


@pytest.fixture(scope="module")
def served(lab: Lab) -> Iterator[Served]:
    with serving(lab, OPTIONS) as there:
        there.wait_for_board()
        yield there


@pytest.fixture
def page(looker: Looker, served: Served) -> Iterator[Page]:
    with looker.page(served.url, extra_http_headers=ADMIN) as page:
        yield page


@pytest.fixture
def plain(looker: Looker, served: Served) -> Iterator[Page]:
    """A browser that runs no scripts."""
    with looker.page(served.url, extra_http_headers=ADMIN, java_script_enabled=False) as page:
        yield page


def line(page: Page, text: str | re.Pattern[str]) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


def deliver(served: Served, what: str, content: bytes = b"") -> None:
    """Ask the service as what sends snapshots, or has it look what changed."""
    token = TOKENS["sentinel" if what == "snapshot" else what]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = httpx.post(
        f"{served.url}/internal/sentinel/{what}", content=content, headers=headers, timeout=60
    )
    assert answer.is_success, answer.text


def builds(lab: Lab, node: str) -> list[int]:
    """The numbers of a node's builds, the newest first."""
    found = events.events(lab.artifacts / "history.sqlite3", Wanted(nodes=(node,), kind="build"))
    return [each.id for each in found]


# --------------------------------------------------------------------------------------------- all pages

NO_PAGES = {"/", "/burn", "/events", "/jobs/{number}/progress"}
"""Two lead elsewhere, one is a stream, and one a part of other pages."""


def addresses(lab: Lab) -> Iterator[str]:
    """One of each page that the application has, whoever adds one."""
    number = {"/jobs": 1, "/history/builds": builds(lab, "alpha")[0]}
    for route in (route for module in (*OF_BURNS, *OF_BUILDS) for route in module.router.routes):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()) and route.path not in NO_PAGES:
            home = route.path.partition("/{number}")[0]
            yield route.path.format(node="alpha", name="plain", number=number.get(home))


def test_every_page_is_one_that_all_can_use(page: Page, looker: Looker, lab: Lab) -> None:
    found = list(addresses(lab))
    assert len(found) > 15
    for address in found:
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        assert page.title() != "Metis"
        looker.keep(page, f"page{address.replace('/', '-')}")


def test_the_link_of_an_export_is_shown_this_once(page: Page, looker: Looker) -> None:
    page.goto("/nodes/alpha/exports")
    page.get_by_role("button", name="Show a link").click()
    expect(page.get_by_role("link", name="Open in Raspberry Pi Imager")).to_be_visible()
    looker.keep(page, "export-link")


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ({"forced_colors": "active"}, "/nodes"),
        ({"viewport": {"width": 320, "height": 256}}, "/history"),
        ({"reduced_motion": "reduce", "color_scheme": "dark"}, "/drift"),
    ],
    ids=["forced-colours", "zoomed", "still"],
)
@on_a_desk
def test_who_needs_a_page_otherwise_can_use_it(
    looker: Looker, served: Served, request: pytest.FixtureRequest, how: dict[str, Any], path: str
) -> None:
    with looker.page(served.url, extra_http_headers=ADMIN, **how) as page:
        page.goto(path)
        expect(page.get_by_role("rowheader").first).to_be_visible()
        looker.keep(page, request.node.callspec.id.rpartition("-desktop")[0] or request.node.callspec.id)


@on_a_desk
def test_on_paper_there_is_what_one_reads_and_no_buttons(page: Page) -> None:
    page.goto("/nodes")
    page.emulate_media(media="print")
    expect(page.get_by_role("rowheader").first).to_be_visible()
    expect(page.get_by_role("button", name="Build gamma")).to_be_hidden()
    expect(page.get_by_role("navigation", name="Pages", exact=True)).to_be_hidden()


# ------------------------------------------------------------------------------- what is asked for again


@pytest.fixture
def otherwise(page: Page) -> Page:
    """The nodes, of which others are told when they are asked for again."""
    page.goto("/nodes")
    html = page.request.get("/nodes", headers={"HX-Request": "true", "HX-Target": "table"}).text()
    page.route("**/nodes", lambda route: route.fulfill(body=html.replace("fresh", "otherwise")))
    return page


@on_a_desk
def test_what_is_pressed_is_not_replaced(otherwise: Page) -> None:
    otherwise.get_by_role("link", name="alpha", exact=True).hover()
    otherwise.mouse.down()
    hear(otherwise)
    otherwise.mouse.up()
    expect(otherwise).to_have_url("/nodes/alpha")


@on_a_desk
def test_what_came_while_somebody_pressed_is_shown_afterwards(otherwise: Page) -> None:
    otherwise.get_by_role("columnheader", name="Image").hover()
    otherwise.mouse.down()
    hear(otherwise)
    otherwise.mouse.up()
    expect(line(otherwise, "alpha")).to_contain_text("otherwise")


@on_a_desk
def test_an_event_is_heard_also_while_another_one_is_answered(otherwise: Page) -> None:
    asked: list[str] = []
    otherwise.on("request", lambda request: asked.append(request.url))
    hear(otherwise, "board", "jobs")
    assert len([url for url in asked if url.endswith("/nodes")]) > 1


@on_a_desk
@pytest.mark.parametrize(("path", "asks"), [("/nodes", "#table"), ("/drift", "#found")])
def test_a_filter_waits_for_what_was_asked_before_it_and_so_is_not_undone(
    page: Page, path: str, asks: str
) -> None:
    asked: list[str] = []
    before = []

    def note(request: Request) -> None:
        if request.resource_type == "xhr":
            asked.append(request.url)

    def filter_first(route: Route) -> None:
        page.get_by_role("searchbox").fill("alpha")
        page.get_by_role("searchbox").press("Enter")
        before.extend(asked)
        route.continue_()

    page.goto(path)
    page.route(f"**{path}", filter_first)
    page.on("request", note)
    page.evaluate(f"htmx.trigger('{asks}', 'sse:board')")
    expect(page).to_have_url(re.compile(r"\?q=alpha&"))
    assert before == [page.url.partition("?")[0]]


# ------------------------------------------------------------------------------------------- classes


def test_a_class_shows_its_nodes_what_they_run_and_what_they_should(page: Page) -> None:
    page.goto("/classes")
    expect(line(page, "plain")).to_contain_text("2 fresh")
    page.get_by_role("link", name="plain", exact=True).click()
    expect(page.get_by_role("heading", name="Class plain")).to_be_visible()
    expect(line(page, "containerd")).to_contain_text("2 of 2")
    expect(page.locator("#targets").get_by_text("6.1.0")).to_be_visible()
    expect(page.locator("#targets").get_by_text("classes/plain.yaml").first).to_be_visible()


def test_the_recommended_patch_is_one_that_git_takes(page: Page, looker: Looker, lab: Lab) -> None:
    page.goto("/classes")
    page.get_by_role("link", name="Recommend targets").click()
    patch = page.get_by_role("textbox", name="Copy it")
    text = patch.input_value()
    looker.keep(page, "recommended")
    assert "\n+targets: " in text
    file = lab.root / "targets.patch"
    file.write_text(text)
    process.run(["git", "apply", "--check", str(file)], cwd=lab.inventory)


def test_a_class_can_be_read_without_scripts(plain: Page) -> None:
    plain.goto("/classes/plain")
    plain.get_by_role("link", name="Which versions they are to run").click()
    expect(line(plain, "kernel")).to_contain_text("classes/plain.yaml")
    plain.goto("/classes")
    plain.get_by_role("link", name="Recommend targets").click()
    expect(plain.get_by_role("textbox", name="Copy it")).to_be_visible()


# --------------------------------------------------------------------------------------------- drift


def test_drift_is_shown_with_who_is_silent_and_who_is_a_stranger(page: Page, looker: Looker) -> None:
    page.goto("/drift")
    expect(page.get_by_role("status")).to_contain_text(f"{len(PACKAGES) + 1} warning")
    names = page.get_by_role("list").filter(has_text="gamma")
    expect(names.get_by_role("link", name="gamma")).to_be_visible()
    expect(page.get_by_text("stranger", exact=True)).to_be_visible()
    looker.keep(page, "drift")


def test_drift_over_time_is_a_picture_with_its_figures_beside_it(page: Page) -> None:
    page.goto("/drift")
    expect(page.get_by_role("img", name="Drift over time")).to_be_visible()
    page.get_by_text("Figures").click()
    day = re.compile("|".join(today_or_yesterday()))
    expect(line(page, day).last).to_contain_text(str(len(PACKAGES) + 1))


def test_findings_are_filtered_as_one_chooses(page: Page) -> None:
    page.goto("/drift")
    page.get_by_label("Kind").select_option("kernel")
    expect(page.locator("#lines tbody tr")).to_have_count(1)
    expect(line(page, "kernel")).to_contain_text("6.1.0")
    expect(page).to_have_url("/drift?q=&class=&severity=&kind=kernel")
    page.get_by_label("Node").fill("beta")
    expect(page.get_by_text("Nothing that was found is like that.")).to_be_visible()


@on_a_desk
def test_what_is_chosen_before_scripts_are_there_is_asked_for_once_they_are(page: Page) -> None:
    def choose_first(script: Route) -> None:
        page.get_by_label("Kind").select_option("kernel")
        page.get_by_label("Node").fill("ALP")
        script.continue_()

    page.route("**/htmx-2*.js", choose_first)
    page.goto("/drift")
    expect(page.locator("#lines tbody tr")).to_have_count(1)
    expect(page).to_have_url("/drift?q=ALP&class=&severity=&kind=kernel")


def test_findings_are_filtered_and_paged_without_scripts(plain: Page) -> None:
    plain.goto("/drift")
    plain.get_by_label("Kind").select_option("package")
    plain.get_by_role("button", name="Show").click()
    expect(plain).to_have_url("/drift?q=&class=&severity=&kind=package")
    expect(plain.locator("#lines tbody tr")).to_have_count(PAGE)
    plain.get_by_role("link", name="Next").click()
    expect(plain.locator("#lines tbody tr")).to_have_count(len(PACKAGES) - PAGE)
    plain.get_by_role("link", name="Previous").click()
    expect(plain.locator("#lines tbody tr")).to_have_count(PAGE)


def test_what_a_node_sends_is_shown_by_itself_and_the_filter_stays(
    page: Page, served: Served, lab: Lab
) -> None:
    page.goto("/drift")
    page.get_by_label("How grave").select_option("critical")
    expect(page.get_by_text("Nothing that was found is like that.")).to_be_visible()
    try:
        deliver(served, "snapshot", said("beta", 2, timedelta(0), **TARGETS, hostname=HOSTILE))
        deliver(served, "watch")
        expect(line(page, "hostname")).to_contain_text("<script>alert(1)</script>")
        expect(page.locator("#lines tbody tr")).to_have_count(1)
    finally:
        for file in (lab.artifacts / "snapshots" / "beta").glob("*.json"):
            file.unlink()
        deliver(served, "watch")


# ------------------------------------------------------------------------------------------- history


def test_what_happened_is_found_by_node_kind_and_how_it_ended(page: Page) -> None:
    page.goto("/history?kind=build")
    expect(page.get_by_role("cell", name="built").first).to_be_visible()
    page.get_by_text("How long it takes").click()
    expect(page.get_by_role("img", name="How long a build takes")).to_be_visible()
    page.get_by_label("What").select_option("burn")
    page.get_by_label("Node").fill("ALPH")
    page.get_by_label("How it ended").select_option("failed")
    expect(page).to_have_url("/history?q=ALPH&kind=burn&verdict=failed&since=")
    expect(page.locator("#found tbody tr")).to_have_count(1)
    expect(line(page, "burn")).to_contain_text("<script>alert(1)</script>")


@on_a_desk
def test_a_filter_that_changes_nothing_is_in_the_address_too(page: Page) -> None:
    page.goto("/history?kind=burn")
    for text in ("ALP", "ALPHA"):
        page.get_by_label("Node").fill(text)
        expect(page).to_have_url(f"/history?q={text}&kind=burn&verdict=&since=")


def test_what_failed_of_a_class_leads_to_it(page: Page) -> None:
    page.goto("/history?kind=golden")
    expect(line(page, "no such host")).to_contain_text("golden")
    page.locator("#found").get_by_role("link", name="class plain").click()
    expect(page).to_have_url(re.compile("/classes/plain$"))


def test_what_sentinels_showed_is_in_the_history(page: Page) -> None:
    page.goto("/drift")
    page.get_by_role("link", name="one by one").click()
    expect(line(page, "gamma")).to_contain_text("silent")
    expect(line(page, "mended").first).to_contain_text("beta")


def test_a_build_is_held_against_the_one_before(page: Page, lab: Lab) -> None:
    last, first = builds(lab, "alpha")
    page.goto("/history?q=alpha&kind=build")
    page.get_by_role("link", name=f"build {last} of alpha").click()
    expect(page.get_by_role("heading", name=f"Build {last} of alpha")).to_be_visible()
    expect(page.get_by_role("columnheader", name=str(first))).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="/etc/issue").first).to_contain_text("sha256")


def test_one_chooses_without_scripts_what_a_build_is_held_against(plain: Page, lab: Lab) -> None:
    last, first = builds(lab, "alpha")
    plain.goto(f"/history/builds/{first}")
    expect(plain.get_by_text("There is no build before it")).to_be_visible()
    plain.get_by_label("Compare with").select_option(str(last))
    plain.get_by_role("button", name="Compare").click()
    expect(plain.get_by_role("listitem").filter(has_text="/etc/issue").first).to_contain_text("sha256")


def test_rejoins_and_who_did_what_are_beside_it(page: Page) -> None:
    page.goto("/history")
    page.get_by_role("link", name="Rejoins").click()
    expect(page).to_have_url("/history/rejoins")
    expect(line(page, "alpha")).to_contain_text("3 hours")
    page.get_by_role("link", name="Who did what").click()
    expect(line(page, "409 Conflict")).to_contain_text("ada")
    page.get_by_label("How it ended").select_option("done")
    page.get_by_label("Who").fill("script")
    expect(page).to_have_url("/history/audit?who=script&what=&target=&outcome=done&since=")
    expect(line(page, "node=alpha").first).to_contain_text("<script>alert(1)</script>")
    expect(page.locator("#found tbody tr")).to_have_count(PAGE)
    page.get_by_label("Not older than").select_option("1d")
    expect(page.get_by_text("Nobody has changed anything like that from here.")).to_be_visible()


def test_who_did_what_is_filtered_and_paged_without_scripts(plain: Page) -> None:
    plain.goto("/history/audit")
    plain.get_by_label("Of which").fill("ALPHA")
    plain.get_by_label("How it ended").select_option("done")
    plain.get_by_role("button", name="Show").click()
    expect(plain).to_have_url("/history/audit?who=&what=&target=ALPHA&outcome=done&since=")
    expect(plain.locator("#found tbody tr")).to_have_count(PAGE)
    plain.get_by_role("link", name="Older").click()
    expect(plain.locator("#found tbody tr")).to_have_count(5)
    expect(plain.get_by_label("Of which")).to_have_value("ALPHA")
    plain.get_by_role("link", name="Newest").click()
    expect(plain.locator("#found tbody tr")).to_have_count(PAGE)


def test_it_can_be_filtered_with_the_keyboard_alone(page: Page) -> None:
    page.goto("/history")
    page.get_by_label("Node").focus()
    page.keyboard.type("alpha")
    page.keyboard.press("Enter")
    settled(page)
    expect(page.get_by_role("link", name="beta")).to_have_count(0)
    page.get_by_text("How long it takes").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("img", name="How long each build of alpha took")).to_be_visible()


def test_who_did_what_is_for_admins_alone(served: Served) -> None:
    assert served.client.get("/history/audit").status_code == 403
    assert "/history/audit" not in served.client.get("/history").text
    assert served.client.get("/history/audit", headers=ADMIN).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/classes/none", 404),
        ("/classes/none/targets", 404),
        (f"/classes/{quote('<script>alert(1)')}", 404),
        ("/drift?page=99999&severity=x&kind=y&class=z", 200),
        ("/drift?page=-1&q=%00%ff", 200),
        ("/history?kind=x&verdict=y&since=z&q=%27%3B--", 200),
        ("/history?before=1", 200),
        ("/history?before=0", 422),
        (f"/history?before={10**30}", 422),
        ("/history?before=x", 422),
        ("/history/rejoins?before=1&q=nobody", 200),
        ("/history/audit", 403),
        ("/history/audit?who=%00", 403),
        (f"/history/builds/{10**30}", 422),
        ("/history/builds/999999", 404),
        ("/history/builds/999999?with=1", 404),
        ("/history/builds/0", 422),
    ],
)
def test_whatever_is_asked_for_has_an_answer(served: Served, path: str, status: int) -> None:
    answer = served.client.get(path)
    assert (answer.status_code, "<script>alert" in answer.text) == (status, False)


def test_builds_of_two_nodes_are_not_held_against_each_other(served: Served, lab: Lab) -> None:
    (beta,), (alpha, _first) = builds(lab, "beta"), builds(lab, "alpha")
    answer = served.client.get(f"/history/builds/{alpha}?with={beta}")
    assert answer.status_code == 422
    assert "one of beta, not of alpha" in answer.text
