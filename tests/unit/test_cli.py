"""`metis` at the keyboard: what is printed where, and how a command ends."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from click.shell_completion import ShellComplete

from pipeline.cache.store import Store
from pipeline.cli import cli, main
from pipeline.machine.progress import QuietReporter
from tests.support.lab import Lab

COMMANDS = sorted(cli.commands)
LEAVES = {
    **{name: command for name, command in cli.commands.items() if not isinstance(command, click.Group)},
    **{
        f"{name} {inner}": command
        for name, group in cli.commands.items()
        if isinstance(group, click.Group)
        for inner, command in group.commands.items()
    },
}
"""What can be run, by its words."""
GOLDEN = "file:golden.img"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def metis(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Metis:
    files = {
        "classes/base.yaml": "abstract: true\narch: arm64\nos: debian\n",
        "classes/pi.yaml": (
            f"extends: base\nimage: {{source: '{GOLDEN}', sha256: {'ab' * 32}}}\n"
            "root_overlay: overlays/pi/root\n"
        ),
        "nodes/titan-13.yaml": "class: pi\nnetwork: {dhcp: true}\n",
        "nodes/titan-15.yaml": "class: pi\n",
        "overlays/pi/root/etc/motd": "hello\n",
    }
    for name, text in files.items():
        file = tmp_path / "lab" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path / "lab")
    return Metis(tmp_path / "lab", capsys)


@dataclass(frozen=True)
class Metis:
    """The command, run in the folder of a small lab."""

    lab: Path
    _capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Ended:
        code = 0
        self._capsys.readouterr()
        try:
            main(words)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = self._capsys.readouterr()
        return Ended(code, said.out, said.err)

    def write(self, name: str, text: str) -> None:
        (self.lab / name).write_text(text)


# ---------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("words", ["", *sorted({*COMMANDS, *LEAVES})])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_on_stdout(metis: Metis, words: str, flag: str) -> None:
    ended = metis(*words.split(), flag)
    assert ended.code == 0
    assert ended.out.startswith(" ".join(["Usage: metis", *words.split(), "["]))
    assert ended.err == ""


def test_help_lists_the_commands_and_the_exit_codes(metis: Metis) -> None:
    out = " ".join(metis("--help").out.split())
    assert {"plan", "config", "image"} <= set(COMMANDS)
    assert all(f" {name} " in out for name in COMMANDS)
    assert all(f"{code} " in out for code in range(6))


@pytest.mark.parametrize("words", ["", "cache", "golden", "secrets"])
def test_help_says_what_each_command_does_to_the_end_of_the_sentence(metis: Metis, words: str) -> None:
    listed = metis(*words.split(), "--help").out.partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert len(said := re.split(r"\n  (?=\w)", listed)) > 2
    assert [line for line in said if not re.search(r"[^.]\.$", line)] == []


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_says_what_it_is_for(name: str) -> None:
    options = [item for item in LEAVES[name].params if isinstance(item, click.Option)]
    assert all(option.help for option in options)
    words = {word for option in options for word in option.opts}
    assert {"--inventory", "--cache", "--json"} <= words or name == "init"  # which makes the inventory


def test_the_version_is_a_result(metis: Metis) -> None:
    assert metis("--version").out.startswith("metis, version ")


# -------------------------------------------------------------------------------- wrong usage: exit 2


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["plan", "--colour"],
        ["plan", "--node"],
        ["config"],
        ["image", "--jobs", "0"],
        ["image", "--jobs", "many"],
        ["image", "--output", "x.img"],
        ["image", "--output", "x.img", "--node", "a", "--node", "b"],
        ["plan", "--inventory", "/no/such/place"],
        ["image", "--inventory", "/no/such/place"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_no_traceback(metis: Metis, words: Sequence[str]) -> None:
    ended = metis(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.strip()
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["plan", "config"])
def test_an_unknown_node_is_named(metis: Metis, command: str) -> None:
    ended = metis(command, "--node", "titan-99")
    said = "metis: nodes/titan-99.yaml: no such node: `metis status` lists them\n"
    assert (ended.code, ended.err) == (2, said)


def test_image_takes_the_same_for_wrong_usage(metis: Metis) -> None:
    """In a process of its own, as it walks the graph."""
    said = Lab(metis.lab.parent, {"METIS_INVENTORY": str(metis.lab)}).metis("image", "--node", "titan-99")
    assert (said.code, said.out) == (2, "")
    assert said.err == f"metis: no node titan-99 in {metis.lab}: `metis status` lists them\n"


@pytest.mark.parametrize("command", ["plan", "config"])
def test_one_of_a_pair_of_variables_alone_ends_with_2(metis: Metis, command: str) -> None:
    os.environ["METIS_IMAGE_PI"] = "file:other.img"
    ended = metis(command, "--node", "titan-13")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "METIS_IMAGE_PI is set without METIS_IMAGE_PI_SHA256" in ended.err


# -------------------------------------------------------------------------- invalid inventory: exit 2

INVALID = "class: pi\nnetwork: {address: 192.0.2.999/24, gatway: 192.0.2.1}\nk3s: {role: boss}\n"


@pytest.mark.parametrize("command", ["plan", "config"])
def test_each_problem_of_an_inventory_is_one_line_with_file_and_line(metis: Metis, command: str) -> None:
    metis.write("nodes/titan-13.yaml", INVALID)
    ended = metis(command, "--node", "titan-13")
    assert (ended.code, ended.out.strip()) == (2, "")
    lines = ended.err.splitlines()
    assert [line.split(": ")[1:3] for line in lines] == [
        ["nodes/titan-13.yaml:2", "network.address"],
        ["nodes/titan-13.yaml:2", "network.gatway"],
        ["nodes/titan-13.yaml:3", "k3s.role"],
    ]
    assert all(line.startswith("metis: ") for line in lines)


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("nodes/titan-13.yaml", "class: pi\n\thostname: x\n", "titan-13.yaml:2: a tab cannot indent YAML"),
        ("nodes/titan-13.yaml", "- class\n", "titan-13.yaml:1: expected a map of keys and values"),
        ("nodes/titan-13.yaml", "class: base\n", "titan-13.yaml:1: class: base is abstract"),
        ("nodes/titan-13.yaml", "class: nothing\n", "titan-13.yaml:1: class: no class 'nothing'"),
        ("classes/pi.yaml", "extends: pi\n", "pi.yaml:1: extends: a class that extends itself"),
        ("classes/pi.yaml", "{}\n", "pi.yaml:1: arch: missing"),
    ],
)
def test_a_broken_file_is_answered_with_what_is_wrong(metis: Metis, file: str, text: str, line: str) -> None:
    metis.write(file, text)
    ended = metis("config", "--node", "titan-13")
    assert ended.code == 2
    assert line in ended.err
    assert "Traceback" not in ended.err


def test_debug_anywhere_gives_the_traceback(metis: Metis) -> None:
    metis.write("nodes/titan-13.yaml", INVALID)
    for words in (["--debug", "config", "--node", "titan-13"], ["config", "--node", "titan-13", "--debug"]):
        ended = metis(*words)
        assert (ended.code, ended.out) == (2, "")
        assert "Traceback (most recent call last)" in ended.err
        assert ended.err.splitlines()[-1].startswith("metis: nodes/titan-13.yaml:3: k3s.role")


@pytest.mark.parametrize(("value", "is_on"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_environment_asks_for_tracebacks_too(metis: Metis, value: str, is_on: bool) -> None:
    os.environ["METIS_DEBUG"] = value
    ended = metis("config", "--node", "titan-99")
    assert (ended.code, "Traceback" in ended.err) == (2, is_on)


# -------------------------------------------------------------------------------------------- config


def test_config_prints_the_merged_node_as_yaml(metis: Metis) -> None:
    ended = metis("config", "--node", "titan-13")
    assert (ended.code, ended.err) == (0, "")
    data = yaml.safe_load(ended.out)
    assert (data["node"], data["class"], data["arch"]) == ("titan-13", "pi", "arm64")
    assert data["network"] == {"dhcp": True}


def test_config_as_json_is_the_same_data(metis: Metis) -> None:
    as_yaml = yaml.safe_load(metis("config", "--node", "titan-13").out)
    assert json.loads(metis("config", "--node", "titan-13", "--json").out) == as_yaml


def test_config_of_several_nodes_is_several_documents_or_a_list(metis: Metis) -> None:
    words = ("config", "--node", "titan-13", "--node", "titan-15")
    names = ["titan-13", "titan-15"]
    assert [data["node"] for data in yaml.safe_load_all(metis(*words).out)] == names
    assert [data["node"] for data in json.loads(metis(*words, "--json").out)] == names


def test_explain_says_where_each_value_came_from(metis: Metis) -> None:
    lines = [line.split() for line in metis("config", "--node", "titan-13", "--explain").out.splitlines()]
    assert ["arch", "arm64", "#", "classes/base.yaml:2"] in lines
    assert ["network.dhcp", "True", "#", "nodes/titan-13.yaml:2"] in lines
    data = json.loads(metis("config", "--node", "titan-13", "--explain", "--json").out)
    assert data["arch"] == {"value": "arm64", "origin": "classes/base.yaml:2"}


# ---------------------------------------------------------------------------------------------- plan


def snapshot(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything beneath a folder with what changes when it does; the times of reading are left out."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        about = path.lstat()
        found[str(path)] = (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
    return found


@pytest.mark.parametrize(
    "words", [["plan"], ["plan", "--json"], ["plan", "--node", "titan-13"], ["config"], ["history"]]
)
def test_what_only_tells_touches_nothing(metis: Metis, words: Sequence[str]) -> None:
    (metis.lab / "artifacts/manifests").mkdir(parents=True)
    before = snapshot(metis.lab.parent)
    metis(*words, *(["--node", "titan-15"] if words == ["config"] else []))
    assert snapshot(metis.lab.parent) == before


def test_plan_does_not_even_make_the_folder_for_artifacts(metis: Metis) -> None:
    assert metis("plan").code == 0
    assert not (metis.lab / "artifacts").exists()


def test_plan_says_what_is_fetched_built_injected_and_written(metis: Metis) -> None:
    ended = metis("plan", "--node", "titan-13")
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["fetch", "golden", "of", "pi", GOLDEN] in lines
    assert ["file", "0644", "root:root", "root", "/etc/motd", "class", "pi"] in lines
    assert ["file", "0600", "root:root", "root", "/etc/netplan/60-metis.yaml", "network"] in lines
    assert f"writes {metis.lab}/artifacts/titan-13.img" in ended.out
    assert ended.err == ""


def test_plan_is_for_all_nodes_unless_some_are_named(metis: Metis) -> None:
    assert [item["node"] for item in json.loads(metis("plan", "--json").out)] == ["titan-13", "titan-15"]
    named = metis("plan", "--json", "--node", "titan-15")
    assert [item["node"] for item in json.loads(named.out)] == ["titan-15"]


def test_plan_says_that_the_environment_names_the_golden(metis: Metis) -> None:
    os.environ |= {"METIS_IMAGE_PI": "file:other.img", "METIS_IMAGE_PI_SHA256": "cd" * 32}
    assert "file:other.img (by METIS_IMAGE_PI)" in metis("plan", "--node", "titan-13").out


def test_plan_says_what_a_class_fetches(metis: Metis) -> None:
    files = [f"{{path: /opt/{name}, source: 'file:{name}', sha256: {name * 64}}}" for name in "ab"]
    metis.write(
        "classes/pi.yaml",
        f"extends: base\nimage: {{source: '{GOLDEN}', sha256: {'ab' * 32}}}\nfiles: [{', '.join(files)}]\n",
    )
    cached = Store(metis.lab / "artifacts/cache", QuietReporter()).path("a" * 64)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"cached")
    (data,) = json.loads(metis("plan", "--node", "titan-13", "--json").out)
    assert data["steps"][1:3] == [
        {"subject": "file /opt/a", "does": "keep", "detail": "file:a"},
        {"subject": "file /opt/b", "does": "fetch", "detail": "file:b"},
    ]


@pytest.mark.parametrize("named_by", ["class", "environment"])
@pytest.mark.parametrize("words", ["plan", "config", "config --explain"])
@pytest.mark.parametrize("json_flag", [[], ["--json"]], ids=["", "json"])
def test_a_token_in_an_address_is_not_printed(
    metis: Metis, words: str, json_flag: list[str], named_by: str
) -> None:
    token = "s3cr3t"
    address = f"https://images.example/pi.img?token={token}"
    files = f"[{{path: /opt/a, source: '{address}', sha256: {'cd' * 32}}}]"
    metis.write(
        "classes/pi.yaml",
        f"extends: base\nimage: {{source: '{address}', sha256: {'ab' * 32}}}\nfiles: {files}\n",
    )
    if named_by == "environment":
        os.environ |= {"METIS_IMAGE_PI": address, "METIS_IMAGE_PI_SHA256": "cd" * 32}
    ended = metis(*words.split(), "--node", "titan-13", *json_flag)
    assert ended.code == 0
    assert token not in ended.out + ended.err
    assert "https://images.example/pi.img?" in ended.out


def test_one_bad_node_does_not_hide_the_plans_of_the_others(metis: Metis) -> None:
    metis.write("nodes/titan-13.yaml", INVALID)
    ended = metis("plan", "--json")
    assert ended.code == 2
    assert [item["node"] for item in json.loads(ended.out)] == ["titan-15"]
    assert ended.err.count("metis: nodes/titan-13.yaml:") == 3


def test_what_is_wrong_with_a_class_is_said_once_and_not_for_each_node(metis: Metis) -> None:
    metis.write("classes/pi.yaml", "extends: base\nimage: {source: 'file:x.img'}\n")
    ended = metis("plan")
    assert (ended.code, ended.out.strip()) == (1, "")
    assert ended.err == (
        "metis: class pi has no hash for its image: set METIS_IMAGE_PI and METIS_IMAGE_PI_SHA256, "
        "or image.source and image.sha256 in the class\n"
    )


def test_two_nodes_of_one_address_are_both_refused(metis: Metis) -> None:
    for name in ("titan-13", "titan-15"):
        network = "{interface: eth0, address: 192.0.2.1/24}"
        metis.write(f"nodes/{name}.yaml", f"class: pi\nnetwork: {network}\n")
    ended = metis("plan")
    assert ended.code == 2
    assert [line.split(": ", 1)[1] for line in ended.err.splitlines()] == [
        "nodes/titan-13.yaml: network.address: 192.0.2.1 is also that of titan-15",
        "nodes/titan-15.yaml: network.address: 192.0.2.1 is also that of titan-13",
    ]


def test_an_overlay_that_cannot_be_used_is_one_line(metis: Metis) -> None:
    (metis.lab / "overlays/pi/root/out").symlink_to("../../../../etc/shadow")
    ended = metis("plan", "--node", "titan-13")
    assert (ended.code, ended.err) == (
        2,
        "metis: overlays/pi/root: /out: a link that points outside the overlay: ../../../../etc/shadow\n",
    )


def test_an_inventory_may_be_one_file(metis: Metis) -> None:
    klass = "{arch: amd64, os: debian, image: {source: 'debian:bookworm'}}"
    metis.write("all.yaml", f"classes: {{demo: {klass}}}\nnodes: {{one: {{class: demo}}}}\n")
    ended = metis("plan", "--inventory", "all.yaml", "--json")
    assert [item["node"] for item in json.loads(ended.out)] == ["one"]


# --------------------------------------------------------------------------------------------- image


@pytest.mark.parametrize("output", ["nodes/titan-13.yaml", "/dev/metis-typo"])
def test_an_output_that_would_be_a_loss_is_refused_before_anything_is_built(
    metis: Metis, output: str
) -> None:
    before = snapshot(metis.lab.parent)
    ended = metis("image", "--node", "titan-13", "--output", output)
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert snapshot(metis.lab.parent) == before


# ---------------------------------------------------------------------------------------- completion


def completions(*words: str, incomplete: str) -> list[str]:
    found = ShellComplete(cli, {}, "metis", "_METIS_COMPLETE").get_completions(list(words), incomplete)
    return [item.value for item in found]


def test_names_of_nodes_are_completed(metis: Metis) -> None:
    assert completions("plan", "--node", incomplete="titan-1") == ["titan-13", "titan-15"]
    assert completions("config", "--node", incomplete="titan-15") == ["titan-15"]
    assert completions("image", "--node", incomplete="x") == []
    assert completions("secrets", "set", "--node", incomplete="titan-1") == ["titan-13", "titan-15"]


def test_completion_looks_into_the_inventory_that_is_named(metis: Metis) -> None:
    metis.write("all.yaml", "nodes: {other: {class: pi}}\n")
    assert completions("plan", "--inventory", "all.yaml", "--node", incomplete="") == ["other"]


def test_completion_is_silent_where_there_is_no_inventory(
    metis: Metis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completions("plan", "--inventory", "/no/such/place", "--node", incomplete="") == []
    assert capsys.readouterr() == ("", "")
