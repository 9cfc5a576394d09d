"""Options that many commands have: what is given becomes environment before anything looks at that."""

from __future__ import annotations

import os

import click
import pytest
from click.testing import CliRunner

from pipeline.commands.options import registry_options

VARIABLES = ("METIS_INSECURE_REGISTRY", "METIS_REGISTRY_CA")


@pytest.mark.parametrize(
    ("words", "before", "after"),
    [
        ([], {}, (None, None)),
        ([], {"METIS_INSECURE_REGISTRY": "a:5000"}, ("a:5000", None)),
        (["--insecure-registry", "b:5000"], {"METIS_INSECURE_REGISTRY": "a:5000"}, ("b:5000", None)),
        (["--insecure-registry", "a", "--insecure-registry", "b:5000"], {}, ("a,b:5000", None)),
        (["--registry-ca", "lab.pem"], {"METIS_REGISTRY_CA": "old.pem"}, (None, "lab.pem")),
    ],
)
def test_what_a_flag_says_of_registries_counts_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, words: list[str], before: dict[str, str], after: tuple[str | None, ...]
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, before.get(name, ""))
        if name not in before:
            monkeypatch.delenv(name)
    seen: list[tuple[str | None, ...]] = []

    @click.command()
    @registry_options
    def command() -> None:
        seen.append(tuple(os.environ.get(name) for name in VARIABLES))

    assert CliRunner().invoke(command, words).exit_code == 0
    assert seen == [after]
