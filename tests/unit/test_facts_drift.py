"""What is drift, how grave it is, and what is to be done; and what is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.facts.agreed import Agreed, Share, agreed
from pipeline.facts.drift import FEWEST, MANY, Burned, drift, is_healthy, twins
from pipeline.facts.expected import Expected, expected
from pipeline.facts.finding import Finding
from pipeline.facts.snapshot import Mount, Snapshot, from_data
from pipeline.manifest import Contribution, collect
from pipeline.render import record
from tests.support import snapshots
from tests.support.rendering import all_entries, node_of

UUID, OTHER = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-00000000000f"
LONGHORN = "abcd1111-0000-4000-8000-000000000001"
NODE = f"""\
class: pi
network: {{interface: eth0, address: 192.0.2.13/24, gateway: 192.0.2.1}}
k3s: {{role: agent, server: "https://192.0.2.7:6443"}}
longhorn: {{disks: [{{uuid: {UUID}, path: /mnt/longhorn, disk_uuid: {LONGHORN}}}]}}
"""
SOFT = NODE.replace("longhorn: {disks", "longhorn: {mode: soft, disks")
TARGETS = 'targets: {kernel: "6.6.31", packages: {openssl: "3.0.15"}}\n'
HOSTNAME = "/etc/hostname"
BURNED = Burned("ab" * 32, "2026-11-01T08:00:00+00:00")


def wanted(text: str = NODE) -> Expected:
    node = node_of(text)
    entries = all_entries(node)
    layers = [Contribution("concerns", entries), Contribution("record", record.render(node, entries))]
    return expected(node, collect("titan-13", layers))


def healthy(wants: Expected, **changes: Any) -> Snapshot:
    """What the sentinel of a node says that is just what the inventory says."""
    files = {
        path: {"state": "file", **about} if "sha256" in about else {"state": "unread"}
        for path, about in wants.files.items()
    }
    said = {
        "hostname": "titan-13",
        "addresses": [{"interface": "eth0", "address": "192.0.2.13/24"}],
        "mounts": [
            {"path": "/mnt/longhorn", "source": "/dev/sda1", "type": "ext4", "uuid": UUID, "read_only": False}
        ],
        "longhorn_disks": [{"path": "/mnt/longhorn", "uuid": LONGHORN}],
        "card": {"node": "titan-13", "class": "pi", "sha256": wants.card_sha256},
        "burn": {"node": "titan-13", "image": BURNED.image, "at": BURNED.at},
        "files": files,
        "kernel": "6.6.31",
        "packages": {"openssl": "3.0.15", "curl": "7.88"},
    }
    return from_data(snapshots.snapshot("titan-13", **{**said, **changes}))


def file_changed(wants: Expected, **changes: str) -> Snapshot:
    found = healthy(wants)
    assert found.files is not None
    return replace(found, files={**found.files, HOSTNAME: replace(found.files[HOSTNAME], **changes)})


def of_an_older_card(wants: Expected) -> Snapshot:
    """A card that was made before the inventory changed; none of its own files was touched."""
    changed = file_changed(wants, sha256="cd" * 32)
    return replace(changed, card_sha256="ef" * 32)


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.subject, each.severity) for each in findings]


def test_a_node_that_is_what_the_inventory_says_has_no_drift() -> None:
    wants = wanted(NODE + TARGETS)
    assert drift(healthy(wants), wants, Agreed(), BURNED) == ()


CASES: dict[str, tuple[Callable[[Expected], Snapshot], tuple[str, str, str]]] = {
    "another host name": (lambda wants: healthy(wants, hostname="titan-14"), ("hostname", "", "critical")),
    "not at its address": (
        lambda wants: healthy(wants, addresses=[]),
        ("address", "192.0.2.13/24", "warning"),
    ),
    "a file edited": (lambda wants: file_changed(wants, sha256="cd" * 32), ("file", HOSTNAME, "warning")),
    "a file gone": (lambda wants: file_changed(wants, state="missing"), ("file", HOSTNAME, "warning")),
    "a link in its place": (lambda wants: file_changed(wants, state="other"), ("file", HOSTNAME, "warning")),
    "another mode": (lambda wants: file_changed(wants, mode="0666"), ("file", HOSTNAME, "warning")),
    "another owner": (lambda wants: file_changed(wants, owner="atlas"), ("file", HOSTNAME, "warning")),
    "not mounted": (lambda wants: healthy(wants, mounts=[]), ("mount", "/mnt/longhorn", "critical")),
    "another disk mounted": (
        lambda wants: replace(healthy(wants), mounts=(Mount("/mnt/longhorn", "/dev/sda1", OTHER),)),
        ("mount", "/mnt/longhorn", "critical"),
    ),
    "another disk of Longhorn": (
        lambda wants: healthy(wants, longhorn_disks=[{"path": "/mnt/longhorn", "uuid": OTHER}]),
        ("longhorn", "/mnt/longhorn", "critical"),
    ),
    "the card that was burned before": (
        lambda wants: replace(healthy(wants), burned_at="2026-10-01T08:00:00+00:00"),
        ("card", "burn", "warning"),
    ),
    "a card that nobody burned": (lambda wants: healthy(wants, burn=None), ("card", "burn", "warning")),
    "a card from an older inventory": (of_an_older_card, ("card", "inventory", "info")),
    "no card of ours": (lambda wants: healthy(wants, card=None, files=None), ("card", "record", "info")),
    "another kernel than its target": (
        lambda wants: healthy(wants, kernel="6.6.28"),
        ("kernel", "", "warning"),
    ),
    "another package than its target": (
        lambda wants: healthy(wants, packages={"openssl": "3.0.14"}),
        ("package", "openssl", "warning"),
    ),
    "a package that is gone": (lambda wants: healthy(wants, packages={}), ("package", "openssl", "warning")),
}


@pytest.mark.parametrize(("said", "finding"), CASES.values(), ids=CASES)
def test_each_way_to_differ_is_one_finding(
    said: Callable[[Expected], Snapshot], finding: tuple[str, str, str]
) -> None:
    wants = wanted(NODE + TARGETS)
    found = drift(said(wants), wants, Agreed(), BURNED)
    assert told(found) == [finding]
    assert found[0].advice
    assert found[0].expected != found[0].found


@pytest.mark.parametrize(
    "said",
    [
        lambda wants: replace(healthy(wants), burned_at="2026-11-02T08:00:00+00:00", burned_image="cd" * 32),
        lambda wants: healthy(wants, longhorn_disks=[{"path": "/mnt/longhorn", "uuid": LONGHORN.upper()}]),
        lambda wants: healthy(wants, packages={"openssl:arm64": "3.0.15", "openssl:armhf": "3"}),
    ],
    ids=["a later burn on another host", "a UUID in capitals", "a package of two architectures"],
)
def test_what_is_as_good_is_no_drift(said: Callable[[Expected], Snapshot]) -> None:
    wants = wanted(NODE + TARGETS)
    assert drift(said(wants), wants, Agreed(), BURNED) == ()


def test_a_card_of_a_burn_that_failed_is_not_the_last() -> None:
    wants = wanted()
    later = "2026-11-02T08:00:00+00:00"
    said = replace(healthy(wants), burned_at=later)
    found = drift(said, wants, Agreed(), replace(BURNED, failed=frozenset({later})))
    assert told(found) == [("card", "burn", "warning")]


def test_a_target_names_a_package_with_or_without_its_own_architecture() -> None:
    wants = wanted(NODE + 'targets: {packages: {"openssl:arm64": "3.0.15", "openssl:armhf": "3.0.15"}}')
    assert told(drift(healthy(wants), wants, Agreed())) == [("package", "openssl:armhf", "warning")]


def test_an_address_that_is_missing_is_told_without_those_that_come_and_go_with_pods() -> None:
    wants = wanted()
    said = ["192.0.2.99/24", "10.42.0.1/24", "fe80::1/64", "169.254.1.1/16", "2001:db8::1/64", "nonsense"]
    listed = [{"interface": "eth0", "address": each} for each in said]
    (found,) = drift(healthy(wants, addresses=listed), wants, Agreed())
    assert found.found == "10.42.0.1/24, 192.0.2.99/24"


@pytest.mark.parametrize("fact", ["hostname", "addresses", "mounts", "longhorn_disks", "kernel", "packages"])
def test_what_a_node_does_not_say_is_no_drift(fact: str) -> None:
    wants = wanted(NODE + TARGETS)
    assert drift(healthy(wants, **{fact: None}), wants, Agreed(), BURNED) == ()


def test_an_address_is_the_same_however_it_is_written() -> None:
    wants = wanted('{class: pi, network: {interface: eth0, address: "2001:db8:0::13/64"}}')
    said = healthy(wants, addresses=[{"interface": "eth0", "address": "2001:db8::13/64"}])
    assert drift(said, wants, Agreed()) == ()


def test_a_disk_that_k3s_can_do_without_is_less_grave() -> None:
    wants = wanted(SOFT)
    assert told(drift(healthy(wants, mounts=[]), wants, Agreed())) == [("mount", "/mnt/longhorn", "warning")]


def test_a_file_edited_on_an_older_card_is_told_by_the_cards_own_record() -> None:
    wants = wanted()
    said = replace(file_changed(wants, sha256="cd" * 32, burned="aa" * 32), card_sha256="ef" * 32)
    assert told(drift(said, wants, Agreed())) == [
        ("card", "inventory", "info"),
        ("file", HOSTNAME, "warning"),
    ]


def test_a_card_of_another_class_says_so() -> None:
    wants = wanted()
    said = replace(healthy(wants), card_class="pc", card_sha256="ef" * 32)
    assert drift(said, wants, Agreed())[0].found == "a card of the class pc"


# ------------------------------------------------------------------------------------- the majority


def class_of(*kernels: str) -> list[Snapshot]:
    wants = wanted()
    return [replace(healthy(wants, kernel=kernel), node=f"n{place}") for place, kernel in enumerate(kernels)]


@pytest.mark.parametrize(
    ("kernels", "share"),
    [
        (("6.6",), Share("6.6", 1, 1)),
        (("6.6", "6.6", "6.1"), Share("6.6", 2, 3)),
        (("6.6", "6.1"), None),
        (("6.6", "6.6", "6.1", "6.1"), None),
        ((), None),
    ],
    ids=str,
)
def test_a_class_agrees_on_what_more_than_half_of_it_runs(
    kernels: tuple[str, ...], share: Share | None
) -> None:
    assert agreed(class_of(*kernels)).versions.get("kernel") == share


def test_what_a_few_say_and_the_others_do_not_is_no_majority() -> None:
    one, two, three = class_of("6.6", "6.6", "6.6")
    few = [*(replace(each, packages=None, versions={}) for each in (one, two)), three]
    assert (agreed(few).versions, agreed(few).packages) == ({}, {})


def test_how_many_others_run_it_is_not_in_what_is_expected() -> None:
    said = class_of("6.6", "6.6", "6.6", "6.1")
    found = [drift(said[3], wanted(), agreed(voters))[0] for voters in (said, said[1:])]
    assert {each.expected for each in found} == {"6.6"}
    assert "3 of 4" in found[0].advice


def test_who_runs_something_else_than_the_majority_is_named() -> None:
    wants = wanted()
    said = class_of("6.6", "6.6", "6.1")
    agree = agreed(said)
    assert [told(drift(each, wants, agree)) for each in said] == [[], [], [("kernel", "", "warning")]]


def test_a_target_counts_more_than_the_majority_which_is_advised_to_be_taken_up() -> None:
    wants = wanted(NODE + TARGETS)
    said = healthy(wants, kernel="6.6.40")
    (finding,) = drift(said, wants, agreed([said, said, said]))
    assert (finding.kind, finding.expected, finding.found) == ("kernel", "6.6.31", "6.6.40")
    assert "metis facts --recommend" in finding.advice


def of_packages(*packages: dict[str, str]) -> list[Snapshot]:
    wants = wanted()
    return [replace(healthy(wants), packages=each) for each in packages]


def test_a_package_that_one_node_has_otherwise_is_an_outlier() -> None:
    said = of_packages({"curl": "1"}, {"curl": "1"}, {"curl": "2"}, {"curl": "1", "vim": "9"})
    found = [told(drift(each, wanted(), agreed(said))) for each in said]
    assert found == [[], [], [("package", "curl", "info")], []]


def test_two_nodes_are_too_few_for_outliers() -> None:
    said = of_packages({"curl": "1", "vim": "9"}, {"curl": "1"})[: FEWEST - 1]
    assert [drift(each, wanted(), agreed(said)) for each in said] == [(), ()]


@pytest.mark.parametrize(("count", "subjects"), [(MANY, MANY), (MANY + 1, 1)])
def test_a_node_that_was_not_upgraded_is_one_finding_and_not_hundreds(count: int, subjects: int) -> None:
    fresh, old = ({f"p{place}": version for place in range(count)} for version in "21")
    said = of_packages(fresh, fresh, old)
    assert len(drift(said[2], wanted(), agreed(said))) == subjects


@pytest.mark.parametrize(
    ("change", "healthy_then"),
    [
        ({}, True),
        ({"failed_units": ["k3s-agent.service"]}, False),
        ({"mounts": []}, False),
        ({"burn": None}, False),
    ],
    ids=str,
)
def test_only_a_healthy_node_has_a_voice(change: dict[str, Any], healthy_then: bool) -> None:
    wants = wanted()
    said = healthy(wants, **change)
    assert is_healthy(said, drift(said, wants, Agreed(), BURNED)) is healthy_then


def test_nodes_that_share_a_machine_id_are_told_of_each_other() -> None:
    one, two, three = class_of("6.6", "6.6", "6.6")
    found = twins([one, two, replace(three, machine_id_hash="ab" * 32), replace(three, machine_id_hash="")])
    assert [(each.node, each.found) for each in found] == [("n0", "that of n1"), ("n1", "that of n0")]


def test_of_many_nodes_with_one_machine_id_a_few_are_named() -> None:
    (first, *_) = twins([replace(each, machine_id_hash="ab" * 32) for each in class_of(*["6.6"] * 9)])
    assert first.found == "that of n1, n2, n3, n4, n5 and 3 more"


def test_what_is_expected_of_a_node_survives_being_written_down() -> None:
    wants = wanted(NODE + TARGETS)
    assert Expected.from_data(wants.to_data()) == wants
