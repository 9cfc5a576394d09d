"""What the API takes and gives, as values: nothing secret gets out, nothing that was not declared gets in."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.history.jobs import Job
from pipeline.service.api_jobs_models import (
    WANTED_EXAMPLES,
    JobInFull,
    WantedBuild,
    WantedBurn,
    WantedExport,
    WantedJob,
)
from pipeline.service.api_models import Node
from pipeline.service.board import Row

BURN = {"kind": "burn", "node": "titan-13", "confirm": "titan-13", "card": "0123456789abcdef"}
WANTED: TypeAdapter[WantedBuild | WantedBurn | WantedExport] = TypeAdapter(WantedJob)


def test_a_job_tells_its_card_and_no_other_option() -> None:
    seen = {"path": "/dev/sda", "serial": "1"}
    job = Job(
        7, "burn", "titan-13", {"card": "/dev/sda", "seen": seen}, "ada", "running", "2026-11-29T02:20:00Z"
    )
    told = JobInFull.of(job).model_dump()
    assert told["card"] == "/dev/sda"
    assert "seen" not in told


def test_what_looks_like_a_secret_in_a_jobs_last_line_is_masked() -> None:
    said = "cannot log in with password=hunter22 to https://ada:hunter22@registry.example"
    job = Job(7, "image", "titan-13", {}, "ada", "failed", "2026-11-29T02:20:00Z", said=said)
    assert "hunter22" not in JobInFull.of(job).said


def test_a_node_calls_its_class_by_that_word() -> None:
    told = Node.of(Row("titan-13", "pi", "fresh", "", None)).model_dump(by_alias=True)
    assert (told["class"], told["state"]) == ("pi", "fresh")


@pytest.mark.parametrize("kind", ["export", "of another Metis"])
def test_a_job_of_any_kind_is_told(kind: str) -> None:
    job = Job(7, kind, "titan-13", {}, "ada", "done", "2026-11-29T02:20:00Z")
    assert JobInFull.of(job).kind == kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (BURN, WantedBurn),
        ({"kind": "image", "node": "titan-13"}, WantedBuild),
        ({"kind": "export", "node": "titan-13"}, WantedExport),
    ],
    ids=["burn", "build", "export"],
)
def test_a_job_may_be_wanted(value: dict[str, Any], kind: type) -> None:
    assert type(WANTED.validate_python(value)) is kind


@pytest.mark.parametrize("name", WANTED_EXAMPLES)
def test_the_examples_are_such(name: str) -> None:
    assert WANTED.validate_python(WANTED_EXAMPLES[name]["value"])


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        BURN | {"kind": "wipe"},
        BURN | {"card": "/dev/sda"},
        BURN | {"card": "0123456789ABCDEF"},
        BURN | {"card": "0123456789abcdef\n"},
        BURN | {"node": 7},
        BURN | {"node": ""},
        BURN | {"node": "n" * 254},
        BURN | {"yes": True},
        {"kind": "burn", "node": "titan-13", "card": "0123456789abcdef"},
        {"kind": "image", "node": "titan-13", "card": "0123456789abcdef"},
        {"kind": "image", "node": ["titan-13"]},
    ],
    ids=str,
)
def test_what_is_no_wish_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        WANTED.validate_python(value)
