"""A snapshot as a whole: it fits its schema whatever the host says, on each Python, in little memory."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metis_sentinel import mountinfo, snapshot, texts
from metis_sentinel.root import Root
from pipeline.facts.snapshot import parse
from tests.support.hosts import ROOT, SCHEMA, add, host, node_json, taken

CHILD = ROOT / "tests/support/sentinel_child.py"
MODULES = sorted((ROOT / "metis_sentinel").glob("*.py"))
HEAVY = set("asyncio email http inspect sqlite3 ssl subprocess urllib.request dataclasses".split())
ENOUGH = 30 << 20


def _pythons() -> list[str]:
    found = {sys.executable}
    for minor in range(9, 14):
        found |= set(map(str, Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python")))
        on_path = shutil.which(f"python3.{minor}")
        if on_path and "/shims/" not in on_path:
            found.add(on_path)
    return sorted(found)


def _child(python: str, root: Path | str) -> Any:
    command = [python, "-I", "-S", str(CHILD), str(root), str(ROOT)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.parametrize("python", _pythons())
def test_this_machine_has_a_snapshot_on_each_python(python: str) -> None:
    did = _child(python, "/")
    SCHEMA.validate(did["snapshot"])
    assert did["snapshot"]["hostname"] == os.uname().nodename
    assert did["snapshot"]["packages"]["bash"]
    assert did["started"] == []
    assert not HEAVY & set(did["loaded"])
    assert did["most"] < ENOUGH


def test_this_machine_is_read_by_metis() -> None:
    found = parse(json.dumps(taken("/")).encode())
    assert found.versions["kernel"] == os.uname().release
    assert found.node
    assert found.mounts is not None


def test_two_snapshots_have_two_ids() -> None:
    assert snapshot.take()["id"] != snapshot.take()["id"]


def test_what_was_dropped_is_passed_on(tmp_path: Path) -> None:
    assert snapshot.take(str(tmp_path), dropped=7)["dropped"] == 7


def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        snapshot.take(str(tmp_path / "none"))


def test_a_fact_that_fails_in_an_unforeseen_way_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> object:
        raise KeyError("x")

    monkeypatch.setattr(snapshot, "FACTS", {**snapshot.FACTS, "kernel": fails})
    found: Any = taken(host(tmp_path))
    assert "kernel" not in found
    assert found["memory"]
    assert any(gap.startswith("kernel: ") for gap in found["gaps"])


VAST = {
    "packages": ("/var/lib/dpkg/status", "Package: p{}\nStatus: install ok installed\nVersion: 1\n\n", 30000),
    "mounts": ("/proc/1/mountinfo", "29 1 8:2 / /m{} rw - ext4 /dev/sda2 rw\n", 30000),
    "long lines": ("/var/lib/dpkg/status", "Package: {}" + "x" * 50, 1000000),
}


@pytest.mark.parametrize(("path", "line", "count"), VAST.values(), ids=VAST)
def test_a_vast_host_takes_little_memory(tmp_path: Path, path: str, line: str, count: int) -> None:
    add(host(tmp_path), path, "".join(line.format(number) for number in range(count)))
    did = _child(sys.executable, tmp_path)
    SCHEMA.validate(did["snapshot"])
    assert did["most"] < ENOUGH


# ------------------------------------------------------------------------------------ hostile hosts

LINES = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([
            b"Package: a",
            b"Status: install ok installed",
            b"Version: \xff\xfe",
            b"Architecture: x",
            b"",
            b"ID=\"\x1b",
            b"PRETTY_NAME='\xed\xa0\x80",
            b"VERSION_ID=" + b"\xc3" * 300,
            b"29 1 8:2 / / rw - ext4 /dev/sda2 rw",
            b"29 1 8:2 / \\057\\777\\012 rw - ext4 /dev/\xff ro",
            b"29 1 8:2 ../.. relative rw - ext4 /dev/sda2 rw",
            b"MemTotal: 99999999999999999 kB",
        ]),
    ),
    max_size=12,
).map(b"\n".join)  # fmt: skip
PATHS = (
    "/var/lib/dpkg/status",
    "/etc/os-release",
    "/proc/1/mountinfo",
    "/proc/meminfo",
    "/proc/cmdline",
    "/proc/uptime",
    "/etc/hostname",
    "/etc/passwd",
    "/sys/block/sda/size",
    "/sys/block/sda/device/model",
    "/run/udev/data/b8:2",
    "/var/lib/longhorn/longhorn-disk.cfg",
    "/etc/metis/node.json",
    "/etc/metis/burn.json",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(PATHS), LINES, min_size=1, max_size=6))
def test_the_schema_holds_whatever_a_host_says(tmp_path: Path, files: dict[str, bytes]) -> None:
    taken(host(tmp_path, {**dict.fromkeys(PATHS), **files}))
    for path in files:
        Path(f"{tmp_path}{path}").unlink()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=20).map("/".__add__), JSON, max_size=4), JSON, JSON)
def test_the_schema_holds_whatever_a_card_says(
    tmp_path: Path, files: dict[str, object], node: object, klass: object
) -> None:
    record = {"format": 1, "node": node, "image": klass, "at": klass}
    texts_of = {
        "/etc/metis/node.json": node_json(files, **{"node": node, "class": klass}),
        "/etc/metis/burn.json": json.dumps(record),
    }
    taken(host(tmp_path, texts_of))


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40)), st.integers(0, 20))
def test_a_text_can_be_stored_and_printed(value: str | bytes, most: int) -> None:
    found = texts.text(value, most)
    assert len(found) <= most
    assert found.encode().decode() == found
    shown = texts.shown(found, most)
    assert len(shown) <= most
    assert shown.isprintable()


@given(st.binary(max_size=200))
def test_no_mount_table_does_more_than_be_left_out(table: bytes) -> None:
    mounts = mountinfo.parse(table)
    assert isinstance(list(mountinfo.binds_of(mounts, lambda path: True)), list)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["..", ".", "", "a", "link", "etc", "top"]), max_size=8).map("/".join))
def test_no_path_leads_out_of_a_root(tmp_path: Path, path: str) -> None:
    inner = tmp_path / "inner"
    if not inner.exists():
        add(tmp_path, "/secret", "")
        add(inner, "/etc/a/a", "")
        (inner / "link").symlink_to("../../..")
        (inner / "etc/top").symlink_to("/../..")
        (inner / "etc/link").symlink_to("../etc/a")
    root = Root(str(inner))
    try:
        with pytest.raises(FileNotFoundError):
            root.lstat(f"{path}/../../../../../../../secret")
    except NotADirectoryError:
        assert path
    finally:
        root.close()


# ------------------------------------------------------------------------------------------ the code


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_the_sentinel_is_of_python_3_9_and_its_library_alone(module: Path) -> None:
    tree = ast.parse(module.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            assert name.partition(".")[0] in {*sys.stdlib_module_names, "metis_sentinel", "_typeshed"}
        assert "subprocess" not in names
