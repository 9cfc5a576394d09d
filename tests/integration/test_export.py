"""`metis export`: a node's image for a desktop without Metis, from a lab whose images are really built."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.history.exports import Exports
from pipeline.lab.exports import MOST_OPEN, make_export
from pipeline.lab.lab import Lab as LabOf
from pipeline.machine import process
from pipeline.raw import bmap
from pipeline.steps.artifacts import Artifacts
from tests.integration.test_graph import edit, make_lab
from tests.integration.test_jobs import a_runner, asked, events, over
from tests.support.exports import offered
from tests.support.lab import BIN, REPOSITORY, Lab
from tests.support.node_images import lab_with_image

NODE = "alpha"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """A lab in which alpha's image is built, and no other."""
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden)
    assert lab.doit(f"image:{NODE}").code == 0
    return lab


def image(lab: Lab) -> Path:
    return lab.artifacts / f"{NODE}.img"


def exports(lab: Lab) -> Exports:
    artifacts = Artifacts(lab.artifacts)
    return Exports(artifacts.history, artifacts.exports)


@pytest.fixture
def none_open(lab: Lab) -> None:
    for each in exports(lab).listed():
        exports(lab).revoke(each.id, datetime.now(UTC))


def unpacked(file: Path) -> bytes:
    return process.run(["zstd", "-dc", file]).out


def size_in_frame(file: Path) -> int:
    """What the frame says of the size of its content, which zstd prints with `-lv` only where it does."""
    lines = process.run(["zstd", "-lv", file]).out.decode().splitlines()
    (line,) = [line for line in lines if line.startswith("Decompressed Size")]
    return int(line.rpartition("(")[2].removesuffix(" B)"))


# ------------------------------------------------------------------------------------------ to a file


def test_a_packed_image_is_the_image_with_its_block_map(lab: Lab, tmp_path: Path) -> None:
    target = tmp_path / f"{NODE}.img.zst"
    report = lab.metis("export", "--node", NODE, "--output", str(target), "--json")
    assert report.code == 0, report
    content, said = unpacked(target), json.loads(report.out)
    assert content == image(lab).read_bytes()
    assert said["sha256"] == hashlib.sha256(content).hexdigest()
    assert said["file_sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert (said["raw_size"], said["size"]) == (len(content), target.stat().st_size)
    assert size_in_frame(target) == len(content)
    beside = tmp_path / f"{NODE}.img.bmap"
    assert bmap.parse(beside.read_bytes()).size == len(content)
    assert {file.name for file in tmp_path.iterdir()} == {target.name, beside.name}
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in tmp_path.iterdir())


def test_what_is_there_is_not_written_over(lab: Lab, tmp_path: Path) -> None:
    for name in (f"{NODE}.img.zst", f"{NODE}.img.bmap"):
        (tmp_path / name).write_text("mine")
        report = lab.metis("export", "--node", NODE, "--output", str(tmp_path / f"{NODE}.img.zst"))
        assert (report.code, "is there already" in report.err) == (3, True), report
        (tmp_path / name).unlink()
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------- as an export


def test_an_export_is_the_image_and_is_known(lab: Lab) -> None:
    report = lab.metis("export", "--node", NODE, "--ttl", "30m", "--by", "mara\x1b[2J\n", "--json")
    assert report.code == 0, report
    (found,) = exports(lab).listed(NODE, limit=1)
    assert json.loads(report.out) == found.to_data()
    receipt = json.loads((lab.artifacts / f"{NODE}.receipt.json").read_bytes())
    assert (found.node, found.klass, found.arch, found.image) == (NODE, "plain", "amd64", receipt["id"])
    assert found.by == "mara\\x1b[2J"
    file = exports(lab).place(found)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = unpacked(file)
    assert content == image(lab).read_bytes()
    assert (found.raw_size, found.raw_sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (found.size, found.sha256) == (
        file.stat().st_size,
        hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def test_exports_of_one_node_are_beside_each_other(lab: Lab) -> None:
    made = [json.loads(lab.metis("export", "--node", NODE, "--json").out)["id"] for _ in range(2)]
    there = {each.id: exports(lab).place(each) for each in exports(lab).listed()}
    assert all(there[name].exists() for name in made)


def test_a_node_has_only_so_many_open_exports(tmp_path: Path) -> None:
    lab = lab_with_image(tmp_path, NODE)
    for _ in range(MOST_OPEN):
        offered(exports(lab), b"packed", node=NODE)
    other = offered(exports(lab), b"packed", node="another", now=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in lab.variables({}).items():
            patch.setenv(name, value)
        with pytest.raises(MetisError, match="has 4 open exports: revoke one"):
            make_export(LabOf.from_environment(), NODE, timedelta(hours=1), "mara")
    assert not exports(lab).place(other).exists()  # its time was over: it is swept all the same
    assert [each.state(datetime.now(UTC)) for each in exports(lab).listed(NODE)] == ["open"] * MOST_OPEN


def test_a_job_of_the_service_makes_one_for_who_asked(lab: Lab) -> None:
    history = Artifacts(lab.artifacts).history
    job = over(a_runner(lab, history), history, asked(history, NODE, "export"))
    assert (job.state, job.code) == ("done", 0), job
    (found,) = exports(lab).listed(NODE, limit=1)
    assert found.by == "ops"
    assert exports(lab).place(found).exists()
    assert any(event.get("label") == f"{NODE}: packing" for event in events(history, job))


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--node", "gamma"], 1, "there is no finished image of gamma: `metis image --node gamma` makes it"),
        (["--node", "nobody"], 2, "no node nobody"),
        (["--node", "../alpha"], 2, "no node ../alpha"),
        (["--node", NODE, "--node", "beta"], 2, "one image is exported at a time"),
        (["--node", NODE, "--output", "{tmp}/alpha.img"], 2, "does not end in .zst"),
        (["--node", NODE, "--output", "{tmp}/alpha.img.xz"], 2, "name it alpha.img.zst"),
        (["--node", NODE, "--output", "/dev/shm/alpha.img.zst"], 3, "is below /dev"),
        (["--node", NODE, "--ttl", "0m"], 2, "is no time that an export may last"),
        (["--node", NODE, "--ttl", "8d"], 2, "at most 7d"),
        (["--node", NODE, "--ttl", "-1h"], 2, "is no time"),
        (["--node", NODE, "--ttl", "soon"], 2, "is no time"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    lab: Lab, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    before = exports(lab).listed()
    report = lab.metis("export", *(word.format(tmp=tmp_path) for word in words))
    assert report.code == code, report
    (line,) = report.err.splitlines()
    assert said in line
    assert exports(lab).listed() == before
    assert not list(tmp_path.iterdir())


def rot(lab: Lab) -> None:
    where = bmap.parse(Path(f"{image(lab)}.bmap").read_bytes()).ranges[-1].start
    with image(lab).open("r+b") as file:
        file.seek(where)
        byte = file.read(1)
        file.seek(where)
        file.write(bytes([byte[0] ^ 1]))


BAD: dict[str, tuple[Callable[[Lab], object], int, str]] = {
    "another overlay": (
        edit("overlays/plain/root/etc/issue", lambda text: f"{text}more\n"),
        3,
        "the image of alpha is out of date (overlays/plain/root changed): `metis image --node alpha`",
    ),
    "another inventory": (
        edit("nodes/alpha.yaml", lambda text: text.replace("192.0.2.1/", "192.0.2.11/")),
        3,
        "out of date (what the inventory says of it changed)",
    ),
    "a damaged image": (rot, 3, "out of date"),
    "no receipt": (
        lambda lab: (lab.artifacts / f"{NODE}.receipt.json").unlink(),
        1,
        "there is no finished image of alpha",
    ),
    "no image": (lambda lab: image(lab).unlink(), 1, "there is no finished image of alpha"),
}


@pytest.mark.parametrize("case", BAD)
def test_only_an_image_that_is_up_to_date_and_whole_is_exported(
    tmp_path: Path, tiny_golden: Path, case: str
) -> None:
    lab = make_lab(tmp_path, tiny_golden)
    assert lab.doit(f"image:{NODE}").code == 0
    spoil, code, said = BAD[case]
    spoil(lab)
    report = lab.metis("export", "--node", NODE)
    assert (report.code, said in report.err) == (code, True), report
    assert not list(lab.artifacts.glob("exports/*"))
    assert lab.leftovers() == []


# ---------------------------------------------------------------------------------------- cut off

CUT = """
import os, signal
from pipeline.history.exports import Exports
from pipeline.steps import packing

feed = packing._content

def cut(*arguments):
    pieces = feed(*arguments)
    yield next(pieces)
    os.kill(os.getpid(), signal.{signal})
    yield from pieces

packing._content = cut
from pipeline.cli import main
main(["export", "--node", "alpha"])
"""


@pytest.mark.usefixtures("none_open")
@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL", "SIGINT"])
def test_an_export_that_is_cut_off_leaves_nothing_half(lab: Lab, signal: str) -> None:
    before = exports(lab).listed()
    files = set((lab.artifacts / "exports").glob("*.zst"))
    ended = process.run(
        [BIN / "python", "-c", CUT.format(signal=signal)],
        cwd=REPOSITORY,
        check=False,
        extra_environment=lab.variables({}),
    )
    assert ended.code != 0
    assert exports(lab).listed() == before
    assert set((lab.artifacts / "exports").glob("*.zst")) == files
    if signal != "SIGKILL":
        assert lab.leftovers() == []
    report = lab.metis("export", "--node", NODE)
    assert report.code == 0, report
    assert not list(lab.artifacts.glob("exports/.*.part"))
