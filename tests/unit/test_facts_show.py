"""An overview says by class what runs, how many agree, who does not, and who is silent."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipeline.facts.expected import Expected
from pipeline.facts.overview import Declared, Overview, overview
from pipeline.facts.recommend import recommended
from pipeline.facts.show import (
    TOLD,
    node_data,
    node_text,
    overview_data,
    overview_text,
    package_data,
    package_text,
)
from pipeline.facts.snapshot import Snapshot, from_data
from tests.support import snapshots
from tests.support.snapshots import NOW

TO_THAT = "bring it to what 2 of 3 run, or rebuild its image and burn it again"
TO_THE_CLASS = "bring it to what 2 of 3 have, or rebuild its image and burn it again"
HOSTILE = "6.6\x1b[2J\n<script>alert(1)</script>\u202e"


def said(node: str, **changes: Any) -> Snapshot:
    return from_data(
        snapshots.snapshot(node, **{"packages": {"curl": "7.88", "vim": "9"}, **changes}), whole=True
    )


def expected_of(snapshot: Snapshot) -> Expected:
    """A node that is just what it says."""
    return Expected(snapshot.node, "pi", snapshot.node, (), (), {}, snapshot.card_sha256, {}, {})


def look(*found: Snapshot, silent: tuple[str, ...] = (), senseless: str = "", days: int = 7) -> Overview:
    nodes = [each.node for each in found] + list(silent)
    declared = Declared(
        {"pi": [name for name in nodes if name != "stranger"]},
        {each.node: expected_of(each) for each in found if each.node != senseless},
        {},
    )
    return overview(declared, {each.node: each for each in found}, NOW - timedelta(days=days))


def test_versions_and_watched_packages_stand_with_who_has_others() -> None:
    found = look(said("a"), said("b"), said("c", kernel="6.1", packages={"curl": "8.0"}), silent=("d",))
    assert overview_text(found, NOW).splitlines() == [
        "pi: 3 of 4 nodes heard of",
        "  kernel      6.12.58-current-bcm2711  2 of 3  6.1: c",
        "  k3s         v1.34.2+k3s1             3 of 3",
        "  containerd  2.1.5-k3s1               3 of 3",
        "  runc        1.3.3                    3 of 3",
        "  curl        7.88                     2 of 3  8.0: c",
        "  silent: d (never heard of)",
        f"  warning  c  kernel: expected 6.12.58-current-bcm2711, found 6.1: {TO_THAT}",
        f"  info  c  package curl: expected 7.88, found 8.0: {TO_THE_CLASS}",
        f"  info  c  package vim: expected 9, found nothing: {TO_THE_CLASS}",
    ]


def test_without_a_majority_all_are_named() -> None:
    text = overview_text(look(said("a"), said("b", kernel="6.1")), NOW)
    assert "kernel      no majority           6.1: b; 6.12.58-current-bcm2711: a" in text


def test_the_majority_shown_is_of_all_nodes_and_the_agreed_one_of_the_healthy() -> None:
    sick = [said(name, kernel="6.1", failed_units=["x.service"]) for name in "ab"]
    found = look(*sick, *map(said, "cde"))
    assert "kernel      6.12.58-current-bcm2711  3 of 5  6.1: a, b" in overview_text(found, NOW)
    found = look(*sick, said("c"), said("d"), said("e", kernel="6.1"))
    assert "kernel      6.1           3 of 5  6.12.58-current-bcm2711: c, d" in overview_text(found, NOW)
    kernel = overview_data(found, NOW, [])["classes"]["pi"]["versions"]["kernel"]
    assert (kernel["majority"], kernel["agreed"]) == ("6.1", "6.12.58-current-bcm2711")


def test_the_few_that_are_healthy_do_not_tell_the_many_what_to_run() -> None:
    sick = [said(name, kernel="6.1", failed_units=["x.service"]) for name in "ab"]
    assert look(*sick, said("c")).findings == ()


def test_of_many_nodes_five_are_named() -> None:
    found = look(
        *(said(f"n{number}", kernel="6.6") for number in range(9)), *(said(f"o{n}") for n in range(7))
    )
    assert "6.12.58-current-bcm2711: o0, o1, o2, o3, o4 and 2 more" in overview_text(found, NOW)


def test_of_many_findings_the_gravest_are_told() -> None:
    few = [said(f"n{number:02}", kernel=f"6.{number}") for number in range(TOLD + 3)]
    lines = overview_text(look(*few, *(said(f"o{number}") for number in range(30))), NOW).splitlines()
    assert lines[-1] == "  and 3 findings more: --node shows those of one node, --json all"
    assert len([line for line in lines if line.startswith("  warning")]) == TOLD


def test_what_is_too_old_does_not_count_and_its_node_is_silent() -> None:
    old = replace(said("a", kernel="5.4"), at=NOW - timedelta(days=8))
    text = overview_text(look(old, said("b")), NOW)
    assert "5.4" not in text
    assert "  silent: a (8 days ago)" in text


def test_a_node_that_the_inventory_does_not_know_is_named() -> None:
    assert overview_text(look(said("a"), said("stranger")), NOW).endswith(
        "\nnot in the inventory: stranger\n"
    )


def test_failed_units_are_told() -> None:
    assert "  failed units: a: k3s-agent.service\n" in overview_text(
        look(said("a", failed_units=["k3s-agent.service"])), NOW
    )


@pytest.mark.parametrize("others", [0, 1])
def test_a_node_that_was_not_compared_is_not_said_to_have_no_drift(others: int) -> None:
    found = look(said("a"), *map(said, "b" * others), senseless="a")
    text = overview_text(found, NOW)
    assert "  not compared, as the inventory makes no sense of it: a\n" in text
    assert text.count("no drift") == others
    assert overview_data(found, NOW, [])["classes"]["pi"]["not_compared"] == ["a"]


@pytest.mark.parametrize(
    "found",
    [look(said("a"), senseless="a"), look(replace(said("a"), at=NOW - timedelta(days=8)))],
    ids=["no sense", "silent"],
)
def test_one_node_that_was_not_compared_says_so(found: Overview) -> None:
    assert found.of_node("a") is None
    assert "no drift" not in node_text(said("a"), found.of_node("a"), NOW)
    assert "not compared" in node_text(said("a"), found.of_node("a"), NOW)
    assert node_data(said("a"), found.of_node("a"))["findings"] is None


def test_a_class_of_nodes_that_are_as_they_should_be_has_no_drift() -> None:
    assert overview_text(look(said("a")), NOW).endswith("  no drift\n")


@pytest.mark.parametrize("fact", ["kernel", "board", "cmdline"])
def test_no_word_of_a_node_reaches_the_terminal_as_it_is(fact: str) -> None:
    hostile = said("a", **{fact: HOSTILE, "failed_units": [HOSTILE], "gaps": [HOSTILE]})
    found = look(hostile, said("b"), said("c"))
    text = overview_text(found, NOW) + node_text(hostile, found.findings, NOW)
    text += package_text(look(said("a", packages={"curl": HOSTILE})), "curl")
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


def test_machines_get_the_same() -> None:
    found = look(said("a"), said("b"), said("c", kernel="6.1"), said("stranger"), silent=("d",))
    data = json.loads(json.dumps(overview_data(found, NOW, ["x is no snapshot"])))
    about = data["classes"]["pi"]
    assert data["strangers"] == ["stranger"]
    assert data["skipped"] == ["x is no snapshot"]
    assert about["silent"] == {"d": None}
    assert about["versions"]["kernel"] == {
        "majority": "6.12.58-current-bcm2711",
        "agreed": "6.12.58-current-bcm2711",
        "nodes": {"6.12.58-current-bcm2711": ["a", "b"], "6.1": ["c"]},
    }
    assert about["drift"] == {"critical": 0, "warning": 1, "info": 0}
    assert [each["kind"] for each in about["findings"]] == ["kernel"]


def test_one_node_is_shown_in_full() -> None:
    found = look(said("a", dropped=3, gaps=["no D-Bus"]))
    text = node_text(found.classes[0].seen["a"], found.findings, NOW)
    for line in (
        "a: 40 minutes ago",
        "board            Raspberry Pi 4 Model B Rev 1.5",
        "address          192.0.2.13/24 eth0",
        "packages         2",
        "not known        no D-Bus",
        "dropped          3 snapshots for which its spool had no room",
        "no drift",
    ):
        assert line in text


def test_one_node_for_machines_is_all_that_it_said() -> None:
    snapshot = said("a")
    assert node_data(snapshot, ())["snapshot"] == snapshots.snapshot(
        "a", packages={"curl": "7.88", "vim": "9"}
    )


def test_a_package_is_found_by_its_name_whatever_else_is_beside_it() -> None:
    both = said("b", arch="x86_64", packages={"vim:amd64": "9", "vim:i386": "9"})
    found = look(said("a", arch="x86_64"), both)
    for name in ("vim", "vim:amd64"):
        assert package_data(found, name) == {"pi": {"9": ["a", "b"]}}


def test_a_package_is_looked_up_in_all_classes() -> None:
    found = look(said("a"), said("b", packages={}), said("c"))
    assert package_text(found, "vim").splitlines() == [
        "class  vim   nodes",
        "pi     9     2      a, c",
        "pi     none  1      b",
    ]


# -------------------------------------------------------------------------------------- recommendations


def test_the_majority_of_the_healthy_is_recommended() -> None:
    found = look(
        said("a"), said("b"), said("c", kernel="6.1"), said("d", kernel="6.0", failed_units=["x.service"])
    )
    assert recommended(found.classes[0], ["vim", "not-there"]) == {
        "kernel": "6.12.58-current-bcm2711",
        "k3s": "v1.34.2+k3s1",
        "containerd": "2.1.5-k3s1",
        "runc": "1.3.3",
        "packages": {"curl": "7.88", "vim": "9"},
    }


def test_nothing_is_recommended_where_few_are_healthy() -> None:
    found = look(said("a"), said("b", failed_units=["x.service"]))
    assert recommended(found.classes[0], []) == {}


def test_what_the_healthy_do_not_agree_on_is_left_out() -> None:
    assert "kernel" not in recommended(look(said("a"), said("b", kernel="6.1")).classes[0], [])
