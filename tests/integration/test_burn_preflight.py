"""A burn asks the cluster first: where the node must not come back, not a byte is written or built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import goldens
from tests.support.apiserver import ApiServer
from tests.support.lab import QUICK_INJECTOR, Lab, Report, class_text
from tests.support.netns import Network
from tests.support.preflight import declared, gone, keep

NODE = "titan-0c"


@pytest.fixture
def lab(tmp_path: Path, net: Network, server: ApiServer, tiny_golden: Path) -> Lab:
    environment = {
        "METIS_INJECTOR": QUICK_INJECTOR,
        "METIS_CACHE": str(tiny_golden.parent / "cache-of-preflight"),
    }
    klass = class_text(tiny_golden, goldens.sha256(tiny_golden))
    return declared(tmp_path, net, server, klass, **environment)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card that was in use before."""
    made = tmp_path / "card.img"
    made.write_bytes(os.urandom(1 << 16) * 1024)
    return made


def burn(lab: Lab, program: str, card: Path, *words: str, **extra: str) -> Report:
    run = lab.doit if program == "doit" else lab.metis
    report = run("burn", "--node", NODE, "--device", str(card), "--yes", *words, **extra)
    assert "Traceback" not in report.err, report
    return report


def built(lab: Lab) -> list[str]:
    """What there is of images, bases and goldens, and of burns."""
    found = [*lab.artifacts.glob("*.img"), *lab.artifacts.glob("base/*.img"), *lab.artifacts.glob("golden/*")]
    return sorted(str(each) for each in [*found, *lab.artifacts.glob("burns/*")])


@pytest.mark.parametrize("program", ["metis", "doit"])
def test_a_server_whose_old_member_is_in_etcd_is_not_burned(
    lab: Lab, server: ApiServer, card: Path, program: str
) -> None:
    server.put(gone())
    before = goldens.sha256(card)
    report = burn(lab, program, card)
    assert report.code == (3 if program == "metis" else 2), report
    assert goldens.sha256(card) == before
    assert built(lab) == []
    assert "etcd member" in report.err
    assert "--fix does it" in report.err
    assert f"{NODE} must not come back into its cluster yet: etcd member" in report.out + report.err
    assert not server.changes


@pytest.mark.parametrize(
    "words", [["--auto-mount", "--device", "CARD"], ["--boot", "BOOT", "--root", "ROOT"]]
)
def test_no_files_are_put_into_a_card_that_must_not_come_back(
    lab: Lab, server: ApiServer, card: Path, tmp_path: Path, words: list[str]
) -> None:
    server.put(gone())
    places = {"CARD": card, "BOOT": tmp_path / "boot", "ROOT": tmp_path / "root"}
    for name in ("BOOT", "ROOT"):
        places[name].mkdir()
    before = goldens.sha256(card)
    report = lab.metis("burn", "--node", NODE, "--yes", *(str(places.get(word, word)) for word in words))
    assert report.code == 3, report
    assert "etcd member" in report.err
    assert goldens.sha256(card) == before
    assert not [*places["BOOT"].iterdir(), *places["ROOT"].iterdir()]


@pytest.mark.parametrize("program", ["metis", "doit"])
def test_a_cluster_that_does_not_answer_stops_a_burn(
    lab: Lab, server: ApiServer, card: Path, program: str
) -> None:
    server.stop()
    before = goldens.sha256(card)
    report = burn(lab, program, card)
    assert report.code == (5 if program == "metis" else 2), report
    assert "--no-preflight" in report.out + report.err
    assert goldens.sha256(card) == before
    assert built(lab) == []


@pytest.mark.parametrize("program", ["metis", "doit"])
def test_a_burn_without_preflight_asks_nobody(lab: Lab, server: ApiServer, card: Path, program: str) -> None:
    server.put(gone())
    before = goldens.sha256(card)
    report = burn(lab, program, card, "--no-preflight")
    assert report.code == 0, report
    assert goldens.sha256(card) != before
    assert not server.requests


def test_a_card_that_may_come_back_is_burned_and_the_table_goes_to_stderr(
    lab: Lab, server: ApiServer, card: Path
) -> None:
    before = goldens.sha256(card)
    report = burn(lab, "metis", card)
    assert report.code == 0, report
    assert goldens.sha256(card) != before
    assert "nobody answers at 192.0.2.12" in report.err
    assert "nobody answers" not in report.out
    assert not server.changes


@pytest.mark.parametrize("program", ["metis", "doit"])
def test_where_no_cluster_is_named_nobody_is_asked_which_is_said(
    lab: Lab, server: ApiServer, card: Path, program: str
) -> None:
    server.put(gone())
    report = burn(lab, program, card, KUBECONFIG="")
    assert report.code == 0, report
    assert "etcd" not in report.err
    assert f"{NODE}: its cluster is not asked" in report.err
    assert not server.requests


def test_a_token_of_another_cluster_stops_a_burn(lab: Lab, server: ApiServer, card: Path) -> None:
    keep(lab, server, NODE, "server:word", ca_hash="ab" * 32)
    report = burn(lab, "metis", card)
    assert report.code == 3, report
    assert "yet: CA: " in report.err
    assert built(lab) == []
