"""Nights of a lab of twelve nodes: what is built, what stays when something fails, and what is told of it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.machine import durable
from tests.support import goldens
from tests.support.lab import QUICK_INJECTOR, Lab, Report, class_text

pytestmark = pytest.mark.slow

CLASSES = ("ash", "elm", "fir", "oak")
NODES = {f"{name}-{number}": name for name in CLASSES for number in range(3)}


def make_lab(root: Path, golden: Path, classes: tuple[str, ...] = CLASSES) -> Lab:
    """Classes with an overlay each, and three nodes of each class."""
    lab = Lab(root, {"METIS_INJECTOR": QUICK_INJECTOR, "METIS_CACHE": str(root / "cache")})
    sha256 = goldens.sha256(golden)
    for name in classes:
        lab.write(f"classes/{name}.yaml", class_text(golden, sha256, f"root_overlay: overlays/{name}/root\n"))
        lab.write(f"overlays/{name}/root/etc/issue", f"{name}\n")
    for number, (name, klass) in enumerate(NODES.items(), 1):
        if klass in classes:
            lab.write(f"nodes/{name}.yaml", node_text(klass, number))
    return lab


def node_text(klass: str, number: int) -> str:
    return (
        f"class: {klass}\nnetwork: {{interface: eth0, address: 192.0.2.{number}/24, gateway: 192.0.2.254}}\n"
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """A lab after its first night; each test leaves it with all images up to date."""
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden)
    said = lab.metis("nightly")
    assert said.code == 0, said
    assert said.tasks("run", "image:") == {f"image:{name}" for name in NODES}
    assert results(lab) == dict.fromkeys(NODES, "built")
    return lab


@pytest.fixture
def small(tmp_path: Path, tiny_golden: Path) -> Lab:
    """A lab of three nodes in which nothing is built yet."""
    return make_lab(tmp_path, tiny_golden, ("ash",))


ASHES = {name for name, klass in NODES.items() if klass == "ash"}


def reports(lab: Lab) -> list[Path]:
    return sorted((lab.artifacts / "nightly").glob("*.json"))


def last(lab: Lab) -> dict[str, object]:
    """The report of the last night, for machines."""
    found: dict[str, object] = json.loads(reports(lab)[-1].read_bytes())
    return found


def nodes(lab: Lab) -> dict[str, dict[str, object]]:
    """The report of the last night on each node."""
    found = json.loads(reports(lab)[-1].read_bytes())["nodes"]
    return {each["node"]: each for each in found}


def results(lab: Lab) -> dict[str, object]:
    return {name: about["result"] for name, about in nodes(lab).items()}


def metrics(file: Path) -> dict[tuple[str, str], float]:
    return {
        (sample.name.removeprefix("metis_nightly_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }


def state(lab: Lab, node: str) -> tuple[object, ...]:
    """An image with what lies beside it: what differs where any of it was written anew."""
    files = [lab.artifacts / f"{node}{ending}" for ending in (".img", ".img.bmap", ".receipt.json")]
    about = [file.stat() for file in files]
    return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in about)


def quiet(lab: Lab) -> None:
    """No image is left to be made; after a failure the graph looks again at what needs no making."""
    before = {image: image.stat().st_ino for image in lab.artifacts.glob("*.img")}
    said = lab.metis("nightly")
    assert said.code == 0, said
    assert set(results(lab).values()) == {"skipped"}
    assert {image: image.stat().st_ino for image in lab.artifacts.glob("*.img")} == before


# ---------------------------------------------------------------------------------- what is rebuilt


def test_the_second_night_builds_nothing_and_still_reports(lab: Lab) -> None:
    before = len(reports(lab)), [state(lab, name) for name in NODES]
    said = lab.metis("nightly")
    assert said.code == 0
    assert not said.tasks("run")
    assert (len(reports(lab)), [state(lab, name) for name in NODES]) == (before[0] + 1, before[1])
    assert results(lab) == dict.fromkeys(NODES, "skipped")
    assert re.fullmatch(r"nightly \S+Z: built 0, skipped 12, failed 0; \S+ s, 0\.0 MiB built\n", said.out)
    assert (lab.artifacts / "nightly/latest.txt").read_text() == said.out


def test_after_an_overlay_changed_its_class_is_built_alone(lab: Lab) -> None:
    lab.write("overlays/elm/root/etc/issue", "another elm\n")
    said = lab.metis("nightly", "--json")
    assert said.code == 0, said
    wanted = {name: "built" if klass == "elm" else "skipped" for name, klass in NODES.items()}
    assert results(lab) == wanted
    assert json.loads(said.out) == last(lab)
    built = [name for name, result in wanted.items() if result == "built"]
    receipts = [json.loads((lab.artifacts / f"{name}.receipt.json").read_bytes()) for name in built]
    mapped = {name: receipt["mapped"] for name, receipt in zip(built, receipts, strict=True)}
    assert {name: nodes(lab)[name]["bytes"] for name in built} == mapped
    found = metrics(lab.artifacts / "nightly/metis.prom")
    assert [found["images", result] for result in ("built", "skipped", "failed")] == [3, 9, 0]
    assert found["bytes_written", ""] == sum(mapped.values())
    quiet(lab)


# ----------------------------------------------------------------------------------- what has failed


def test_a_node_that_cannot_be_built_keeps_its_last_image_and_is_named_everywhere(
    lab: Lab, tmp_path: Path
) -> None:
    before = {name: state(lab, name) for name in NODES}
    good = (lab.inventory / "nodes/oak-1.yaml").read_text()
    lab.write("nodes/oak-1.yaml", f"{good}hostnme: x\n")
    said = lab.metis("nightly", "--metrics", str(tmp_path / "metis.prom"))
    reason = "nodes/oak-1.yaml:3: hostnme: unknown key, did you mean 'hostname'?"
    assert said.code == 2
    assert f"  failed  oak-1  {reason} (its last image is kept)" in said.out.splitlines()
    assert said.err.splitlines()[-1] == (
        f"metis: not all went well: not built: oak-1: see {lab.artifacts}/nightly/latest.txt"
    )
    about = nodes(lab)["oak-1"]
    assert (about["result"], about["reason"], about["keeps_last"]) == ("failed", reason, True)
    found = metrics(tmp_path / "metis.prom")
    assert found["node_failed", "oak-1"] == 1
    assert found["last_success_timestamp_seconds", ""] < found["last_run_timestamp_seconds", ""]
    assert {name: state(lab, name) for name in NODES} == before
    lab.write("nodes/oak-1.yaml", good)
    quiet(lab)


def test_a_new_node_that_cannot_be_built_has_no_image_and_keeps_no_other_back(lab: Lab) -> None:
    node = lab.write("nodes/odd.yaml", "class: fir\nhostnme: x\n")
    lab.write("overlays/fir/root/etc/issue", "another fir\n")
    said = lab.metis("nightly")
    assert said.code == 2
    assert results(lab) == {
        **{name: "built" if klass == "fir" else "skipped" for name, klass in NODES.items()},
        "odd": "failed",
    }
    assert nodes(lab)["odd"]["keeps_last"] is False
    node.unlink()
    quiet(lab)


def test_a_broken_class_fails_its_nodes_with_its_own_reason(lab: Lab) -> None:
    before = {name: state(lab, name) for name in NODES}
    good = (lab.inventory / "classes/ash.yaml").read_text()
    lab.write("classes/ash.yaml", good.replace("amd64", "sparc"))
    said = lab.metis("nightly")
    assert said.code == 2
    reasons = {about["reason"] for name, about in nodes(lab).items() if name in ASHES}
    assert len(reasons) == 1
    assert str(reasons.pop()).startswith("classes/ash.yaml:1: arch: ")
    assert results(lab) == {name: "failed" if name in ASHES else "skipped" for name in NODES}
    assert {name: state(lab, name) for name in NODES} == before
    lab.write("classes/ash.yaml", good)
    quiet(lab)


def test_a_golden_that_is_not_there_fails_its_class(lab: Lab, tmp_path: Path) -> None:
    good = (lab.inventory / "classes/ash.yaml").read_text()
    lab.write(
        "classes/ash.yaml", re.sub(r"file:[^']+', sha256: \w+", f"file:/no/such', sha256: {'ab' * 32}", good)
    )
    said = lab.metis("nightly", "--artifacts", str(tmp_path))
    assert said.code == 5
    assert len([line for line in said.out.splitlines() if line.startswith("  failed  ash-")]) == 3
    lab.write("classes/ash.yaml", good)


def test_an_inventory_that_cannot_be_read_is_reported_too(small: Lab) -> None:
    broken = small.write("all.yaml", "nodes: [\n")
    said = small.metis("nightly", METIS_INVENTORY=str(broken))
    assert said.code == 2
    assert "failed: all.yaml:2: " in said.out
    assert last(small)["succeeded"] is False
    assert ("last_success_timestamp_seconds", "") not in metrics(small.artifacts / "nightly/metis.prom")


# --------------------------------------------------------------------- an image that is not what it must be

FORGETS = """
from dataclasses import replace
from pipeline.steps import build
apply = build.apply
def forgetful(manifest, *rest):
    kept = [item for item in manifest.entries if item.entry.path != "/etc/hostname"]
    return apply(replace(manifest, entries=tuple(kept)), *rest)
build.apply = forgetful
"""
"""A build that forgets one file of each node."""


def plant(folder: Path, code: str) -> dict[str, str]:
    """Have the commands that get this environment run some code first."""
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def test_an_image_that_is_not_what_the_inventory_says_never_takes_the_place_of_the_last(
    lab: Lab, tmp_path: Path
) -> None:
    before = {name: state(lab, name) for name in NODES}
    lab.write("overlays/oak/root/etc/issue", "another oak\n")
    said = lab.metis("nightly", **plant(tmp_path, FORGETS))
    assert said.code == 4
    for name, klass in NODES.items():
        about = nodes(lab)[name]
        assert about["result"] == ("failed" if klass == "oak" else "skipped")
        if klass == "oak":
            assert about["reason"] == (
                f"what was built for {name} is not what the inventory says: /etc/hostname (content): "
                "run again, and see what changes it if that ends the same"
            )
    assert {name: state(lab, name) for name in NODES} == before
    assert not lab.leftovers()
    image, card = lab.artifacts / "oak-1.img", tmp_path / "card.img"
    assert lab.metis("burn", "--image", str(image), "--device", str(card), "--yes").code == 0
    assert lab.metis("nightly").code == 0
    assert results(lab)["oak-1"] == "built"
    quiet(lab)


# ------------------------------------------------------------------------- what has nothing to do with images


@pytest.mark.parametrize(
    ("answer", "code", "is_interrupted", "fault"),
    [
        ("raise ValueError('hunter2')", 1, False, ["Metis itself failed: ValueError: report it"]),
        ("raise KeyboardInterrupt", 130, True, []),
    ],
)
def test_a_night_that_ends_before_it_builds_tells_why_and_names_all_nodes(
    small: Lab, tmp_path: Path, answer: str, code: int, is_interrupted: bool, fault: list[str]
) -> None:
    said = asked(small, tmp_path / "site", answer)
    assert (said.code, said.out) == (code, "")
    about = last(small)
    assert (about["interrupted"], about["faults"], about["succeeded"]) == (is_interrupted, fault, False)
    assert results(small) == dict.fromkeys(ASHES, "failed")
    found = metrics(small.artifacts / "nightly/metis.prom")
    assert {name for kind, name in found if kind == "node_failed"} == ASHES
    assert "hunter2" not in (small.artifacts / "nightly/latest.txt").read_text()


def test_a_night_whose_metrics_cannot_be_written_is_no_success(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = lab.metis("nightly", "--metrics", str(tmp_path / "file/metis.prom"))
    assert said.code == 1
    assert said.out == (lab.artifacts / "nightly/latest.txt").read_text()
    (line,) = [line for line in said.out.splitlines() if line.startswith("failed: ")]
    assert "metis.prom" in line
    assert (last(lab)["succeeded"], results(lab)) == (False, dict.fromkeys(NODES, "skipped"))
    assert said.err.splitlines()[-1].count("metis.prom") == 1
    quiet(lab)


def test_a_night_that_can_leave_no_report_points_to_none_and_says_each_fault_once(small: Lab) -> None:
    small.write("all.yaml", "nodes: [\n")
    small.artifacts.mkdir(mode=0o700)
    (small.artifacts / "nightly").touch()
    said = small.metis("nightly", METIS_INVENTORY=str(small.inventory / "all.yaml"))
    assert said.code == 1
    *_, line = said.err.splitlines()
    assert "not all went well" in line
    assert "latest.txt" not in line.rpartition(":")[2]
    failed = [line for line in said.out.splitlines() if line.startswith("failed: ")]
    assert len(failed) == len(set(failed)) > 1


# ------------------------------------------------------------------------------------ one at a time


def test_a_night_that_still_goes_is_named_and_nothing_is_done(small: Lab) -> None:
    with durable.locked(small.artifacts / ".state/nightly.lock", lambda _: None):
        said = small.metis("nightly")
    assert (said.code, said.out) == (1, "")
    assert re.fullmatch(
        rf"metis: last night's run is still going: process {os.getpid()}, since \d{{4}}-\d\d-\d\d "
        r"\d\d:\d\d:\d\d UTC: wait until it is done, or end it and run again\n",
        said.err,
    )
    assert [each.name for each in small.artifacts.iterdir()] == [".state"]


def test_a_build_that_goes_on_meanwhile_is_a_failure_that_is_told(small: Lab) -> None:
    with durable.locked(small.artifacts / ".state/lock", lambda _: None):
        said = small.metis("nightly")
    assert said.code == 1
    assert f"failed: process {os.getpid()} is building in {small.artifacts}" in said.out
    assert results(small) == dict.fromkeys(ASHES, "failed")


# ----------------------------------------------------------------------------------------- hard ends

ENDS = """
import os, signal, threading
from pipeline.steps import receipts
finish, lock, count = receipts.finish, threading.Lock(), [0]
def ending(part, image, *rest, **named):
    with lock:
        count[0] += 1
        if count[0] == 3:
            os.kill(os.getpid(), signal.{})
            threading.Event().wait()
    finish(part, image, *rest, **named)
receipts.finish = ending
"""
"""Ends the process with its second image: the first thing that is finished is the base."""


def test_a_night_that_was_killed_leaves_no_report_and_the_next_goes_on(small: Lab, tmp_path: Path) -> None:
    said = small.metis("nightly", "--jobs", "1", **plant(tmp_path / "inventory", ENDS.format("SIGKILL")))
    assert said.code == -signal.SIGKILL
    assert not (small.artifacts / "nightly").exists()
    said = small.metis("nightly")
    assert said.code == 0, said
    assert sorted(map(str, results(small).values())) == ["built", "built", "skipped"]
    assert not small.leftovers()
    quiet(small)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_night_that_was_interrupted_says_how_far_it_came(
    small: Lab, tmp_path: Path, name: str, jobs: str
) -> None:
    said = small.metis("nightly", "--jobs", jobs, **plant(tmp_path / "inventory", ENDS.format(name)))
    assert said.code == 130
    assert said.out == ""
    assert said.err.splitlines()[-1] == "interrupted; nothing half-made counts as done"
    assert "Traceback" not in said.err
    assert last(small)["interrupted"] is True
    assert "failed" in results(small).values()
    assert ("last_success_timestamp_seconds", "") not in metrics(small.artifacts / "nightly/metis.prom")
    assert small.metis("nightly").code == 0
    quiet(small)


# -------------------------------------------------------------------------------------- newer goldens

ASKED = """
import sys
from pipeline.lab import newer
from pipeline.nightly import run
from pipeline.errors import MismatchError, SourceError
from pipeline.golden.newer import Newer
def found(lab, name):
    print("asked:", name, file=sys.stderr)
    {}
newer.newer = found
run._prune = lambda lab, days: (2, 3 << 20)
"""


def asked(lab: Lab, folder: Path, answer: str, *words: str, **extra: str) -> Report:
    """A night in which whoever is asked for a class's newer golden gives an answer."""
    folder.mkdir(exist_ok=True)
    return lab.metis("nightly", *words, **plant(folder, ASKED.format(answer)), **extra)


def test_a_newer_golden_is_told_and_not_taken(lab: Lab, tmp_path: Path) -> None:
    found = f"Newer(name, 'https://example.org/x', '{'ab' * 32}', '{'cd' * 32}')"
    answer = f"return {found} if name == 'elm' else None"
    said = asked(lab, tmp_path, answer)
    assert said.code == 0
    assert not said.tasks("run")
    assert f"newer golden: class elm: https://example.org/x is {'cd' * 32} now" in said.out
    assert metrics(lab.artifacts / "nightly/metis.prom")["newer_goldens", ""] == 1
    assert re.findall(r"^asked: (\w+)$", said.err, re.M) == list(CLASSES)


def test_what_was_pruned_is_told(lab: Lab, tmp_path: Path) -> None:
    said = asked(lab, tmp_path, "return None")
    assert said.out.splitlines()[-1] == "pruned: 2 files of the cache, 3.0 MiB"


def test_who_cannot_be_asked_is_a_warning(lab: Lab, tmp_path: Path) -> None:
    said = asked(lab, tmp_path, "raise SourceError('the registry is away')")
    assert said.code == 0
    assert said.out.count("warning: class ") == len(CLASSES)


def test_what_is_published_and_cannot_be_trusted_is_a_failure_and_holds_up_nothing(
    lab: Lab, tmp_path: Path
) -> None:
    said = asked(lab, tmp_path, "raise MismatchError(f'class {name}: signed by a stranger')")
    assert said.code == 4
    assert "failed: class elm: signed by a stranger" in said.out.splitlines()
    assert results(lab) == dict.fromkeys(NODES, "skipped")


def test_offline_nobody_is_asked_and_the_report_says_so(lab: Lab, tmp_path: Path) -> None:
    said = asked(lab, tmp_path, "raise SourceError('asked')", METIS_OFFLINE="1")
    assert said.code == 0
    assert "asked:" not in said.err
    assert "warning: METIS_OFFLINE is set: nobody was asked for newer goldens" in said.out.splitlines()


def test_offline_there_is_no_update(lab: Lab) -> None:
    before = len(reports(lab))
    said = lab.metis("nightly", "--update", METIS_OFFLINE="1")
    assert (said.code, said.out) == (2, "")
    assert len(reports(lab)) == before


def test_an_update_pins_what_is_published_shows_it_and_builds_from_it(small: Lab, tmp_path: Path) -> None:
    assert small.metis("nightly").code == 0
    file = small.inventory / "classes/ash.yaml"
    old = goldens.sha256(golden := goldens.tiny_golden())
    published = goldens.tiny_golden(size=20)
    new = goldens.sha256(published)
    # What is published at an address is another file now.
    (address := tmp_path / "golden.img").symlink_to(golden)
    file.write_text(before := file.read_text().replace(str(golden), str(address)))
    assert small.metis("nightly").code == 0
    address.unlink()
    address.symlink_to(published)
    edits = {"sha256": (old, new)}
    answer = f"return Newer(name, 'file:{address}', '{old}', '{new}', {edits})"
    said = asked(small, tmp_path / "site", answer, "--update")
    assert said.code == 0, said
    assert file.read_text() == before.replace(old, new)
    assert "--- a/classes/ash.yaml" in said.out.splitlines()
    assert results(small) == dict.fromkeys(ASHES, "built")
    base = json.loads((small.artifacts / "base/ash.receipt.json").read_bytes())
    assert new in json.dumps(base["made_from"])
    quiet(small)
