"""What `make release` makes: complete, reproducible, and a Metis wherever it is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
import yaml

from pipeline.machine import process
from pipeline.machine.process import run
from tests.support import goldens
from tests.support.goldens import sha256
from tests.support.lab import BIN, REPOSITORY, Lab
from tests.support.service import serving

pytestmark = [pytest.mark.slow]
TOKEN = "0123456789abcdef" * 2
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+) \\$", re.M)


class InstalledLab(Lab):
    """What the installed `metis init` made, with commands run there as the README of it has them."""

    @property
    def inventory(self) -> Path:
        return self.root

    def variables(self, extra: Mapping[str, str]) -> dict[str, str]:
        return {"METIS_SECRETS": f"plain:{self.root.parent / 'secrets'}", **self.environment, **extra}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published, and what it was tried in; `setup` is what runs these tests."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    words = ["make", "--old-file=setup", f"VENV={BIN.parent}", "release", f"DIST={folder}"]
    run(words, cwd=REPOSITORY, timeout=600, extra_environment=pip)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def lab(dist: Path) -> Lab:
    root, programs = dist.with_name("lab"), dist / ".venv/bin"
    run([programs / "metis", "init", root])
    built = {"METIS_CACHE": str(goldens.store_folder()), "METIS_INJECTOR": "direct"}
    return InstalledLab(root, built, programs=programs, folder=root)


@pytest.fixture(scope="module")
def built(lab: Lab, debian_golden: Path) -> Lab:
    """The same lab with the image of its example."""
    report = lab.doit("image:example")
    assert report.code == 0, report
    assert "image:example" in report.tasks("run")
    return lab


def test_the_wheel_holds_all_files_of_its_packages_and_nothing_else(wheel: Path) -> None:
    listed = "git ls-files -z --cached --others --exclude-standard pipeline metis_sentinel".split()
    ours = set(run(listed, cwd=REPOSITORY).out.decode().strip("\0").split("\0"))
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == ours
    assert {"pipeline/dodo.py", "pipeline/inventory/schema/node.schema.json"} <= names


def test_the_graph_in_the_wheel_is_the_one_at_a_glance(wheel: Path) -> None:
    assert ZipFile(wheel).read("pipeline/dodo.py") == (REPOSITORY / "dodo.py").read_bytes()


def test_the_same_commit_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """That of the release was made from the sdist, elsewhere: so nothing is missing there either."""
    time = run("git log -1 --format=%ct".split(), cwd=REPOSITORY).out.decode().strip()
    words = ["-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    run([BIN / "python", *words], cwd=REPOSITORY, extra_environment={"SOURCE_DATE_EPOCH": time})
    assert sha256(tmp_path / wheel.name) == sha256(wheel)


def test_the_bill_of_materials_is_what_was_locked_of_what_the_wheel_needs(dist: Path, wheel: Path) -> None:
    (file,) = dist.glob("*.cdx.json")
    said = json.loads(file.read_text())
    assert wheel.name.startswith(f"metis-{said['metadata']['component']['version']}-")
    found = {(_plain(part["name"]), part["version"]) for part in said["components"]}
    locked = set(PINNED.findall((REPOSITORY / "requirements.lock").read_text()))
    assert found <= locked
    names = {name for name, _ in found}
    assert {"click", "doit", "pyyaml"} <= names
    assert not {"pytest", "hatchling"} & names


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_editors_find_the_schemas_in_the_installed_wheel(lab: Lab) -> None:
    files = sorted(lab.root.rglob("*.yaml"))
    assert len(files) == 3
    for file in files:
        schema = file.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        assert "/dist/.venv/lib/" in str((file.parent / schema).resolve(strict=True))


def test_the_example_is_built_from_the_wheel_and_read_back(built: Lab) -> None:
    report = built.metis("verify", "--node", "example", "--json")
    assert report.code == 0, report
    said = json.loads(report.out)
    assert (said["differences"], said["not_compared"]) == ([], [])
    arch = yaml.safe_load((built.root / "classes/example.yaml").read_text())["arch"]
    assert json.loads(built.metis("config", "--node", "example", "--json").out)["arch"] == arch


def test_doit_and_metis_agree_that_the_image_is_up_to_date_then(built: Lab) -> None:
    assert "image:example" in built.doit("image:example").tasks("up to date")
    assert "image:example" in built.metis("image", "--node", "example").tasks("up to date")
    assert json.loads(built.metis("status", "--json").out)[0]["state"] == "fresh"


def test_a_night_finds_all_done(built: Lab) -> None:
    report = built.metis("nightly")
    assert report.code == 0, report


def test_the_service_has_its_pages_and_its_jobs_run(built: Lab, tmp_path: Path) -> None:
    """A job is a process of its own, that begins in the folder where the lab's own dodo.py is."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    by_token = {"Authorization": f"Bearer {TOKEN}"}
    with (
        serving(built, "--api-token-file", token) as service,
        httpx.Client(base_url=service.url, headers=by_token, timeout=60) as client,
    ):
        assert client.get("/static/metis.css").status_code == 200
        awaited(client, "/nodes", lambda answer: "example" in answer.text)
        asked = client.post("/api/v1/jobs", json={"kind": "image", "node": "example"})
        assert asked.status_code == 202, asked.text
        job = awaited(client, f"/api/v1/jobs/{asked.json()['id']}", lambda answer: answer.json()["ended_at"])
        assert job.json()["state"] == "done", job.text


def awaited(client: httpx.Client, path: str, is_it: Callable[[httpx.Response], object]) -> httpx.Response:
    """The first answer that is the one; the stream says when to look again."""
    with client.stream("GET", "/events") as stream:
        for _ in stream.iter_lines():
            answer = client.get(path)
            if is_it(answer):
                return answer
    raise AssertionError("the stream ended")


def test_the_sentinel_prints_a_snapshot_from_the_wheel(lab: Lab) -> None:
    said = run([lab.programs / "metis-sentinel"], extra_environment={"METIS_SENTINEL_OUT": ""}).out
    assert json.loads(said)["format"] >= 1


def test_a_folder_without_an_inventory_is_one_line(lab: Lab, tmp_path: Path) -> None:
    shutil.copy(lab.root / "dodo.py", tmp_path)
    done = process.run([lab.programs / "doit", "list"], cwd=tmp_path, check=False)
    assert done.code != 0
    assert "no inventory at" in done.err.decode()
    assert "Traceback" not in done.err.decode()
