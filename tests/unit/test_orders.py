"""What is sent to workers: plain data without a secret, and only to workers that are like us."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path

import pytest

from pipeline.errors import RottenError
from pipeline.manifest import blobs_of
from pipeline.model import Blob, Edit, File, Manifest, Placed, SecretRef, Text
from pipeline.steps.orders import Answer, BaseOrder, Fit, ImageOrder, Place

PLACE = Place(Path("/a"), Path("/a/folder"), Path("/cache"), Path("/state"))


@pytest.mark.parametrize(
    "sent",
    [
        BaseOrder(PLACE, {"entries": []}, "ab" * 32, 1 << 30),
        ImageOrder(PLACE, {"entries": []}, Path("/a/base.img"), {"plain": "cd" * 16}, {"node": "1"}, None),
        Answer("w1", None, "it failed", 4),
    ],
    ids=lambda sent: type(sent).__name__,
)
def test_what_is_sent_arrives_as_it_was(sent: object) -> None:
    assert pickle.loads(pickle.dumps(sent)) == sent


def test_workers_that_are_alike_fit() -> None:
    fit = Fit.here("1.0", "2026.8", "direct")
    assert fit.differences(Fit.here("1.0", "2026.8", "direct")) == ""


@pytest.mark.parametrize("field", [each.name for each in fields(Fit)])
def test_a_worker_that_is_otherwise_in_anything_is_told_in_what_and_what_to_do(field: str) -> None:
    wanted = Fit.here("1.0", "2026.8", "direct")
    said = replace(wanted, **{field: "other"}).differences(wanted)
    assert f"is other there and {getattr(wanted, field)} here: " in said


def test_the_blobs_of_a_manifest_are_those_of_its_files_each_once() -> None:
    first, second = Blob("ab" * 32, "overlays/a/x"), Blob("cd" * 32, "overlays/a/y")
    entries = (
        File("/x", (Text("# "), first, second)),
        File("/y", (first, SecretRef("k3s_token"))),
        Edit("/etc/hosts", "hosts", (("name", "x"),)),
    )
    placed = tuple(Placed(entry, "node") for entry in entries)
    assert blobs_of(Manifest("titan-13", placed, "")) == (first, second)


def test_a_failure_says_where_it_was_and_keeps_its_exit_code() -> None:
    failure = Answer("w1", error="the golden differs", exit_code=4).failure
    assert (str(failure), failure.exit_code) == ("the golden differs (on worker w1)", 4)


def test_a_golden_that_rotted_is_told_apart_as_it_is_fetched_again() -> None:
    assert isinstance(Answer("w1", error="x", exit_code=4, is_rotten=True).failure, RottenError)
