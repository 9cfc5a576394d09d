"""One machine's address is one text, whoever wrote it."""

from __future__ import annotations

import pytest

from pipeline.cluster.addresses import parsed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/24", "192.0.2.7"),
        ("fd00:0:0::7", "fd00::7"),
        ("FD00::7/64", "fd00::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    assert str(parsed(text)) == address


@pytest.mark.parametrize(
    "text",
    ["", "titan-7", "192.0.2", "192.0.2.007", "192.0.2.7/33", "[fd00::7]", "fe80::7%eth0", "fe80::7%\x1b[2J"],
)
def test_what_is_no_address_of_a_machine_is_none(text: str) -> None:
    assert parsed(text) is None
