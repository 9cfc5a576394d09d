"""A key under its old name, through the graph and at the keyboard: told of, and refused from its last day on.

The commands run in children that declare an old name of their own, as whoever renames a key does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.machine import process
from tests.support.lab import REPOSITORY, Lab, Report

CHILD = """
import sys
from pipeline.inventory.schema_files import contents
contents()["render/storage.schema.json"]["properties"]["storage"] = {
    "$ref": "#/properties/longhorn",
    "deprecated": True,
    "x-renamed": {"to": "longhorn", "until": sys.argv.pop(1)},
}
if sys.argv[1] == "doit":
    from pipeline import dodo
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain
    sys.exit(DoitMain(ModuleTaskLoader(dodo)).run(sys.argv[2:]))
from pipeline.cli import main
main(sys.argv[2:])
"""
NOW, OVER = "2999-12-31", "2020-12-31"
TOLD = "nodes/old.yaml:3: storage: is now called longhorn; the old name is understood until"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.write("classes/pi.yaml", "arch: arm64\nos: debian\n")
    for number, (name, key) in enumerate({"old": "storage", "new": "longhorn"}.items(), 1):
        disk = f"{{uuid: 0a1b2c3d-0000-4000-8000-12345678900{number}, path: /srv/longhorn}}"
        network = f"{{interface: eth0, address: 192.0.2.{number}/24, gateway: 192.0.2.254}}"
        lab.write(f"nodes/{name}.yaml", f"class: pi\nnetwork: {network}\n{key}: {{disks: [{disk}]}}\n")
    return lab


def run(lab: Lab, until: str, *words: str) -> Report:
    done = process.run(
        [sys.executable, "-c", CHILD, until, *words],
        cwd=REPOSITORY,
        check=False,
        extra_environment=lab.variables({}),
    )
    return Report(done.code, done.out.decode(), done.err.decode())


def test_the_graph_tells_of_an_old_name_in_each_run_and_does_no_more_for_it(lab: Lab) -> None:
    manifests = {"manifest:old", "manifest:new"}
    for expected in (manifests, set()):
        report = run(lab, NOW, "doit", "manifest")
        assert report.code == 0, report
        assert report.err.count(f"{TOLD} {NOW}") == 1
        assert report.tasks("run", "manifest:") == expected


def test_what_was_made_from_an_old_name_does_not_hide_that_its_time_is_over(lab: Lab) -> None:
    assert run(lab, NOW, "doit", "manifest").code == 0
    for _ in range(2):
        report = run(lab, OVER, "doit", "-c", "manifest")
        assert report.code != 0
        assert report.tasks("failed") == {"manifest:old"}
        assert any(f"{TOLD} {OVER}" in line for line in report.failures)


def test_an_old_name_is_as_good_as_the_new_one_until_it_is_a_fault_of_the_inventory(lab: Lab) -> None:
    before = run(lab, NOW, "metis", "config", "--node", "old")
    assert before.code == 0, before
    assert "longhorn:" in before.out
    assert "storage:" not in before.out
    after = run(lab, OVER, "metis", "config", "--node", "old")
    assert after.code == 2, after
    assert after.err.startswith(f"metis: {TOLD} {OVER}")
