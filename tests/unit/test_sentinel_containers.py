"""Versions of k3s, containerd and runc, from what Go writes into programs (debug/buildinfo)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from metis_sentinel import containers, gobuild
from tests.support.hosts import add, host, link, snapshot

K3S = "/usr/local/bin/k3s"
MODULES = (
    "path\tgithub.com/k3s-io/k3s/cmd/k3s\nmod\tgithub.com/k3s-io/k3s\t(devel)\t\n"
    "dep\tgithub.com/containerd/containerd\tv1.7.1\th1:x=\n=>\tgithub.com/k3s-io/containerd\tv1.7.17-k3s1\th1:y=\n"
    "dep\tgithub.com/opencontainers/runc\tv1.1.12\th1:z=\n"
)


def _uvarint(number: int) -> bytes:
    low = bytes((number & 0x7F,))
    return low if number < 0x80 else bytes((low[0] | 0x80,)) + _uvarint(number >> 7)


def program(
    modules: str, *, before: int = 4096, words: bytes = b"", flags: int = 2, frame: int = 16
) -> bytes:
    """A file as Go's linker lays it out, as far as it is read."""
    told = b"f" * frame + modules.encode() + b"f" * frame
    build = b"\xff Go buildinf:" + bytes((8, flags)) + bytes(16)
    build += _uvarint(8) + b"go1.22.4" + _uvarint(len(told)) + told
    return b"\x7fELF".ljust(before, b"\0") + build + words + bytes(100)


def versions(root: Path) -> Any:
    containers._seen.clear()
    return snapshot(root)["versions"]


LDFLAGS = 'build\t-ldflags="-X main.gitCommit=v1 -X main.version={} -w"\n'
RUNC = "path\tgithub.com/opencontainers/runc\nmod\tgithub.com/opencontainers/runc\t(devel)\t\n"
CASES: dict[str, tuple[dict[str, bytes], dict[str, str]]] = {
    "k3s has them all": (
        {K3S: program(MODULES, words=b"xx v1.30.2+k3s1 yy")},
        {"k3s": "v1.30.2+k3s1", "containerd": "v1.7.17-k3s1", "runc": "v1.1.12"},
    ),
    "what k3s unpacked says more": (
        {
            K3S: program("path\tx\n", words=b"v1.30.2-rc2+k3s2"),
            "/var/lib/rancher/k3s/data/current/bin/runc": program(RUNC + LDFLAGS.format("1.1.14")),
            "/var/lib/rancher/k3s/data/current/bin/containerd": program(MODULES),
        },
        {"k3s": "v1.30.2-rc2+k3s2", "containerd": "v1.7.17-k3s1", "runc": "1.1.14"},
    ),
    "the version said most often": (
        {K3S: program("", words=b"v1.19.3+k3s1 v1.30.2+k3s1 v1.30.2+k3s1")},
        {"k3s": "v1.30.2+k3s1"},
    ),
    "programs of the system": (
        {
            "/usr/bin/containerd": program(
                "path\tgithub.com/containerd/containerd/v2/cmd/containerd\n"
                "mod\tgithub.com/containerd/containerd/v2\tv2.0.1\th1:a=\n"
            ),
            "/usr/sbin/runc": program(RUNC.replace("(devel)", "v1.2.0")),
        },
        {"containerd": "v2.0.1", "runc": "v1.2.0"},
    ),
    "old programs": ({"/usr/sbin/runc": program(RUNC, flags=0)}, {}),
    "not where Go puts it": ({"/usr/sbin/runc": program(RUNC.replace("(devel)", "v1"), before=4097)}, {}),
    "cut off": ({"/usr/sbin/runc": program(MODULES)[:4200]}, {}),
    "an empty file": ({K3S: b""}, {}),
    "a length without end": ({K3S: b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\xff" * 100}, {}),
}


@pytest.mark.parametrize(("files", "expected"), CASES.values(), ids=CASES)
def test_versions_are_read_from_programs(
    tmp_path: Path, files: dict[str, bytes], expected: dict[str, str]
) -> None:
    assert versions(host(tmp_path, files)) == expected


@pytest.mark.parametrize("before", [(1 << 20) - 16, (1 << 20) - 32, 1 << 20, (3 << 20) - 16])
def test_what_lies_across_two_pieces_is_found(tmp_path: Path, before: int) -> None:
    file = add(tmp_path, "/k3s", b"v1.30.2+k3s1".rjust(before) + program(MODULES, before=1 << 20)[1 << 20 :])
    descriptor = os.open(file, os.O_RDONLY)
    build, words = gobuild.scan(descriptor, 1 << 30, containers._VERSION)
    os.close(descriptor)
    assert build.modules["github.com/opencontainers/runc"] == "v1.1.12"
    assert words == [b"v1.30.2+k3s1"]


@pytest.mark.parametrize("split", range(1, 12))
def test_a_version_across_two_pieces_is_found_once(tmp_path: Path, split: int) -> None:
    file = add(tmp_path, "/k3s", bytes((1 << 20) - split) + b"v1.30.2+k3s12 v1.30.2+k3s12" + bytes(2 << 20))
    descriptor = os.open(file, os.O_RDONLY)
    _, words = gobuild.scan(descriptor, 1 << 30, containers._VERSION)
    os.close(descriptor)
    assert words == [b"v1.30.2+k3s12"] * 2


def test_a_program_of_this_machine_says_what_it_is() -> None:
    """Debian builds age(1) without modules: there is nothing but its path."""
    descriptor = os.open("/usr/bin/age", os.O_RDONLY)
    build, _ = gobuild.scan(descriptor, 1 << 30, re.compile(rb"(?!)"))
    os.close(descriptor)
    assert build.program == "filippo.io/age/cmd/age"
    assert build.modules == {}


def test_packages_say_what_programs_do_not(tmp_path: Path) -> None:
    entry = "Package: {}\nStatus: install ok installed\nVersion: {}\n\n"
    status = entry.format("containerd.io", "1.7.22-1") + entry.format("runc", "1.1.5+ds1-1")
    programs: dict[str, str | bytes | None] = {
        "/var/lib/dpkg/status": status,
        "/usr/sbin/runc": program(RUNC.replace("(devel)", "v1.2.0")),
    }
    assert versions(host(tmp_path, programs)) == {"containerd": "1.7.22-1", "runc": "v1.2.0"}


def test_a_link_to_a_program_is_followed_within_the_root(tmp_path: Path) -> None:
    host(tmp_path, {"/opt/k3s": program("", words=b"v1.2.3+k3s4")})
    link(tmp_path, K3S, "/opt/k3s")
    assert versions(tmp_path)["k3s"] == "v1.2.3+k3s4"


def test_a_program_is_read_once_for_as_long_as_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(tmp_path, {K3S: program("", words=b"v1.2.3+k3s4")})
    versions(tmp_path)
    calls: list[int] = []
    real = gobuild.scan

    def scan(descriptor: int, limit: int, words: re.Pattern[bytes]) -> tuple[gobuild.Build, list[bytes]]:
        calls.append(descriptor)
        return real(descriptor, limit, words)

    monkeypatch.setattr(gobuild, "scan", scan)
    assert snapshot(tmp_path)["versions"] == {"k3s": "v1.2.3+k3s4"}
    assert not calls
    add(tmp_path, K3S, program("", words=b"v1.2.3+k3s44"))
    assert snapshot(tmp_path)["versions"] == {"k3s": "v1.2.3+k3s44"}
    assert calls
