"""`metis facts` and `metis watch` as an operator runs them: what they say, skip, keep and give back."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.machine import process
from tests.support import snapshots
from tests.support.lab import BIN, REPOSITORY, Lab, Report
from tests.support.waiting import PATIENCE

NODES = ("titan-13", "titan-15", "titan-17")
CLASS = "# Pis.\narch: arm64\nos: debian\njournald: {SystemMaxUse: 200M}\n"
NODE = "class: pi\nnetwork: {{interface: eth0, address: 192.0.2.{}/24}}\n"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.write("classes/pi.yaml", CLASS)
    for name in NODES:
        lab.write(f"nodes/{name}.yaml", NODE.format(name[-2:]))
    return lab


def said(name: str, age: timedelta = timedelta(hours=1), **changes: Any) -> bytes:
    """A snapshot of a node that is just what the inventory says, but for its card, which is an older one."""
    about = {
        "addresses": [{"interface": "eth0", "address": f"192.0.2.{name[-2:]}/24"}],
        "packages": {"openssl": "3.0.15", "curl": "7.88"},
        **changes,
    }
    return snapshots.written(snapshots.snapshot(name, at=datetime.now(UTC) - age, **about))


def keep(lab: Lab, name: str, **changes: Any) -> Path:
    """Put a snapshot where nodes' snapshots are looked for."""
    file = lab.artifacts / "snapshots" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(said(name, **changes))
    return file


@pytest.fixture
def heard(lab: Lab) -> Lab:
    """All nodes said what they should."""
    for name in NODES:
        keep(lab, name)
    return lab


def findings(report: Report) -> list[tuple[str, str, str]]:
    assert report.code == 0, report
    found = json.loads(report.out)["classes"]["pi"]["findings"]
    return [(each["node"], each["kind"], each["severity"]) for each in found if each["severity"] != "info"]


def facts(lab: Lab, *words: str) -> Report:
    return lab.metis("facts", *words)


def test_a_lab_without_snapshots_is_told_where_they_come_from(lab: Lab) -> None:
    report = facts(lab)
    assert (report.code, report.out) == (2, "")
    assert "metis-sentinel makes them" in report.err
    assert len(report.err.splitlines()) == 1


def test_all_nodes_are_summarised_by_class(heard: Lab) -> None:
    report = facts(heard)
    assert report.code == 0, report
    assert report.out.startswith("pi: 3 of 3 nodes heard of\n  kernel      6.12.58-current-bcm2711  3 of 3\n")
    assert report.err == ""


def test_drift_is_what_the_inventory_says_otherwise(heard: Lab) -> None:
    keep(heard, "titan-15", kernel="6.1", addresses=[])
    assert findings(facts(heard, "--json")) == [
        ("titan-15", "address", "warning"),
        ("titan-15", "kernel", "warning"),
    ]


def test_an_edit_of_the_inventory_counts_at_once(heard: Lab) -> None:
    assert findings(facts(heard, "--json")) == []
    heard.write("nodes/titan-13.yaml", NODE.format(99))
    assert findings(facts(heard, "--json")) == [("titan-13", "address", "warning")]
    heard.write("nodes/titan-13.yaml", NODE.format(13))
    heard.write("classes/pi.yaml", CLASS + "hostname: other\n")
    assert [kind for _, kind, _ in findings(facts(heard, "--json"))] == ["hostname"] * 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"{",
        lambda _: b"",
        lambda _: b"\xff\n" * 9,
        lambda text: text[:-9],
        lambda text: text.partition(b"\n")[2],
        lambda text: text.replace(b'"disks": []', b'"disks": [7]'),
        lambda text: text.replace(b'"files": {', b'"files": 7, "x": {'),
        lambda text: text.replace(b"192.0.2.13", b"192.0.2.99"),
    ],
    ids=[
        "half",
        "empty",
        "bytes",
        "truncated",
        "no hash",
        "wrong deep inside",
        "wrong types",
        "another value",
    ],
)
def test_what_is_remembered_may_be_spoilt(heard: Lab, spoil: Callable[[bytes], bytes]) -> None:
    before = facts(heard, "--json")
    (memory,) = heard.artifacts.glob(".state/expected-*")
    written = memory.read_bytes()
    memory.write_bytes(spoil(written))
    assert memory.read_bytes() != written
    assert findings(facts(heard, "--json")) == findings(before)


def test_a_node_that_the_inventory_makes_no_sense_of_hides_no_other(heard: Lab) -> None:
    heard.write("nodes/titan-13.yaml", "class: pi\nnetwork: 7\n")
    keep(heard, "titan-15", addresses=[])
    report = facts(heard, "--json")
    assert report.code == 2
    assert "nodes/titan-13.yaml:2: network" in report.err
    assert json.loads(report.out)["classes"]["pi"]["findings"][0]["node"] == "titan-15"


def test_what_cannot_be_remembered_is_no_error(heard: Lab) -> None:
    before = facts(heard, "--json")
    (memory,) = heard.artifacts.glob(".state/expected-*")
    memory.unlink()
    memory.mkdir()
    assert findings(facts(heard, "--json")) == findings(before)


def broken_class(lab: Lab) -> None:
    """A class that nobody can make sense of, with a node that says something all the same."""
    lab.write("classes/pc.yaml", CLASS + "nonsense: 1\n")
    lab.write("nodes/titan-20.yaml", NODE.format(20).replace("pi", "pc"))
    keep(lab, "titan-20")


def test_a_class_that_makes_no_sense_hides_no_recommendation_for_others(heard: Lab) -> None:
    broken_class(heard)
    report = facts(heard, "--recommend")
    assert report.code == 2
    assert "+++ b/classes/pi.yaml" in report.out
    assert "classes/pc.yaml:5: nonsense" in report.err


def test_a_watch_sees_the_nodes_of_which_the_inventory_makes_sense(heard: Lab) -> None:
    broken_class(heard)
    keep(heard, "titan-15", addresses=[])
    report = heard.metis("watch")
    assert report.code == 0
    assert "+ warning  titan-15  address" in report.out
    assert "titan-20: classes/pc.yaml:5: nonsense" in report.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (said("titan-13")[:-9], '"titan-13.json" is no JSON, or not all of it'),
        (said("titan-13", format=2), '"titan-13.json" is of format 2, and this Metis reads 1: upgrade Metis'),
        (b'{"a": "' + b"x" * (50 << 20) + b'"}', "is larger than 4 MiB"),
        (said("titan-13", age=timedelta(days=-365 * 64)), "which has not come"),
    ],
    ids=["truncated", "of a newer format", "50 MB", "of 2090"],
)
def test_what_cannot_be_used_is_a_line_and_the_rest_is_summarised(
    heard: Lab, content: bytes, words: str
) -> None:
    (heard.artifacts / "snapshots/titan-13.json").write_bytes(content)
    report = facts(heard)
    assert report.code == 0
    assert words in report.err
    assert len(report.err.splitlines()) == 1
    assert "pi: 2 of 3 nodes heard of" in report.out


def test_one_node_is_shown_in_full(heard: Lab) -> None:
    report = facts(heard, "--node", "titan-13")
    assert report.code == 0
    assert "board            Raspberry Pi 4 Model B Rev 1.5" in report.out
    data = json.loads(facts(heard, "--node", "titan-13", "--json").out)
    assert data["snapshot"]["packages"] == {"openssl": "3.0.15", "curl": "7.88"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--node", "titan-99"), 2, "no node titan-99"),
        (("--since", "yesterday"), 2, "write it as 12h, 30d, or a date as 2026-11-01"),
        (("--since", "9999-99-99"), 2, "write it as 12h, 30d"),
        (("--node", "titan-13", "--recommend"), 2, "ask one of them"),
        (("--snapshots", "/nowhere\x1b[2J"), 2, "no snapshots in /nowhere\\x1b[2J"),
        (("--snapshots", "/" + "x" * 256), 2, "no snapshots in /xxx"),
    ],
    ids=["unknown node", "no time", "no date", "two questions", "no place", "no name"],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    heard: Lab, words: tuple[str, ...], code: int, said: str
) -> None:
    report = facts(heard, *words)
    assert (report.code, report.out) == (code, "")
    assert said in report.err
    assert len(report.err.splitlines()) == 1


def test_a_node_that_never_said_anything_is_told_apart_from_one_that_is_unknown(heard: Lab) -> None:
    (heard.artifacts / "snapshots/titan-13.json").unlink()
    report = facts(heard, "--node", "titan-13")
    assert report.code == 1
    assert "look whether metis-sentinel runs there" in report.err


@pytest.mark.parametrize(("since", "heard_of"), [("12h", 2), ("30d", 3), ("2020-01-01", 3)])
def test_what_is_older_than_since_does_not_count(heard: Lab, since: str, heard_of: int) -> None:
    keep(heard, "titan-13", age=timedelta(days=2))
    assert f"pi: {heard_of} of 3 nodes heard of" in facts(heard, "--since", since).out


@pytest.mark.parametrize(("change", "code"), [({}, 0), ({"kernel": "6.1"}, 1)], ids=["none", "drift"])
def test_scripts_can_ask_for_an_exit_code(heard: Lab, change: dict[str, str], code: int) -> None:
    keep(heard, "titan-13", **change)
    assert facts(heard, "--exit-code").code == code


def test_a_package_is_looked_up(heard: Lab) -> None:
    keep(heard, "titan-15", packages={"openssl": "3.0.14"})
    assert facts(heard, "--package", "openssl").out.splitlines()[1:] == [
        "pi     3.0.15   2      titan-13, titan-17",
        "pi     3.0.14   1      titan-15",
    ]


# ---------------------------------------------------------------------------------- recommended targets


def single(lab: Lab) -> None:
    """The same inventory in one file."""
    lab.environment["METIS_INVENTORY"] = str(lab.inventory / "lab.yaml")
    nodes = "".join(
        f"  {name}: {{class: pi, network: {{interface: eth0, address: 192.0.2.{name[-2:]}/24}}}}\n"
        for name in NODES
    )
    lab.write("lab.yaml", f"classes:\n  pi:\n    arch: arm64\n    os: debian\nnodes:\n{nodes}")


@pytest.mark.parametrize("lay_out", [lambda _lab: None, single], ids=["a folder", "one file"])
def test_the_patch_applies_with_git_and_the_inventory_is_valid(
    heard: Lab, lay_out: Callable[[Lab], None]
) -> None:
    lay_out(heard)
    keep(heard, "titan-15", kernel="6.1")
    patch = facts(heard, "--recommend")
    assert patch.code == 0, patch
    process.run(["git", "init", "--quiet"], cwd=heard.inventory)
    process.run(["git", "apply", "--check", "-"], cwd=heard.inventory, stdin=patch.out.encode())
    process.run(["git", "apply", "-"], cwd=heard.inventory, stdin=patch.out.encode())
    config = heard.metis("config", "--node", "titan-13", "--json")
    assert config.code == 0, config
    assert json.loads(config.out)["targets"] == {
        "kernel": "6.12.58-current-bcm2711",
        "k3s": "v1.34.2+k3s1",
        "containerd": "2.1.5-k3s1",
        "runc": "1.3.3",
        "packages": {"curl": "7.88", "openssl": "3.0.15"},
    }
    assert facts(heard, "--recommend").out == ""
    assert findings(facts(heard, "--json")) == [("titan-15", "kernel", "warning")]


def test_a_class_of_the_sick_is_not_recommended_what_they_run(heard: Lab) -> None:
    for name in NODES[:2]:
        keep(heard, name, failed_units=["k3s-agent.service"])
    report = facts(heard, "--recommend")
    assert (report.code, report.out) == (0, "")
    assert "class pi: 1 of 3 nodes are healthy, and" in report.err


# --------------------------------------------------------------------------------------- what changed


def test_a_second_look_says_only_what_changed(heard: Lab) -> None:
    assert "= class pi: kernel: nothing -> 6.12.58-current-bcm2711\n" in heard.metis("watch").out
    assert heard.metis("watch").out == "nothing changed\n"
    keep(heard, "titan-15", kernel="6.1", packages={"curl": "7.88"})
    lines = heard.metis("watch").out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "+ warning  titan-15  kernel",
        "+ info  titan-15  package openssl",
    ]
    keep(heard, "titan-15")
    assert heard.metis("watch").out.splitlines() == [
        "- warning  titan-15  kernel",
        "- info  titan-15  package openssl",
    ]


def test_recommendations_have_a_history(heard: Lab) -> None:
    heard.metis("watch")
    for name in NODES:
        keep(heard, name, kernel="6.6")
    heard.metis("watch")
    rows = json.loads(heard.metis("watch", "--history", "--json").out)
    kernels = [(row["version"], row["until"] is None) for row in rows if row["item"] == "kernel"]
    assert kernels == [("6.12.58-current-bcm2711", False), ("6.6", True)]


def test_without_a_look_there_is_no_history(lab: Lab) -> None:
    assert json.loads(lab.metis("watch", "--history", "--json").out) == []
    assert not (lab.artifacts / "history.sqlite3").exists()


def test_the_history_is_written_ahead_so_that_readers_do_not_wait(heard: Lab) -> None:
    heard.metis("watch")
    with closing(sqlite3.connect(heard.artifacts / "history.sqlite3")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("interval", ["0m", "soon", "-1h"])
def test_an_interval_is_an_age(heard: Lab, interval: str) -> None:
    report = heard.metis("watch", f"--interval={interval}")
    assert report.code == 2
    assert "write it as 90m, 12h or 1d" in report.err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_watch_goes_on_until_it_is_stopped(heard: Lab, how: signal.Signals) -> None:
    words = [str(BIN / "metis"), "watch", "--interval", "1d"]
    environment = {**os.environ, **heard.variables({})}
    with subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("+ ")
        child.send_signal(how)
        assert child.wait(PATIENCE) == 0
    assert heard.metis("watch").out == "nothing changed\n"
