"""What `metis status` says of images; whether it is right is seen by all tests of `test_graph` that build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_graph import edit, make_lab, node_text
from tests.support.lab import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """A lab whose images are built, but for gamma's."""
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden)
    assert lab.doit("image:alpha", "image:beta").code == 0
    return lab


def said(lab: Lab, *arguments: str) -> dict[str, tuple[str, str]]:
    """What stands in the table for each node: how its image is, and why."""
    report = lab.metis("status", *arguments)
    assert report.code == 0, report
    head, *rows = report.out.splitlines()
    columns = [head.index(word) for word in ("image", "built", "why")]
    return {row.split()[0]: (row[columns[0] : columns[1]].strip(), row[columns[2] :]) for row in rows}


def test_an_image_is_fresh_or_was_never_built(lab: Lab) -> None:
    assert said(lab) == {"alpha": ("fresh", "-"), "beta": ("fresh", "-"), "gamma": ("never built", "-")}


def test_only_the_nodes_that_are_named_are_told(lab: Lab) -> None:
    assert said(lab, "--node", "beta") == {"beta": ("fresh", "-")}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("class: [\n", "nodes/alpha.yaml:2: this is not YAML"),
        ("class: unknown\n", "nodes/alpha.yaml:1: class: "),
        (node_text("plain", 2), "nodes/alpha.yaml: network.address: 192.0.2.2 is also that of beta"),
    ],
)
def test_what_keeps_a_node_from_being_built_is_told(
    tmp_path: Path, tiny_golden: Path, text: str, why: str
) -> None:
    lab = make_lab(tmp_path, tiny_golden)
    lab.write("nodes/alpha.yaml", text)
    state, told = said(lab, "--node", "alpha")["alpha"]
    assert state == "never built"
    assert told.startswith(why)


@pytest.mark.parametrize(("node", "code"), [("alpha", 0), ("gamma", 1)])
def test_scripts_are_told_by_the_exit_code(lab: Lab, node: str, code: int) -> None:
    assert lab.metis("status", "--exit-code", "--node", node).code == code


CHANGES: dict[str, tuple[Callable[[Lab], object], str]] = {
    "an overlay": (
        edit("overlays/plain/root/etc/issue", lambda text: f"{text}more\n"),
        "overlays/plain/root changed",
    ),
    "a class": (edit("classes/plain.yaml", lambda text: text.replace("4M", "8M")), "class plain changed"),
    "the node": (
        edit("nodes/alpha.yaml", lambda text: text.replace("192.0.2.1/", "192.0.2.11/")),
        "what the inventory says of it changed",
    ),
    "a secret": (
        lambda lab: lab.write_secrets("alpha", "{ssh_password: another, extra: {}}"),
        "a secret, the image itself or Metis changed",
    ),
    "another node's address": (
        lambda lab: lab.write("nodes/twin.yaml", node_text("other", 1)),
        "nodes/alpha.yaml: network.address: 192.0.2.1 is also that of twin",
    ),
}


@pytest.mark.parametrize(("change", "why"), CHANGES.values(), ids=CHANGES.keys())
def test_a_stale_image_has_a_reason(
    tmp_path: Path, tiny_golden: Path, change: Callable[[Lab], object], why: str
) -> None:
    lab = make_lab(tmp_path, tiny_golden)
    assert lab.doit("image:alpha").code == 0
    change(lab)
    assert said(lab, "--node", "alpha") == {"alpha": ("stale", why)}
