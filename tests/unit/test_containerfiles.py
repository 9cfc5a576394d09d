"""What the files say that containers are built by, without building any."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.machine import process
from tests.support.containers import FOLDER, argument
from tests.support.lab import REPOSITORY

NAMES = sorted(file.parent.name for file in FOLDER.glob("*/Containerfile"))
each = pytest.mark.parametrize("name", NAMES)
NOT_NEEDED = {"libguestfs-tools"}
"""Of what the Makefile installs: programs beside the library, which benchmarks compare with."""
SOURCES = """\
Types: deb
URIs: http://deb.example/debian
Suites: bookworm bookworm-updates

Types: deb
URIs: http://deb.example/debian-security
Suites: bookworm-security
"""


def text(name: str) -> str:
    return (FOLDER / name / "Containerfile").read_text()


@each
def test_the_base_and_debian_s_packages_are_pinned_to_one_day(name: str) -> None:
    (day,) = re.findall(r"docker\.io/library/debian:bookworm-(\d{8})-slim", argument(name, "DEBIAN"))
    assert re.fullmatch(r"@sha256:[0-9a-f]{64}", argument(name, "DIGEST"))
    assert argument(name, "SNAPSHOT") == f"{day}T000000Z"
    assert re.findall(r"^FROM \$\{DEBIAN\}\$\{DIGEST\}", text(name), re.M)


def test_all_have_the_same_base() -> None:
    names = ("DEBIAN", "DIGEST", "SNAPSHOT")
    assert len({tuple(argument(name, each) for each in names) for name in NAMES}) == 1


def test_packages_are_had_from_the_archive_of_that_day(tmp_path: Path) -> None:
    """The script as it is, with stand-ins for what would change this machine."""
    sources = tmp_path / "debian.sources"
    sources.write_text(SOURCES)
    for name in ("apt-get", "rm"):
        stand_in = tmp_path / name
        stand_in.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        stand_in.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    environment = {"PATH": path, "SOURCES": str(sources), "SNAPSHOT": "20260824T000000Z"}
    done = process.run([FOLDER / "install", "one", "two"], extra_environment=environment)
    assert [line for line in sources.read_text().splitlines() if line.startswith("URIs")] == [
        "URIs: http://snapshot.example/archive/debian/20260824T000000Z",
        "URIs: http://snapshot.example/archive/debian-security/20260824T000000Z",
    ]
    _, installing, _ = done.out.decode().splitlines()
    assert installing == "apt-get install --yes --no-install-recommends one two"


@each
def test_it_runs_as_nobody_in_particular_and_its_health_is_asked_for(name: str) -> None:
    last = text(name).rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\d+):\1$", last, re.M) == ["10001"]
    assert re.findall(r"^HEALTHCHECK .* CMD \[", last, re.M)
    assert re.findall(r'^ENTRYPOINT \["', last, re.M)


def test_the_service_s_container_has_the_packages_that_metis_needs() -> None:
    (names,) = re.findall(r"^PACKAGES := ((?:.*\\\n)*.*)$", (REPOSITORY / "Makefile").read_text(), re.M)
    wanted = {word for word in names.replace("\\", "").split() if not word.startswith("$")}
    wanted = {re.sub(r"\$\(ARCH\)", "$arch", word) for word in wanted}
    assert wanted - set(re.findall(r"[\w.+$-]+", text("metis"))) == NOT_NEEDED
