"""A plan says what a build will do with what there is, for people and for machines."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipeline.errors import MetisError
from pipeline.inventory.document import parse
from pipeline.inventory.resolve import resolve_class, resolve_node
from pipeline.manifest import Contribution, collect
from pipeline.model import Directory, Edit, Entry, File, Needs, Remove, Symlink, Text
from pipeline.plan import Found, Plan, into_folders, make, to_data, to_text
from pipeline.secret import SecretState

NODE = resolve_node(
    "titan-13",
    parse("class: pi", "node.yaml"),
    resolve_class("pi", lambda _: parse("{arch: arm64, os: debian}", "pi.yaml")),
    parse("{}", "cluster.yaml"),
)
IN_BASE = collect("class pi", [Contribution("class pi", [File("/etc/motd", (Text("hello"),))])])
IN_IMAGE = collect(
    "titan-13",
    [
        Contribution("identity", [File("/etc/hostname", (Text("titan-13\n"),)), Edit("/etc/hosts", "hosts")]),
        Contribution("network", [File("/etc/netplan/60-metis.yaml", (), mode=0o600), Remove("/etc/old")]),
        Contribution("access", [Directory("/home/atlas", owner="atlas", group="atlas")]),
        Contribution("node titan-13", [Symlink("/etc/l", "t"), File("/config.txt", (), side="boot")]),
    ],
)
DONE = Found("ab" * 32, golden_is_cached=True, base_is_current=True, image_is_current=True)


def planned(found: Found) -> Plan:
    return make(NODE, "https://images.example/pi.img", IN_BASE, IN_IMAGE, found, "/out/titan-13.img")


def does(found: Found) -> list[str]:
    """What becomes of the golden, the base and the image."""
    return [step.does for step in planned(found).steps]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (DONE, ["keep", "keep", "keep"]),
        (replace(DONE, image_is_current=False), ["keep", "keep", "build"]),
        (replace(DONE, base_is_current=False), ["keep", "build", "build"]),
        (replace(DONE, golden_is_cached=False), ["not needed", "keep", "keep"]),
        (replace(DONE, golden_is_cached=False, image_is_current=False), ["not needed", "keep", "build"]),
        (replace(DONE, golden_is_cached=False, base_is_current=False), ["fetch", "build", "build"]),
        (Found("ab" * 32, False, False, False), ["fetch", "build", "build"]),
        (Found(None, False, False, False), ["fetch", "build", "build"]),
        (Found(None, False, True, True), ["fetch", "build", "build"]),
    ],
    ids=[
        "all is there",
        "another manifest",
        "another base",
        "a golden that is not needed any more",
        "a golden that is not needed for the image",
        "a golden that is needed",
        "nothing is there",
        "a recipe that was never made",
        "a recipe that nobody remembers the result of",
    ],
)
def test_a_step_is_done_when_its_result_or_what_it_is_made_of_is_not_there(
    found: Found, expected: list[str]
) -> None:
    assert does(found) == expected


WITH_FILES = resolve_node(
    "titan-13",
    parse("class: pi", "node.yaml"),
    resolve_class(
        "pi",
        lambda _: parse(
            "arch: arm64\nos: debian\nfiles:\n"
            f"  - {{path: /usr/local/bin/k3s, source: 'https://f.example/k3s?x=y', sha256: {'01' * 32}}}\n"
            f"  - {{path: /opt/blob, source: 'file:/srv/blob?1', sha256: {'02' * 32}}}\n",
            "pi.yaml",
        ),
    ),
    parse("{}", "cluster.yaml"),
)


@pytest.mark.parametrize(
    ("base_is_current", "expected"), [(False, ["keep", "fetch"]), (True, ["keep", "not needed"])]
)
def test_what_a_class_fetches_into_its_base_is_a_step_each(
    base_is_current: bool, expected: list[str]
) -> None:
    found = replace(DONE, base_is_current=base_is_current, cached_files=frozenset({"01" * 32}))
    _, *files, _, _ = make(WITH_FILES, "file:x", IN_BASE, IN_IMAGE, found, "/out/titan-13.img").steps
    assert [step.does for step in files] == expected
    assert [(step.subject, step.detail) for step in files] == [
        ("file /usr/local/bin/k3s", "https://f.example/k3s?…"),
        ("file /opt/blob", "file:/srv/blob?1"),
    ]


def test_the_data_say_each_step_entry_and_file() -> None:
    data = json.loads(json.dumps(to_data(planned(replace(DONE, image_is_current=False)))))
    assert data["node"] == "titan-13"
    assert data["class"] == "pi"
    assert data["manifest"] == IN_IMAGE.id
    assert data["steps"] == [
        {"subject": "golden of pi", "does": "keep", "detail": "https://images.example/pi.img"},
        {"subject": "base of pi", "does": "keep", "detail": "1 entries"},
        {
            "subject": "image of titan-13",
            "does": "build",
            "detail": f"7 entries, manifest {IN_IMAGE.id[:12]}",
        },
    ]
    assert data["writes"] == [
        "/out/titan-13.img",
        "/out/titan-13.img.bmap",
        "/out/titan-13.receipt.json",
    ]


def test_the_data_have_mode_owner_side_and_layer_of_each_path() -> None:
    rows = {row["path"]: row for row in to_data(planned(DONE))["image"]}
    assert rows["/etc/netplan/60-metis.yaml"] == {
        "kind": "file",
        "on": "root",
        "path": "/etc/netplan/60-metis.yaml",
        "mode": "0600",
        "owner": "root",
        "group": "root",
        "layer": "network",
    }
    assert (rows["/home/atlas"]["kind"], rows["/home/atlas"]["owner"]) == ("directory", "atlas")
    assert (rows["/etc/hosts"]["kind"], rows["/etc/hosts"]["mode"]) == ("edit", "")
    assert rows["/config.txt"]["on"] == "boot"
    assert {row["path"] for row in to_data(planned(DONE))["base"]} == {"/etc/motd"}


def test_the_text_has_a_line_for_each_entry_with_what_the_data_say() -> None:
    plan = planned(replace(DONE, base_is_current=False))
    lines = [" ".join(line.split()) for line in to_text(plan).splitlines()]
    assert lines[0] == "titan-13 (pi)"
    assert "build base of pi 1 entries" in lines
    assert "file 0600 root:root root /etc/netplan/60-metis.yaml network" in lines
    assert "directory 0755 atlas:atlas root /home/atlas access" in lines
    assert "edit root /etc/hosts identity" in lines
    assert "remove root /etc/old network" in lines
    assert "writes /out/titan-13.img, its block map and its receipt" in lines
    assert len(lines) == 1 + 3 + 1 + 1 + 1 + 7 + 1


def test_the_columns_of_the_text_stand_below_each_other() -> None:
    rows = [line for line in to_text(planned(DONE)).splitlines() if "/etc/" in line and "root" in line]
    image_rows = rows[1:]
    assert len({line.index("/etc/") for line in image_rows}) == 1
    assert not any(line.endswith(" ") for line in to_text(planned(DONE)).splitlines())


FAULT = MetisError("titan-13 has no k3s_token", "put it into x")
SECRETS = (
    SecretState("extra.machine_id", "will be made", "kept in x"),
    SecretState("k3s_token", "missing", str(FAULT), FAULT),
)


def test_each_secret_has_a_line_and_what_is_wrong_is_a_fault() -> None:
    plan = planned(replace(DONE, secrets=SECRETS))
    lines = [" ".join(line.split()) for line in to_text(plan).splitlines()]
    assert lines[lines.index("secrets:") + 1 :][:2] == [
        "extra.machine_id will be made kept in x",
        "k3s_token missing titan-13 has no k3s_token: put it into x",
    ]
    assert to_data(plan)["secrets"] == [
        {"name": "extra.machine_id", "state": "will be made", "detail": "kept in x"},
        {"name": "k3s_token", "state": "missing", "detail": str(FAULT)},
    ]
    assert plan.faults == (FAULT,)


NEEDED = Needs("/usr/local/bin/k3s", "k3s", optional=True)


@pytest.mark.parametrize(
    ("base", "image", "is_warned"),
    [
        ([], [NEEDED], True),
        ([], [NEEDED, File("/usr/local/bin/k3s", (), side="boot")], True),
        ([], [NEEDED, Remove("/usr/local/bin/k3s")], True),
        ([], [Needs("/usr/sbin/netplan", "netplan.io")], False),
        ([File("/usr/local/bin/k3s", ())], [NEEDED], False),
        ([], [NEEDED, Symlink("/usr/local/bin/k3s", "/opt/k3s")], False),
    ],
    ids=["nobody", "on the other side", "removed", "a build fails without it", "the class", "the node"],
)
def test_what_only_the_golden_can_bring_is_a_warning(
    base: list[Entry], image: list[Entry], is_warned: bool
) -> None:
    in_base, (needs, *others) = collect("class pi", [Contribution("class pi", base)]), image
    in_image = collect("titan-13", [Contribution("k3s", [needs]), Contribution("node titan-13", others)])
    plan = make(NODE, "file:x", in_base, in_image, DONE, "/out/titan-13.img")
    said = "nothing that is declared brings /usr/local/bin/k3s: the golden must have it, or the class's files"
    assert to_data(plan)["warnings"] == [said] * is_warned
    assert (f"  warning: {said}" in to_text(plan).splitlines()) is is_warned
    assert plan.faults == ()


def test_for_a_mounted_card_no_image_is_built_and_no_device_is_written() -> None:
    plan = into_folders(planned(DONE), ("/mnt/boot", "/mnt/root"), DONE)
    assert to_data(plan)["writes"] == ["/mnt/boot", "/mnt/root"]
    assert "  writes files below /mnt/boot and /mnt/root, and no device" in to_text(plan).splitlines()
    assert {step.does for step in plan.steps} == {"put"}


def test_a_node_without_secrets_has_no_lines_for_them() -> None:
    assert "secrets" not in to_text(planned(DONE))
    assert planned(DONE).faults == ()


def test_a_manifest_without_entries_says_so() -> None:
    nothing = collect("class pi", [])
    plan = make(NODE, "file:x", nothing, nothing, DONE, "/out/titan-13.img")
    assert [line.strip() for line in to_text(plan).splitlines()].count("nothing") == 2


def test_no_content_of_a_file_is_in_a_plan() -> None:
    assert "hello" not in to_text(planned(DONE))
    assert "hello" not in json.dumps(to_data(planned(DONE)))
