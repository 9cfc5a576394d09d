"""What builds and burns of a real lab leave in its history, and what they do not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.history import builds, burns
from pipeline.history.events import events
from tests.integration.test_graph import edit, make_lab
from tests.support import canaries
from tests.support.blocks import mounted, need_disks
from tests.support.history import kept_manifests, query
from tests.support.lab import Lab, Report
from tests.support.node_images import lab_with_image
from tests.support.race import RUNNERS, together


def told(lab: Lab, *words: str) -> list[dict[str, Any]]:
    """What `metis history` says for machines."""
    report = lab.metis("history", "--json", *words)
    assert report.code == 0, report
    found: list[dict[str, Any]] = json.loads(report.out)
    return found


def difference(lab: Lab, before: int, after: int) -> dict[str, Any]:
    report = lab.metis("history", "--json", "--diff", str(before), str(after))
    assert report.code == 0, report
    found: dict[str, Any] = json.loads(report.out)
    return found


def database(lab: Lab) -> Path:
    return lab.artifacts / "history.sqlite3"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """A lab whose images are built, one after the other."""
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden)
    assert lab.doit("image").code == 0
    return lab


@pytest.fixture
def fresh(tmp_path: Path, tiny_golden: Path) -> Lab:
    return make_lab(tmp_path, tiny_golden)


# -------------------------------------------------------------------------------------------- builds


def test_each_image_that_was_made_has_a_row_that_says_what_its_receipt_says(lab: Lab) -> None:
    found = {each["node"]: each for each in told(lab)}
    assert found.keys() == {"alpha", "beta", "gamma"}
    for name, each in found.items():
        receipt = json.loads((lab.artifacts / f"{name}.receipt.json").read_bytes())
        base = json.loads((lab.artifacts / f"base/{each['class']}.receipt.json").read_bytes())
        assert (each["kind"], each["verdict"], each["why"], each["code"]) == ("build", "built", "", 0)
        assert (each["image"], each["size"]) == (receipt["id"], receipt["mapped"])
        made = builds.made(database(lab), each["id"])
        assert made.build.secrets == receipt["secrets"]
        assert (made.build.manifest, made.build.base) == (receipt["made_from"]["manifest"], base["id"])
        assert made.build.base_from == base["made_from"]
        assert made.image is not None
        assert made.base is not None
        assert (made.image.id, made.base.id) == (made.build.manifest, made.build.base_manifest)


def test_a_run_that_finds_nothing_to_do_does_not_know_that_there_is_a_history(lab: Lab) -> None:
    before = database(lab).read_bytes()
    database(lab).write_bytes(b"no database at all" * 100)
    try:
        report = lab.doit("image", PYTHONPROFILEIMPORTTIME="1")
        assert report.code == 0, report
        assert "history" not in "".join(line for line in report.err.splitlines() if "import time" not in line)
        assert "pipeline.lab.history" in report.err
        assert "sqlalchemy" not in report.err
        assert database(lab).read_bytes() == b"no database at all" * 100
    finally:
        database(lab).write_bytes(before)


def test_an_image_that_turns_out_to_be_there_leaves_no_row(lab: Lab) -> None:
    before = told(lab)
    for state in (lab.artifacts / ".state").glob("doit-*"):
        state.unlink()
    report = lab.doit("image")
    assert report.tasks("run", "image:") == {"image:alpha", "image:beta", "image:gamma"}
    assert told(lab) == before


def too_big(lab: Lab) -> None:
    lab.write("overlays/big/root/opt/big", "x" * (40 << 20))
    edit("nodes/alpha.yaml", lambda text: f"{text}root_overlay: overlays/big/root\n")(lab)


def without_a_token(lab: Lab) -> None:
    k3s = "k3s: {role: agent, server: 'https://192.0.2.10:6443'}\n"
    edit("nodes/alpha.yaml", lambda text: text + k3s)(lab)


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [(too_big, 1, "the files do not fit into"), (without_a_token, 2, "k3s_token")],
    ids=["no room", "no secret"],
)
def test_a_build_that_failed_says_why_and_what_it_was_made_of(
    fresh: Lab, spoil: Callable[[Lab], None], code: int, words: str
) -> None:
    assert fresh.doit("image:alpha").code == 0
    spoil(fresh)
    report = fresh.metis("image", "--node", "alpha")
    assert report.code == code
    (failed,) = told(fresh, "--failed")
    assert (failed["verdict"], failed["code"], failed["image"]) == ("failed", code, "")
    assert words in failed["why"]
    assert failed["why"] in " ".join(report.err.split())
    found = difference(fresh, failed["id"] - 1, failed["id"])
    assert any(each["what"] == "added" for each in found["image"])


WRONG_HASH = edit("classes/plain.yaml", lambda text: re.sub("sha256: [0-9a-f]{4}", "sha256: 0000", text))
WITHOUT_A_FILE = edit(
    "classes/plain.yaml",
    lambda text: f"{text}files: [{{path: /srv/x, source: 'file:none', sha256: {'0' * 64}}}]\n",
)


@pytest.mark.parametrize(
    ("kind", "spoil", "code"),
    [("golden", WRONG_HASH, 4), ("base", WITHOUT_A_FILE, 5)],
    ids=["golden", "base"],
)
def test_what_fails_of_a_class_is_kept_once_and_is_no_build_of_its_nodes(
    fresh: Lab, kind: str, spoil: Callable[[Lab], None], code: int
) -> None:
    spoil(fresh)
    report = fresh.doit("image:alpha", "image:beta")
    assert report.code != 0
    (failed,) = told(fresh)
    about = ("kind", "node", "class", "verdict", "code")
    assert tuple(map(failed.get, about)) == (kind, "", "plain", "failed", code)
    assert failed["why"] in " ".join((report.out + report.err).split())
    assert told(fresh, "--kind", kind, "--failed") == [failed]
    shown = fresh.metis("history").out
    assert "class plain" in shown
    assert f"{kind} failed" in shown


def a_folder(file: Path) -> None:
    file.mkdir(parents=True)


def no_database(file: Path) -> None:
    file.parent.mkdir(mode=0o700)
    file.write_bytes(b"no database at all" * 100)


@pytest.mark.parametrize("spoil", [a_folder, no_database])
def test_a_history_that_cannot_be_written_costs_a_note(fresh: Lab, spoil: Callable[[Path], None]) -> None:
    spoil(database(fresh))
    report = fresh.doit("image:alpha")
    assert report.code == 0, report
    assert sum("the history does not have it" in line for line in report.err.splitlines()) == 1
    assert "Traceback" not in report.err
    report = fresh.metis("burn", "--node", "alpha", "--device", str(fresh.root / "card"))
    assert report.code == 0, report
    assert "alpha: the history does not have it" in report.err
    report = fresh.metis("history")
    assert (report.code, report.err.count("\n")) == (1, 1)


def test_two_builds_differ_in_what_was_changed_between_them(fresh: Lab) -> None:
    assert fresh.doit("image:alpha").code == 0
    edit("nodes/alpha.yaml", lambda text: text.replace("192.0.2.1/", "192.0.2.11/"))(fresh)
    edit("overlays/plain/root/etc/issue", lambda text: f"{text}more\n")(fresh)
    fresh.write_secrets("alpha", (fresh.secrets / "alpha.yaml").read_text() + "ssh_password: another\n")
    assert fresh.doit("image:alpha").code == 0
    found = difference(fresh, 1, 2)
    assert found["made_of"] == [
        {"name": "secrets of the node", "before": "one version", "after": "another version"}
    ]
    assert [each["path"] for each in found["base"]] == ["/etc/issue"]
    changed = {each["path"]: each["lines"] for each in found["image"]}
    assert [line for line in changed["/etc/netplan/60-metis.yaml"] if line[0] in "+-"] == [
        "-      - 192.0.2.1/24",
        "+      - 192.0.2.11/24",
    ]


def test_builds_of_two_nodes_are_not_compared(lab: Lab) -> None:
    report = lab.metis("history", "--diff", "1", "2")
    assert report.code == 2
    assert "name two builds of one node" in report.err


# --------------------------------------------------------------------------------------------- burns


def burn(lab: Lab, program: str, *words: str) -> Report:
    report: Report = getattr(lab, program)("burn", "--node", "beta", "--yes", *words)
    return report


@pytest.mark.parametrize("program", ["metis", "doit"])
def test_a_burn_has_a_row_that_says_what_its_receipt_says(lab: Lab, tmp_path: Path, program: str) -> None:
    before = [each["id"] for each in told(lab)]
    card = tmp_path / "card.img"
    assert burn(lab, program, "--device", str(card)).code == 0
    found = events(database(lab))[0]
    assert found.id not in before
    assert (found.kind, found.verdict, found.node, found.klass) == ("burn", "burned", "beta", "plain")
    receipt = max((lab.artifacts / "burns").glob("beta-*.json"), key=lambda file: file.stat().st_mtime_ns)
    about = json.loads(receipt.read_bytes())
    kept = burns.burn(database(lab), found.id)
    assert kept.event.at == about["at"].replace("+00:00", "Z")
    assert (kept.event.image, kept.event.size) == (about["image"]["id"], about["written"])
    assert (kept.card, kept.files, kept.skipped) == (about["card"], about["files"], about["skipped"])
    assert kept.card["path"] == str(card)


def test_of_two_cards_the_one_that_failed_says_why(lab: Lab, tmp_path: Path) -> None:
    need_disks()
    with mounted("tmpfs", tmp_path / "small", "-t", "tmpfs", "-o", "size=4m") as small:
        cards = [str(tmp_path / "good"), str(small / "bad")]
        report = burn(lab, "metis", "--device", cards[0], "--device", cards[1])
    assert report.code == 1, report
    numbers = {each["verdict"]: each["id"] for each in told(lab, "--kind", "burn", "--limit", "2")}
    good, bad = (burns.burn(database(lab), numbers[verdict]) for verdict in ("burned", "failed"))
    assert [each.card["path"] for each in (good, bad)] == cards
    assert (good.event.why, good.event.code, bad.event.code) == ("", 0, 1)
    assert bad.event.why.startswith(f"there is no room for {cards[1]}: ")


KEEPS_A_BURN = """
import os, sys
from pathlib import Path
from pipeline.card.cards import Card
from pipeline.lab.cards import LabCards
from pipeline.lab.lab import Lab
from pipeline.settings import Settings
from pipeline.steps.burn import Report
cards = LabCards(Lab(Settings.from_environment(os.environ, Path.cwd())))
report = Report(Card(str(os.getpid()), "file", 0), "2026-11-29T03:00:00+00:00")
sys.stdin.readline()
cards.keep("titan-13", [report])
print(os.getpid())
"""


def test_of_burns_that_end_in_one_second_each_has_its_receipt_and_its_row(tmp_path: Path) -> None:
    lab = lab_with_image(tmp_path / "lab")
    said = {each.decode().strip() for each in together(KEEPS_A_BURN, environment=lab.variables({}))}
    receipts = [json.loads(file.read_bytes()) for file in (lab.artifacts / "burns").glob("*.json")]
    assert {each["card"]["path"] for each in receipts} == said
    assert {burns.burn(database(lab), each["id"]).card["path"] for each in told(lab)} == said
    assert len(receipts) == len(said) == RUNNERS


def test_what_was_refused_is_no_burn(lab: Lab) -> None:
    before = told(lab)
    assert burn(lab, "metis", "--device", "/dev/full").code != 0
    assert told(lab) == before


# ----------------------------------------------------------------------------------------- the command


def test_a_page_follows_the_other(lab: Lab) -> None:
    found = told(lab)
    first = told(lab, "--limit", "2")
    assert first == found[:2]
    assert told(lab, "--before", str(first[-1]["id"])) == found[2:]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--node", "alpha"], {"alpha"}),
        (["--node", "alpha", "--node", "gamma", "--kind", "build"], {"alpha", "gamma"}),
        (["--node", "nobody"], set()),
        (["--failed", "--kind", "build"], set()),
        (["--since", "2999-01-01"], set()),
        (["--since", "1d", "--kind", "build"], {"alpha", "beta", "gamma"}),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_only_what_is_asked_for_is_told(lab: Lab, words: list[str], names: set[str]) -> None:
    assert {each["node"] for each in told(lab, *words)} == names


@pytest.mark.parametrize(
    "words", [["--since", "soon"], ["--limit", "0"], ["--kind", "x"], ["--diff", "1"], ["--diff", "1", "99"]]
)
def test_wrong_usage_ends_with_2(lab: Lab, words: list[str]) -> None:
    report = lab.metis("history", *words)
    assert report.code == 2, report
    assert "Traceback" not in report.err


# -------------------------------------------------------------------------------------------- secrets


def test_no_secret_is_kept(tmp_path: Path, tiny_golden: Path) -> None:
    """Manifests are looked at as they were before they were packed."""
    lab, planted = canaries.make_lab(tmp_path / "lab", tiny_golden), canaries.plant()
    canaries.keep_plain(lab, planted)
    assert lab.metis("image").code == 0
    document = lab.secrets / "alpha.yaml"
    document.write_text(document.read_text().replace("K10", "K11"))
    lab.metis("image", "--node", "alpha")
    assert lab.metis("burn", "--node", "beta", "--device", str(tmp_path / "card")).code == 0
    assert query(database(lab), "SELECT count(*) FROM events") == [(5,)]
    contents = {"database": database(lab).read_bytes(), **kept_manifests(database(lab))}
    assert len(contents) > len(canaries.NODES)
    assert planted.search().found_in_all(contents) == set()
