"""What operators do on the pages of nodes and cards: a real browser, a real service, real images."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from pipeline.history import rejoins
from pipeline.history.rejoins import Rejoin
from pipeline.machine.journal import EVERY
from tests.integration.test_graph import make_lab, node_text
from tests.support import goldens, snapshots
from tests.support.browser import Looker, hear
from tests.support.lab import Lab, class_text
from tests.support.service import Running, serving

MIB = 1 << 20
TOKEN = "s" * 32


class Slow:
    """A server of one file that gives most of it slowly, and the rest when it is told to go on."""

    PAUSE = 2 * EVERY
    """Seconds, so long that a journal has a line of what came after them."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        half, most = len(body) // 2, len(body) * 3 // 4
        self.go_on = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:half])
                time.sleep(outer.PAUSE)
                self.wfile.write(body[half:most])
                outer.go_on.wait()
                with suppress(OSError):  # whoever was cancelled takes no more
                    self.wfile.write(body[most:])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/golden.img"


@contextmanager
def slowly(body: bytes) -> Iterator[Slow]:
    slow = Slow(body)
    thread = threading.Thread(target=slow.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield slow
    finally:
        slow.go_on.set()
        slow.server.shutdown()
        slow.server.server_close()
        thread.join()


on_a_desk = pytest.mark.parametrize("looker", ["desktop"], indirect=True)
"""For what is the same on a phone, where nothing of it is to be seen."""


@pytest.fixture
def lab(tmp_path: Path, tiny_golden: Path) -> Lab:
    lab = make_lab(tmp_path, tiny_golden)
    lab.environment["METIS_SENTINEL_TOKEN"] = TOKEN
    (tmp_path / "cards").mkdir()
    card(lab, "one")
    return lab


@pytest.fixture
def service(lab: Lab) -> Iterator[Running]:
    with serving(lab, "--card-files", lab.root / "cards") as service:
        yield service


@pytest.fixture
def page(looker: Looker, service: Running) -> Iterator[Page]:
    with looker.page(service.url) as page:
        nodes_are_there(page)
        yield page


@pytest.fixture
def slow(lab: Lab, tiny_golden: Path) -> Iterator[Slow]:
    """The golden of delta's class comes from a server that stops in the middle."""
    with slowly(tiny_golden.read_bytes()) as slow:
        text = class_text(tiny_golden, goldens.sha256(tiny_golden))
        lab.write("classes/far.yaml", text.replace(f"file:{tiny_golden}", slow.url))
        lab.write("nodes/delta.yaml", node_text("far", 4))
        yield slow


def card(lab: Lab, name: str, size: int = 64 * MIB) -> Path:
    """A file that stands for a card; one of the same name is another card from then on."""
    file, new = lab.root / "cards" / name, lab.root / "new"
    with new.open("wb") as made:
        made.truncate(size)
    new.replace(file)
    return file


def nodes_are_there(page: Page) -> None:
    page.goto("/nodes")
    expect(page.get_by_role("link", name="alpha", exact=True)).to_be_visible()


def build(page: Page, node: str) -> None:
    page.goto(f"/nodes/{node}")
    page.get_by_role("button", name="Build the image").click()


def fill_in(page: Page, node: str, *, chosen: str, typed: str) -> None:
    """Go the three steps of a burn."""
    page.goto(f"/nodes/{node}/burn")
    page.get_by_role("radio", name=chosen).check()
    page.get_by_label("to go on").fill(typed)
    page.get_by_role("button", name=f"Burn {node}").click()


def state(page: Page, word: str) -> None:
    expect(page.get_by_role("status").get_by_text(word, exact=True)).to_be_visible()


def of(page: Page, node: str) -> Locator:
    """The line of a node in a table."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=node))


def push(service: Running, content: bytes) -> None:
    """Send a snapshot, as the sentinel of a node does."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = httpx.post(f"{service.url}/internal/sentinel/snapshot", content=content, headers=headers)
    assert answer.status_code == 201, answer.text


def to_a_card(page: Page, looker: Looker, lab: Lab) -> None:
    """From the job that built delta: burn it, and see it on its card."""
    page.get_by_role("link", name="Burn a card").click()
    page.get_by_role("radio", name="one").check()
    page.get_by_label("to go on").fill("delta")
    looker.keep(page, "burn")
    page.get_by_role("button", name="Burn delta").click()
    page.wait_for_url("**/jobs/*")
    state(page, "done")
    looker.keep(page, "job")
    page.get_by_role("link", name="Cards", exact=True).click()
    tile = page.get_by_role("listitem").filter(has_text="one")
    expect(tile.locator("dl").get_by_role("link", name="delta", exact=True)).to_be_visible()
    expect(tile.get_by_text("On no card yet")).to_have_count(0)
    looker.keep(page, "cards")
    looked = lab.metis("cards", "--inspect", str(lab.root / "cards/one"))
    assert looked.out.startswith(f"{lab.root}/cards/one: delta, burned ")


def and_back(page: Page, looker: Looker, lab: Lab) -> None:
    """Have gamma built, and cancel that."""
    page.get_by_role("link", name="Nodes", exact=True).click()
    page.get_by_role("button", name="Build gamma").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/jobs/*")
    state(page, "cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.get_by_role("button", name="Build again")).to_be_visible()
    looker.keep(page, "cancelled")
    assert not (lab.artifacts / "gamma.img").exists()
    assert not lab.leftovers()


# ------------------------------------------------------------------------------------------- an operator


def test_an_operator_builds_and_burns_looks_back_cancels_and_sees_drift(
    slow: Slow, service: Running, looker: Looker, page: Page, lab: Lab, tiny_golden: Path
) -> None:
    """All that issue 10 promises of the pages, by one person, from one page to the next as links lead."""
    nodes_are_there(page)
    looker.keep(page, "nodes")
    page.get_by_role("button", name="Build delta").click()
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("value", re.compile("[5-7][0-9]"))
    looker.keep(page, "building")
    page.get_by_role("link", name="Nodes", exact=True).click()
    of(page, "delta").get_by_role("link", name="build running").click()
    slow.go_on.set()
    state(page, "done")
    assert (lab.artifacts / "delta.img").is_file()

    to_a_card(page, looker, lab)
    page.get_by_role("link", name="History", exact=True).click()
    for what in ("burn burned", "build built"):
        expect(page.get_by_role("row").filter(has_text=what)).to_contain_text("delta")
    looker.keep(page, "happened")

    elsewhere = [{"interface": "eth0", "address": "192.0.2.13/24"}]
    push(service, snapshots.written(snapshots.small("delta", at=datetime.now(UTC), addresses=elsewhere)))
    # Another golden, which comes as far as the first one did.
    with slowly(tiny_golden.read_bytes() + bytes(MIB)) as other:
        text = class_text(tiny_golden, hashlib.sha256(other.body).hexdigest())
        lab.write("classes/other.yaml", text.replace(f"file:{tiny_golden}", other.url))
        and_back(page, looker, lab)
    page.get_by_role("link", name="Nodes", exact=True).click()
    expect(of(page, "delta")).to_contain_text("warning")
    page.get_by_role("link", name=re.compile("drifting")).click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="delta", exact=True).click()
    found = page.get_by_role("row").filter(has_text="address")
    expect(found).to_contain_text("192.0.2.4/24")
    expect(found).to_contain_text("192.0.2.13/24")
    looker.keep(page, "drift-of-a-node")


# ------------------------------------------------------------------------------------------- nodes


def test_a_build_that_fails_says_why(page: Page, looker: Looker, lab: Lab) -> None:
    lab.write("classes/other.yaml", class_text(lab.root / "nowhere", "0" * 64))
    build(page, "gamma")
    state(page, "failed")
    expect(page.get_by_role("status").get_by_text("golden:other: ")).to_be_visible()
    looker.keep(page, "failed")


def test_a_node_shows_its_plan_and_every_file(page: Page, looker: Looker) -> None:
    page.goto("/nodes/alpha")
    expect(page.get_by_text("192.0.2.1/24")).to_be_visible()
    page.get_by_text("Files of the node").click()
    entry = page.get_by_role("row").filter(has_text="/etc/hostname")
    expect(entry).to_contain_text("0644")
    expect(entry).to_contain_text("identity")
    looker.keep(page, "node")


@on_a_desk
def test_a_node_shows_when_it_came_back(lab: Lab, page: Page) -> None:
    times = ("2026-11-28T08:00:00Z", "2026-11-28T08:05:00Z", "2026-11-28T08:07:00Z")
    rejoins.keep(lab.artifacts / "history.sqlite3", Rejoin("alpha", *times))
    page.goto("/nodes/alpha")
    expect(page.get_by_text("burned 2026-11-28 08:00")).to_be_visible()


@on_a_desk
def test_the_sums_are_filters_that_the_address_remembers(page: Page, lab: Lab) -> None:
    page.get_by_role("searchbox", name="Name").fill("ALP")
    expect(page.get_by_role("link", name="1 never built")).to_be_visible()
    page.get_by_role("link", name="1 never built").click()
    expect(page).to_have_url("/nodes?q=ALP&state=never+built&page=1")
    expect(page.get_by_role("link", name="1 never built")).to_have_attribute("aria-current", "true")
    page.reload()
    expect(page.get_by_role("searchbox", name="Name")).to_have_value("ALP")
    expect(page.get_by_role("rowheader")).to_have_count(1)


@on_a_desk
def test_what_is_as_it_was_stays_in_the_page_and_what_is_otherwise_is_put_in(
    page: Page, looker: Looker
) -> None:
    html = page.request.get("/nodes", headers={"HX-Request": "true", "HX-Target": "table"}).text()
    page.route("**/nodes", lambda route: route.fulfill(body=html))
    hear(page)
    mark = of(page, "alpha").element_handle()
    hear(page)
    assert mark.evaluate("line => line.isConnected")
    page.unroute("**/nodes")
    other = page.context.new_page()
    other.goto("/nodes")
    other.get_by_role("button", name="Build alpha").click()
    expect(of(page, "alpha")).to_contain_text("fresh")
    assert not mark.evaluate("line => line.isConnected")


@on_a_desk
def test_a_page_says_that_the_service_is_gone_and_takes_it_back(
    page: Page, looker: Looker, service: Running
) -> None:
    gone = page.get_by_text("Nothing is heard of the service")
    expect(gone).to_be_hidden()
    service.stop()
    expect(gone).to_be_visible()
    service.start()
    expect(gone).to_be_hidden()
    # The browser itself and htmx say so too, on the console.
    looker.faults[:] = [each for each in looker.faults if "net::ERR_" not in each and "Event]" not in each]


def test_a_cluster_is_asked_about_a_node_where_one_is_named(lab: Lab, looker: Looker) -> None:
    lab.environment["KUBECONFIG"] = "/nowhere"
    k3s = "k3s: {role: agent, server: 'https://192.0.2.10:6443'}\n"
    lab.write("nodes/beta.yaml", node_text("plain", 2) + k3s)
    with serving(lab) as service, looker.page(service.url) as page:
        nodes_are_there(page)
        page.goto("/nodes/alpha")
        page.get_by_role("link", name="Ask the cluster").click()
        expect(page.get_by_text("It has no role in a cluster")).to_be_visible()
        page.goto("/nodes/beta")
        page.get_by_role("link", name="Ask the cluster").click()
        expect(page.locator("#preflight").get_by_role("alert")).to_contain_text("/nowhere")
        looker.keep(page, "preflight")
        page.goto("/nodes/beta/burn")
        page.get_by_text("Burn without asking the cluster").click()
        expect(page.get_by_label("Skip the preflight")).not_to_be_checked()
        looker.keep(page, "burn-unasked")


def test_what_another_build_changed_is_shown(page: Page, looker: Looker, lab: Lab) -> None:
    build(page, "alpha")
    state(page, "done")
    lab.write("nodes/alpha.yaml", node_text("plain", 77))
    build(page, "alpha")
    changes = page.locator("#changes")
    expect(changes.get_by_text("/etc/netplan/60-metis.yaml", exact=True)).to_be_visible()
    expect(changes.get_by_label("Lines of /etc/netplan")).to_contain_text("192.0.2.77")
    looker.keep(page, "changes")


# ------------------------------------------------------------------------------------------- cards


def test_a_burn_is_refused_where_another_name_is_typed(page: Page, looker: Looker, lab: Lab) -> None:
    fill_in(page, "alpha", chosen="one", typed="beta")
    expect(page.get_by_role("alert")).to_contain_text("another node's")
    expect(page.get_by_role("radio", name="one")).to_be_checked()
    expect(page.get_by_label("to go on")).to_be_focused()
    looker.keep(page, "wrong-name")
    page.goto("/jobs")
    expect(page.get_by_text("Nothing was asked for yet.")).to_be_visible()
    assert not any((lab.root / "cards/one").read_bytes())


@on_a_desk
def test_a_burn_is_refused_where_another_card_was_put_in(
    page: Page, looker: Looker, service: Running, lab: Lab
) -> None:
    """Without scripts, as they would show the other card before the button is pressed."""
    with looker.page(service.url, java_script_enabled=False) as plain:
        plain.goto("/nodes/alpha/burn")
        plain.get_by_role("radio", name="one").check()
        plain.get_by_label("to go on").fill("alpha")
        file = card(lab, "one")
        plain.get_by_role("button", name="Burn alpha").click()
        expect(plain.get_by_role("alert")).to_contain_text("not plugged in any more")
        expect(plain.get_by_role("radio", name="one")).not_to_be_checked()
    page.goto("/jobs")
    expect(page.get_by_text("Nothing was asked for yet.")).to_be_visible()
    assert not any(file.read_bytes())


@on_a_desk
def test_a_browser_keeps_no_choice_of_a_card_for_another_visit(page: Page) -> None:
    page.goto("/nodes/alpha/burn")
    page.get_by_role("radio", name="one").check()
    page.goto("/jobs")
    page.go_back()
    expect(page.get_by_role("radio", name="one")).not_to_be_checked()


@on_a_desk
def test_a_card_appears_when_it_is_put_in_and_goes_when_it_is_pulled_out(page: Page, lab: Lab) -> None:
    page.goto("/cards")
    expect(page.get_by_role("heading", name="one")).to_be_visible()
    other = card(lab, "two")
    expect(page.get_by_role("heading", name="two")).to_be_visible()
    other.unlink()
    expect(page.get_by_role("heading", name="two")).to_have_count(0)


def test_a_burn_that_goes_on_is_shown_with_its_card(slow: Slow, page: Page, looker: Looker, lab: Lab) -> None:
    fill_in(page, "delta", chosen="one", typed="delta")
    page.wait_for_url("**/jobs/*")
    page.goto("/cards")
    tile = page.get_by_role("listitem").filter(has_text="one")
    expect(tile.get_by_role("link", name="Burn of delta")).to_be_visible()
    expect(tile.get_by_role("progressbar")).to_be_visible()
    looker.keep(page, "burning")
    page.goto("/nodes/alpha/burn")
    expect(page.get_by_role("radio", name="one")).to_be_disabled()
    slow.go_on.set()
    expect(page.get_by_role("radio", name="one")).to_be_enabled()


@on_a_desk
def test_from_a_card_one_goes_to_the_burn_of_a_node(page: Page) -> None:
    page.goto("/cards")
    page.get_by_label("Burn this node").fill("beta")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/nodes/beta/burn?card=*")
    expect(page.get_by_role("radio", name="one")).to_be_checked()


@on_a_desk
@pytest.mark.usefixtures("page")
def test_all_of_it_works_without_scripts(looker: Looker, service: Running) -> None:
    with looker.page(service.url, java_script_enabled=False) as plain:
        fill_in(plain, "alpha", chosen="one", typed="alpha")
        plain.wait_for_url("**/jobs/*")
        state(plain, "done")
        plain.goto("/nodes/alpha")
        plain.get_by_role("link", name="every file").click()
        expect(plain.get_by_text("192.0.2.1/24")).to_be_visible()


@on_a_desk
def test_it_can_be_done_with_the_keyboard_alone(page: Page) -> None:
    page.goto("/nodes/alpha/burn")
    expect(page.get_by_role("radio", name="one")).to_be_visible()
    page.get_by_role("link", name="alpha").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("alpha")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    state(page, "done")


@on_a_desk
def test_a_name_that_no_node_has_is_no_page(page: Page) -> None:
    answer = page.goto("/nodes/%3Cscript%3E/burn")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("alert")).to_have_text("the inventory has no node <script>")
