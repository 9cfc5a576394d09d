"""What nightly runs leave: whole files, readable by whom they are for, and not too many of them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.nightly.files import KEPT, Kept, earlier_success, keep, latest
from pipeline.nightly.report import NodeReport, Report

BEGUN = 1_772_586_000.0


@pytest.fixture(autouse=True)
def strict_umask() -> Iterator[None]:
    """That of the service: nothing is for others but what says so."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def night(number: int, *, good: bool = True) -> Report:
    nodes = [NodeReport("alpha", "skipped" if good else "failed")]
    return Report("2026-03-04T01:00:00Z", BEGUN + number, 1.0, nodes)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_night_leaves_its_report_the_text_and_the_metrics(tmp_path: Path) -> None:
    report, folder = night(0), tmp_path / "nightly"
    assert keep(report, folder, folder / "metis.prom") == Kept(report, [], latest(folder))
    assert sorted(file.name for file in folder.iterdir()) == [
        "20260304T010000.000Z.json",
        "latest.txt",
        "metis.prom",
    ]
    assert json.loads((folder / "20260304T010000.000Z.json").read_bytes()) == report.to_data()
    assert latest(folder).read_text() == report.to_text()
    assert (folder / "metis.prom").read_text() == report.to_metrics()


def test_the_metrics_alone_are_for_all_to_read(tmp_path: Path) -> None:
    keep(night(0), tmp_path, tmp_path / "metis.prom")
    assert {file.name: mode(file) for file in tmp_path.iterdir()} == {
        "20260304T010000.000Z.json": 0o600,
        "latest.txt": 0o600,
        "metis.prom": 0o644,
    }


def test_the_reports_of_the_last_nights_stay(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        keep(night(number), tmp_path, tmp_path / "metis.prom")
    kept = sorted(tmp_path.glob("*.json"))
    assert len(kept) == KEPT
    assert kept[0].name == "20260304T010003.000Z.json"


def test_the_last_success_is_known_however_many_nights_have_failed_since(tmp_path: Path) -> None:
    keep(night(0), tmp_path, tmp_path / "metis.prom")
    for number in range(1, KEPT + 3):
        failed = Report(
            "2026-03-04T01:00:00Z",
            BEGUN + number,
            1.0,
            [NodeReport("alpha", "failed")],
            earlier_success=earlier_success(tmp_path),
        )
        keep(failed, tmp_path, tmp_path / "metis.prom")
    assert earlier_success(tmp_path) == BEGUN


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'"x"'])
def test_a_report_that_cannot_be_read_does_not_hide_the_one_before(tmp_path: Path, content: bytes) -> None:
    keep(night(0), tmp_path, tmp_path / "metis.prom")
    (tmp_path / "20260305T010000.000Z.json").write_bytes(content)
    assert earlier_success(tmp_path) == BEGUN


@pytest.mark.parametrize("value", ["null", '"x"', "[]"])
def test_what_is_no_time_is_no_success(tmp_path: Path, value: str) -> None:
    (tmp_path / "20260305T010000.000Z.json").write_text(f'{{"last_success": {value}}}')
    assert earlier_success(tmp_path) is None


def test_no_night_no_success(tmp_path: Path) -> None:
    assert earlier_success(tmp_path / "nowhere") is None


def test_the_service_and_node_exporter_are_told_the_same(tmp_path: Path) -> None:
    files = tmp_path / "node-exporter.prom", tmp_path / "metis.prom"
    keep(night(0), tmp_path, *files)
    assert [file.read_text() for file in files] == [night(0).to_metrics()] * 2


def test_metrics_that_cannot_be_written_for_one_are_no_success_for_the_other(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keep(night(0), tmp_path, tmp_path / "file/metis.prom", tmp_path / "metis.prom")
    assert "last_success" not in (tmp_path / "metis.prom").read_text()


def test_metrics_that_cannot_be_written_are_told_and_keep_nothing_else_back(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    folder = tmp_path / "nightly"
    kept = keep(night(0), folder, file / "metis.prom")
    (error,) = kept.errors
    assert "metis.prom" in str(error)
    assert list(kept.report.faults) == [str(error)]
    assert not kept.report.succeeded
    assert latest(folder).read_text() == kept.report.to_text()
    (machines,) = folder.glob("*.json")
    assert json.loads(machines.read_bytes()) == kept.report.to_data()
    assert kept.report.to_data()["last_success"] is None
    assert kept.shown == latest(folder)


def test_who_looks_for_the_report_is_sent_to_one_that_was_written(tmp_path: Path) -> None:
    latest(tmp_path).mkdir()
    kept = keep(night(0), tmp_path, tmp_path / "metis.prom")
    (error,) = kept.errors
    assert "latest.txt" in str(error)
    (machines,) = tmp_path.glob("*.json")
    assert kept.shown == machines
    (tmp_path / "file").touch()
    kept = keep(night(0), tmp_path / "file", tmp_path / "metis.prom")
    assert kept.shown is None
    assert len(kept.report.faults) == len(set(kept.report.faults))


def test_metrics_are_replaced_whole(tmp_path: Path) -> None:
    """Who has the old file open reads the old one to its end."""
    file = tmp_path / "metis.prom"
    keep(night(0), tmp_path / "nightly", file)
    with file.open() as old:
        keep(night(1, good=False), tmp_path / "nightly", file)
        assert old.read() == night(0).to_metrics()
    assert file.read_text() == night(1, good=False).to_metrics()
    assert [each.name for each in tmp_path.iterdir() if each.name != "nightly"] == ["metis.prom"]
