"""What a cluster is given of a scheduler and workers: started as there are options, reaching each other."""

from __future__ import annotations

import re
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli import cli
from pipeline.machine import process
from pipeline.scheduler.access import scheduler_access

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes/scheduler"


@cache
def given() -> dict[str, Any]:
    """All objects, by kind and name."""
    documents = (each for file in FOLDER.glob("*.yaml") for each in yaml.safe_load_all(file.read_text()))
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in documents if "kind" in each}


def container(name: str) -> Any:
    (found,) = given()[f"Deployment/{name}"]["spec"]["template"]["spec"]["containers"]
    return found


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def test_a_worker_is_started_with_options_that_there_are() -> None:
    command, *words = container("metis-worker")["args"]
    assert options(words) <= {name for option in cli.commands[command].params for name in option.opts}


def test_the_scheduler_is_started_with_options_that_dask_has_and_over_tls() -> None:
    found = container("metis-scheduler")
    said = process.run([sys.executable, "-m", *found["command"], "--help"]).out.decode()
    assert options(found["args"]) <= set(re.findall(r"--[a-z-]+", said))
    assert "--protocol=tls" in found["args"]
    assert [word for word in found["args"] if word.startswith("--dashboard")] == [
        "--dashboard-address=127.0.0.1:8787"
    ]


def test_workers_find_the_scheduler_by_certificates_that_are_mounted(tmp_path: Path) -> None:
    worker = container("metis-worker")
    variables = {each["name"]: each["value"] for each in worker["env"]}
    (service,) = given()["Service/metis-scheduler"]["spec"]["ports"]
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (tmp_path / name).touch()
    folder = "/etc/metis/scheduler"
    moved = {name: value.replace(folder, str(tmp_path)) for name, value in variables.items()}
    access = scheduler_access(moved, tmp_path)
    assert access is not None
    assert access.certificates is not None
    assert access.address == f"tls://metis-scheduler:{service['port']}"
    assert folder in {mount["mountPath"] for mount in worker["volumeMounts"]}


def test_the_nightly_run_asks_as_the_workers_are_told() -> None:
    """By the patch that the page shows."""
    page = (FOLDER.parents[2] / "docs/scheduler.md").read_text()
    (block,) = re.findall(r"((?:^    (?=apiVersion).*\n)(?:^    .*\n)+)", page, re.M)
    pod = yaml.safe_load(textwrap.dedent(block))["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (asking,), worker = pod["containers"], container("metis-worker")
    assert [each for each in asking["env"] if each not in worker["env"]] == []
    assert [each for each in asking["volumeMounts"] if each not in worker["volumeMounts"]] == []


def test_who_asks_reaches_both_by_the_ports_that_they_listen_on() -> None:
    ports = {
        port["containerPort"]
        for name in ("metis-scheduler", "metis-worker")
        for port in container(name)["ports"]
    }
    let_in = given()["NetworkPolicy/metis-scheduler"]["spec"]["ingress"][0]["ports"]
    let_out = given()["NetworkPolicy/metis-to-scheduler"]["spec"]["egress"][0]["ports"]
    assert ports == {each["port"] for each in let_in} == {each["port"] for each in let_out}
    assert (
        f"--port={container('metis-worker')['ports'][0]['containerPort']}"
        in container("metis-worker")["args"]
    )
