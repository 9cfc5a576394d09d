"""The list for Raspberry Pi Imager is what its schema says, and what Imager needs beside that."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service import imager_list
from pipeline.service.imager_list import Offer, deep_link, no_cards, os_list

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "tests/cases/imager/os-list.schema.json").read_bytes())
ICON = "https://metis.example/static/imager.png"
URL = "https://metis.example/imager/TOKEN/titan-13.img.zst"
OFFER = Offer(
    node="titan-13",
    klass="rpi4-armbian-longhorn",
    arch="arm64",
    image="ab" * 32,
    made_at="2026-11-29T07:50:03Z",
    expires_at="2026-11-29T08:50:03Z",
    size=734_003_200,
    raw_size=3_221_225_472,
    raw_sha256="cd" * 32,
)
INIT_FORMATS = {"", "none", "systemd", "cloudinit", "cloudinit-rpi", "rpi-preseed"}
MOST_BYTES = 10 << 20
"""Imager reads no more of a list."""
listed = partial(os_list, url=URL, icon=ICON)
texts = st.text(max_size=2000)
sizes = st.integers(0, 1 << 50)
days = st.datetimes(min_value=datetime(2000, 1, 1)).map(lambda at: f"{at:%Y-%m-%d}T{at:%H:%M:%S}Z")
offers = st.builds(
    Offer,
    node=texts,
    klass=texts,
    arch=texts,
    image=texts,
    made_at=days,
    expires_at=days,
    size=sizes,
    raw_size=sizes,
    raw_sha256=st.from_regex(r"\A[0-9a-f]{64}\Z"),
)


def check(data: dict[str, Any]) -> None:
    """Hold a list to the schema and to what Imager does with one."""
    jsonschema.Draft7Validator(SCHEMA).validate(data)
    assert set(data) == {"imager", "os_list"}
    assert data["imager"]["devices"]
    assert len(json.dumps(data).encode()) < MOST_BYTES
    known = {tag for device in data["imager"]["devices"] for tag in device["tags"]}
    for card in data["os_list"]:
        assert set(card["devices"]) <= known
        assert card["devices"]
        assert card["init_format"] in INIT_FORMATS
        assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", card["release_date"])
        assert re.fullmatch(r"[0-9a-f]{64}", card["extract_sha256"])
        assert "subitems" not in card


def test_the_schema_is_one_that_refuses() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    broken = listed(OFFER)
    del broken["os_list"][0]["devices"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(broken)


def test_a_card_is_what_the_schema_and_imager_want() -> None:
    check(listed(OFFER))


def test_the_list_without_cards_says_how_to_get_one() -> None:
    data = no_cards(ICON)
    check(data)
    (device,) = data["imager"]["devices"]
    assert device["tags"] == []
    assert "page of the node" in device["description"]
    assert data["os_list"] == []


@given(offers)
def test_whatever_names_there_are_the_list_is_one(offer: Offer) -> None:
    data = listed(offer)
    check(data)
    shown = [value for each in (*data["os_list"], *data["imager"]["devices"]) for value in each.values()]
    assert all(text.isprintable() for text in shown if isinstance(text, str))


def test_sizes_and_hash_are_those_of_the_image_and_of_the_download() -> None:
    (card,) = listed(OFFER)["os_list"]
    assert card["extract_size"] == OFFER.raw_size
    assert card["image_download_size"] == OFFER.size
    assert card["extract_sha256"] == OFFER.raw_sha256
    assert (card["url"], card["icon"]) == (URL, ICON)


def test_imager_changes_nothing_in_the_image() -> None:
    assert listed(OFFER)["os_list"][0]["init_format"] == "none"


def test_the_only_device_is_chosen_already() -> None:
    (device,) = listed(OFFER)["imager"]["devices"]
    assert device["default"] is True


@pytest.mark.parametrize(("arch", "named"), [("arm64", "armv8"), ("amd64", None), ("riscv64", None)])
def test_only_an_architecture_that_imager_has_a_name_for_is_named(arch: str, named: str | None) -> None:
    data = listed(replace(OFFER, arch=arch))
    for each in (data["os_list"][0], data["imager"]["devices"][0]):
        assert each.get("architecture") == named


def test_the_icon_is_a_small_picture() -> None:
    content = (ROOT / "pipeline/service/static/imager.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) < 1 << 16


REPOSITORIES = [
    "https://metis.example/imager/a-b_C/os_list.json",
    "http://127.0.0.1:8080/imager/x/os_list.json",
    "https://metis.example/a&b=c#d/os_list.json",
]


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_a_deep_link_brings_imager_to_the_whole_address(repository: str) -> None:
    parts = urlsplit(deep_link(repository))
    assert (parts.scheme, parts.netloc, parts.fragment) == ("rpi-imager", "open", "")
    assert parse_qs(parts.query) == {"repo": [repository]}


def test_a_list_has_an_ending_that_imager_opens() -> None:
    assert imager_list.LIST.endswith((".json", ".rpi-imager-manifest"))


def test_the_warning_names_the_secrets_and_the_cache_of_imager() -> None:
    said = " ".join(imager_list.WARNING)
    assert all(word in said for word in ("secrets", "Whoever has the link", "cache"))
