"""A part of a node's identity is known where it is rendered, made, adopted, rotated and checked.

Each of these says something else of it, so each has its own table. Whoever forgets one is told here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adopt.items import ITEMS as ADOPTED
from pipeline.boot.checks import MACHINE_ID
from pipeline.boot.guest import KINDS
from pipeline.model import File, SecretRef
from pipeline.render import identity
from pipeline.render.identity import HOST_KEYS
from pipeline.secrets.identity import MAKERS
from pipeline.secrets.password import SALT
from pipeline.secrets.rotate import ITEMS as ROTATED
from pipeline.secrets.rotate import PASSWORD
from tests.support.rendering import all_entries, node_of

NODE = node_of("{class: pi, k3s: {role: agent, server: 'https://192.0.2.1:6443'}}")
PARTS = MAKERS.keys() - {SALT}
"""The salt is made with a password, and is no part by itself."""
README = Path(__file__).parents[2] / "README.md"


def placed() -> dict[SecretRef, str]:
    """The path of each secret that makes up a whole file of a node."""
    files = [entry for entry in all_entries(NODE) if isinstance(entry, File) and len(entry.content) == 1]
    return {file.content[0]: file.path for file in files if isinstance(file.content[0], SecretRef)}


def test_what_a_card_has_of_an_identity_is_made_where_it_is_missing() -> None:
    files = [entry for entry in identity.render(NODE) if isinstance(entry, File)]
    names = {piece.name for file in files for piece in file.content if isinstance(piece, SecretRef)}
    assert names <= PARTS
    assert {ref.name for ref in placed()} >= PARTS


def test_what_is_made_is_adopted_from_where_a_card_has_it() -> None:
    private = {ref: path for ref, path in placed().items() if ref.name in PARTS and ref.form != "public-key"}
    public = {path for ref, path in placed().items() if ref.form == "public-key"}
    assert {SecretRef(item.name, item.form): item.path for item in ADOPTED} == private
    assert {item.public for item in ADOPTED if item.public} == public


def test_what_is_made_can_be_made_anew() -> None:
    assert {name for item in ROTATED.values() for name in item.names} == {*PARTS, PASSWORD}


def test_the_host_keys_of_a_card_are_those_that_a_boot_looks_at() -> None:
    assert set(KINDS) == set(HOST_KEYS)
    assert MACHINE_ID in placed().values()


@pytest.mark.parametrize("name", sorted(PARTS))
def test_the_readme_names_each_part(name: str) -> None:
    assert name.partition(".")[2] in README.read_text("utf-8")
