"""`metis gui` where nothing is that Windows lacks: finished images are shown and burned, nothing is built."""

from __future__ import annotations

import http.cookiejar
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pipeline.machine import process
from pipeline.raw import record
from pipeline.steps.artifacts import bmap_of, receipt_of
from tests.unit.test_without_posix import MIB, PATH, ROOT, SLOT, Host, make_host

NODE = "titan-13"


@dataclass
class Gui:
    """A running `metis gui`, and the browser that has opened its link."""

    host: Host
    url: str
    child: subprocess.Popen[str]
    browser: urllib.request.OpenerDirector

    def get(self, path: str) -> str:
        return str(self.browser.open(f"{self.url}{path}", timeout=60).read().decode())

    def post(self, path: str, **fields: str) -> str:
        """Send a form as the pages have it; give where it led."""
        page = self.get(f"/nodes/{NODE}/burn")
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)
        assert csrf
        data = urlencode({"csrf": csrf[1], **fields}).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Origin": self.url})
        return str(self.browser.open(request, timeout=60).url).removeprefix(self.url)

    def api(self, path: str) -> Any:
        return json.loads(self.get(f"/api/v1{path}"))

    def waited_for(self, kind: str, is_so: Any) -> Any:
        """What is so once something of a kind was told often enough."""
        with self.browser.open(f"{self.url}/events", timeout=60) as stream:
            while not (found := is_so()):
                while f"event: {kind}" not in stream.readline().decode():
                    pass
        return found

    def burn(self) -> int:
        """Have the card burned; the number of the job."""
        (card,) = self.api("/cards")
        assert (card["path"], card["content"]) == (PATH, "not known")
        place = self.post(f"/nodes/{NODE}/burn", confirm=NODE, card=card["id"])
        return int(place.removeprefix("/jobs/"))

    def is_like(self, number: int, *states: str) -> Any:
        job = self.api(f"/jobs/{number}")
        return job if job["state"] in states else None


def status(browser: urllib.request.OpenerDirector, url: str) -> int:
    try:
        return int(browser.open(url, timeout=60).status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gui]:
    host = make_host(tmp_path_factory.mktemp("windows"))
    artifacts = Path(host.environment["METIS_ARTIFACTS"])
    artifacts.mkdir()
    for file in (host.image, bmap_of(host.image), receipt_of(host.image)):
        shutil.copy2(file, artifacts)
    (artifacts / "snapshots").mkdir()
    with subprocess.Popen(
        host.words("gui"),
        cwd=ROOT,
        env=process.environment(host.environment),
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stderr is not None
            assert child.stderr.readline() == "opened in the browser; Ctrl-C ends it\n"
            page = Path(Path(host.environment["METIS_TEST_SHOWN"]).read_text()).read_text()
            link = re.search(r"url=(http://127.0.0.1:\d+/\?token=[^\"]+)", page)
            assert link
            browser = urllib.request.build_opener(
                urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
            )
            assert status(browser, link[1]) == 200
            assert status(urllib.request.build_opener(), link[1]) == 403  # the link opens once
            found = Gui(host, link[1].partition("/?")[0], child, browser)
            found.waited_for("board", lambda: found.api("/nodes")["nodes"])
            yield found
        finally:
            child.kill()


def test_the_images_that_are_there_are_shown(gui: Gui) -> None:
    board = gui.api("/nodes")
    (node,) = board["nodes"]
    assert board["complaints"] == []
    assert (node["node"], node["state"], node["why"]) == (NODE, "finished", "")
    page = gui.get("/nodes")
    assert NODE in page
    assert "Nothing is built on Windows" in page
    assert "/drift" not in page


def test_what_needs_a_build_is_not_offered_and_is_refused_with_the_reason(gui: Gui) -> None:
    page = gui.get(f"/nodes/{NODE}")
    assert f"/nodes/{NODE}/burn" in page
    assert not [word for word in ("/build", "/exports", "/plan", "/preflight", "/changes") if word in page]
    assert "Nothing is built on Windows" in page
    for path in ("/drift", "/classes", f"/nodes/{NODE}/plan", f"/nodes/{NODE}/exports"):
        assert status(gui.browser, f"{gui.url}{path}") == 404
    with pytest.raises(urllib.error.HTTPError, match="409"):
        gui.post(f"/nodes/{NODE}/build")


def test_a_card_is_offered_with_its_drive_letter(gui: Gui) -> None:
    assert ">E:" in gui.get("/cards")
    assert ", E:" in gui.get(f"/nodes/{NODE}/burn")


def test_a_burn_goes_to_the_card_that_is_plugged_in_and_into_the_history(gui: Gui) -> None:
    number = gui.burn()
    job = gui.waited_for("jobs", lambda: gui.is_like(number, "done", "failed", "cancelled"))
    assert (job["state"], job["said"][-19:]) == ("done", "insert and power on"), job
    about = record.parse(gui.host.card.read_bytes()[SLOT : SLOT + 4096])
    assert about is not None
    assert about["node"] == NODE
    (event, *_) = gui.api("/history")["events"]
    assert (event["kind"], event["node"], event["verdict"]) == ("burn", NODE, "burned")
    assert "burned" in gui.get("/history")


def test_a_burn_shows_how_far_it_is_and_cancelled_leaves_no_card_that_boots(gui: Gui) -> None:
    gui.host.gate.touch()
    try:
        number = gui.burn()
        gui.waited_for("jobs", lambda: gui.is_like(number, "running"))
        while "<progress" not in gui.get(f"/jobs/{number}/progress"):
            assert gui.is_like(number, "running")
        assert gui.post(f"/jobs/{number}/cancel") == f"/jobs/{number}"
        job = gui.waited_for("jobs", lambda: gui.is_like(number, "done", "failed", "cancelled"))
    finally:
        gui.host.gate.unlink(missing_ok=True)
    assert (job["state"], job["said"]) == ("cancelled", "interrupted; nothing half-made counts as done")
    assert gui.host.card.read_bytes()[:MIB] == bytes(MIB)


def test_a_command_that_builds_is_refused_by_name(gui: Gui) -> None:
    said = gui.host.metis("image", "--node", NODE)
    assert said.code == 2
    assert said.err == b"metis: metis image is not to be had on Windows: run it where images are built\n"
