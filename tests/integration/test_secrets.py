"""Secrets on their way into images: made once, the same for all who share them, and left nowhere else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.graph.checks import Checks
from pipeline.graph.tasks import Tasks
from pipeline.lab.lab import Lab as OwnLab
from pipeline.lab.plan import plan
from pipeline.machine.process import run
from pipeline.raw import disk
from pipeline.secrets import forms_version
from pipeline.settings import Settings
from pipeline.steps import build
from tests.support import goldens
from tests.support.lab import QUICK_INJECTOR, REPOSITORY, Lab, class_text

TOKEN = f"K10{'ab' * 32}::node:hunter2token"
PASSWORD = "hunter2password"
ALPHA = f"ssh_password: {PASSWORD}\nk3s_token: {TOKEN}\n"
IDENTITY = (
    "/etc/machine-id",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_rsa_key.pub",
    "/etc/rancher/node/password",
    "/etc/shadow",
)


def make_lab(root: Path, golden: Path) -> Lab:
    """alpha has all kinds of secrets, beta only an identity."""
    lab = Lab(root, {"METIS_INJECTOR": QUICK_INJECTOR, "METIS_CACHE": str(root / "cache")})
    lab.write("classes/plain.yaml", class_text(golden, goldens.sha256(golden)))
    lab.write(
        "nodes/alpha.yaml",
        "class: plain\nnetwork: {dhcp: true}\nssh: {user: atlas}\n"
        "k3s: {role: agent, server: 'https://192.0.2.10:6443'}\n",
    )
    lab.write("nodes/beta.yaml", "class: plain\nnetwork: {dhcp: true}\n")
    lab.write_secrets("alpha", ALPHA)
    return lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """A lab whose images are built; each test leaves it so."""
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden)
    report = lab.metis("image", "--debug")
    assert report.code == 0, report
    return lab


@pytest.fixture
def rotated(lab: Lab) -> Iterator[Path]:
    """The secrets of alpha, put back afterwards."""
    file = lab.secrets / "alpha.yaml"
    before = file.read_text()
    yield file
    file.chmod(0o600)
    file.write_text(before)
    assert lab.metis("image").code == 0


def in_image(lab: Lab, node: str, path: str) -> bytes:
    """A file of a node's image."""
    image = lab.artifacts / f"{node}.img"
    root = max(disk.read(image).partitions, key=lambda part: part.size)
    return run(["debugfs", "-R", f"cat {path}", f"{image}?offset={root.start}"]).out


def identity_of(lab: Lab) -> dict[str, bytes]:
    found = {path: in_image(lab, "alpha", path) for path in IDENTITY}
    assert all(found.values())
    return found


def manifest_id(lab: Lab) -> str:
    data: dict[str, Any] = json.loads((lab.artifacts / "manifests/alpha.json").read_bytes())
    return str(data["id"])


def test_an_identity_is_made_once(lab: Lab) -> None:
    before = identity_of(lab)
    assert not lab.doit("image").tasks("run", "image:")
    shutil.rmtree(lab.artifacts)
    assert lab.metis("image").code == 0
    assert identity_of(lab) == before


def test_clones_that_share_their_secrets_make_the_same_node(tmp_path: Path, tiny_golden: Path) -> None:
    labs = [make_lab(tmp_path / name, tiny_golden) for name in ("one", "two")]
    for lab in labs:
        lab.environment["METIS_SECRETS"] = f"plain:{labs[0].secrets}"
    with ThreadPoolExecutor() as both:
        reports = list(both.map(lambda lab: lab.metis("image", "--node", "alpha"), labs))
    assert [report.code for report in reports] == [0, 0], reports
    assert identity_of(labs[0]) == identity_of(labs[1])
    assert manifest_id(labs[0]) == manifest_id(labs[1])
    assert not [task for lab in labs for task in lab.doit("image:alpha").tasks("run", "image:")]


def test_two_nodes_have_two_identities(lab: Lab) -> None:
    assert in_image(lab, "alpha", "/etc/machine-id") != in_image(lab, "beta", "/etc/machine-id")


def test_where_secrets_are_not_where_they_were_no_identity_is_made(lab: Lab, tmp_path: Path) -> None:
    before = in_image(lab, "beta", "/etc/machine-id")
    elsewhere = {"METIS_SECRETS": f"plain:{tmp_path / 'not/mounted'}"}
    for words in (["image", "--node", "beta"], ["plan", "--node", "beta"]):
        report = lab.metis(*words, **elsewhere)
        assert report.code == 3, report
        assert "beta had an identity, and there is none in " in report.err
    assert not (tmp_path / "not").exists()
    assert lab.metis("image", "--node", "beta").code == 0
    assert in_image(lab, "beta", "/etc/machine-id") == before


def test_a_rotated_secret_rebuilds_the_image_of_its_node_alone(lab: Lab, rotated: Path) -> None:
    rotated.write_text(rotated.read_text().replace(PASSWORD, "hunter3password"))
    report = lab.doit("image")
    assert report.tasks("run", "image:") == {"image:alpha"}
    assert not lab.doit("image").tasks("run", "image:")


@pytest.mark.parametrize("more", ["", "# a comment\n", "cloud_init: of no use to a node without a seed\n"])
def test_a_file_whose_change_no_image_holds_rebuilds_nothing(lab: Lab, rotated: Path, more: str) -> None:
    text = rotated.read_text()
    rotated.unlink()
    rotated.touch(mode=0o600)
    rotated.write_text(text + more)
    os.utime(rotated, (0, 0))
    assert not lab.doit("image").tasks("run", "image:")
    assert json.loads(lab.metis("plan", "--json", "--node", "alpha").out)[0]["steps"][-1]["does"] == "keep"


def test_what_all_share_rebuilds_those_that_use_it(lab: Lab, rotated: Path) -> None:
    shared = lab.write_secrets("_cluster", f"k3s_token: {TOKEN}\nssh_password: {PASSWORD}\n")
    try:
        assert not lab.doit("image").tasks("run", "image:"), "alpha has its own, beta needs none"
        rotated.write_text("\n".join(line for line in rotated.read_text().splitlines() if TOKEN not in line))
        assert not lab.doit("image").tasks("run", "image:"), "the shared token is the same"
        shared.write_text(shared.read_text().replace(PASSWORD, "hunter4password"))
        assert not lab.doit("image").tasks("run", "image:"), "alpha has its own password"
        shared.write_text(shared.read_text().replace("2token", "4token"))
        assert lab.doit("image").tasks("run", "image:") == {"image:alpha"}
    finally:
        shared.unlink()


def test_a_receipt_says_which_versions_an_image_was_made_from(lab: Lab) -> None:
    said = json.loads((lab.artifacts / "alpha.receipt.json").read_bytes())["secrets"]
    assert said.keys() == {"source", "node"}
    assert said["source"] == "plain"


def test_secrets_that_change_while_an_image_is_built_make_it_stale(
    lab: Lab, rotated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tasks, "hold_artifacts", lambda _: None)  # it would hold them until pytest ends
    settings = Settings.from_environment(lab.variables({}), REPOSITORY)
    text = rotated.read_text()
    late = text.replace(PASSWORD, "hunter4password")
    monkeypatch.setattr(build, "make_image", lambda *_: rotated.write_text(late))
    rotated.write_text(text.replace(PASSWORD, "hunter3password"))
    tasks = Tasks(OwnLab(settings))
    savers: list[Any] = []
    tasks.checks.image_is_current("alpha").configure_task(SimpleNamespace(value_savers=savers))
    assert tasks.make_image("alpha") is None
    saved = savers[0]()
    assert not Checks(OwnLab(settings)).image_is_current("alpha")(None, saved)


def test_forms_that_give_other_bytes_make_images_stale(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment(lab.variables({}), REPOSITORY)
    savers: list[Any] = []
    Checks(OwnLab(settings)).image_is_current("alpha").configure_task(SimpleNamespace(value_savers=savers))
    saved = savers[0]()
    assert Checks(OwnLab(settings)).image_is_current("alpha")(None, saved)
    assert plan(OwnLab(settings), "alpha").steps[-1].does == "keep"
    monkeypatch.setattr(forms_version, "VERSION", forms_version.VERSION + 1)
    assert not Checks(OwnLab(settings)).image_is_current("alpha")(None, saved)
    assert plan(OwnLab(settings), "alpha").steps[-1].does == "build"


# ------------------------------------------------------------------------------- what goes wrong


def test_unsafe_secrets_fail_their_node_alone_and_in_one_line(lab: Lab, rotated: Path) -> None:
    rotated.chmod(0o644)
    report = lab.doit("image")
    assert report.code != 0
    assert report.failures == [
        f"!! image:alpha: {rotated} is open to others than its owner: run `chmod 0600 {rotated}`"
    ]
    assert "image:beta" in report.tasks("up to date")
    ended = lab.metis("image", "--node", "alpha")
    assert ended.code == 3
    assert "Traceback" not in report.out + report.err + ended.out + ended.err
    planned = lab.metis("plan", "--node", "alpha")
    assert planned.code == 3
    assert "not checked" in planned.out


def test_a_short_token_is_refused_by_plan_and_build(lab: Lab, rotated: Path) -> None:
    rotated.write_text(rotated.read_text().replace(TOKEN, "hunter2short"))
    for words in (["plan"], ["plan", "--json"], ["image"], ["image", "--debug"]):
        report = lab.metis(*words, "--node", "alpha")
        assert report.code == 2, words
        assert "k3s_token of alpha is not a token of the form K10" in report.err
        assert "hunter2" not in report.out + report.err


def test_a_copied_file_of_secrets_is_refused_by_plan_and_build(lab: Lab, rotated: Path) -> None:
    rotated.write_text(f"{ALPHA}# a copy\n" + (lab.secrets / "beta.yaml").read_text())
    for words in (["plan"], ["image"]):
        report = lab.metis(*words, "--node", "alpha")
        assert report.code == 2
        for name in ("machine_id", "ssh_host_ed25519_key", "iscsi_initiator"):
            line = f"extra.{name} of alpha is that of beta too: take it out of {rotated} if it is not"
            assert line in report.out + report.err
    assert lab.metis("plan", "--node", "beta").code == 2


def test_an_identity_that_is_made_is_said_once(tmp_path: Path, tiny_golden: Path) -> None:
    """Whoever has the node already sees in time that it was not adopted."""
    lab = make_lab(tmp_path, tiny_golden)
    first, second = (lab.metis("image", "--node", "alpha") for _ in range(2))
    assert f"alpha: made, and kept in {lab.secrets / 'alpha.yaml'}: " in first.err, first.err
    assert "extra.machine_id" in first.err
    assert "made, and kept" not in second.err


def test_what_only_an_operator_has_is_asked_for(lab: Lab, rotated: Path) -> None:
    rotated.write_text(rotated.read_text().replace(f"k3s_token: {TOKEN}\n", ""))
    line = f"alpha has no k3s_token: put it into {rotated}"
    for words in (["plan"], ["image"]):
        report = lab.metis(*words, "--node", "alpha")
        assert report.code == 2
        assert line in report.err


def test_plan_names_each_secret_and_makes_nothing(tmp_path: Path, tiny_golden: Path) -> None:
    lab = make_lab(tmp_path, tiny_golden)
    shutil.rmtree(lab.secrets)
    report = lab.metis("plan", "--json", "--node", "beta")
    assert report.code == 0, report
    states = {item["name"]: item["state"] for item in json.loads(report.out)[0]["secrets"]}
    assert set(states.values()) == {"will be made"}
    assert {"extra.machine_id", "extra.ssh_host_rsa_key"} <= states.keys()
    assert lab.metis("plan", "--node", "alpha").code == 2
    assert not lab.secrets.exists()


# --------------------------------------------------------------------------- where secrets are not


def test_no_secret_is_in_what_is_written_or_said_beside_the_image(lab: Lab) -> None:
    file = (lab.secrets / "alpha.yaml").read_text()
    values = [PASSWORD, TOKEN, "hunter2", *(line.split('"')[1] for line in file.splitlines() if '"' in line)]
    needles = [line.encode() for value in values for line in value.split("\\n") if len(line) > 6]
    beta = (lab.artifacts / "beta.img").read_bytes()
    needles = [needle for needle in needles if needle not in beta]  # what all keys begin with is no secret
    assert len(needles) > 20
    said = [lab.metis(*words, "--debug") for words in (["plan"], ["config", "--node", "alpha"], ["image"])]
    said.append(lab.doit("image"))
    found = {"out": b"".join((report.out + report.err).encode() for report in said)}
    for path in lab.artifacts.rglob("*"):
        if path.is_file() and path != lab.artifacts / "alpha.img":
            found[str(path)] = path.read_bytes()
    assert any(name.endswith(".receipt.json") for name in found)
    assert any("doit" in name for name in found)
    leaks = {name for name, content in found.items() for needle in needles if needle in content}
    assert not leaks
    # The needles are such that they would be found: most of them are in the image.
    image = (lab.artifacts / "alpha.img").read_bytes()
    assert sum(needle in image for needle in needles) > 20
