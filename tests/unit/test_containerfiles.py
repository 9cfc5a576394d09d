"""What the files say that containers are built by, without building any."""

from __future__ import annotations

import re

import pytest

from tests.support.containers import FOLDER, argument
from tests.support.lab import REPOSITORY

NAMES = sorted(folder.name for folder in FOLDER.iterdir())
each = pytest.mark.parametrize("name", NAMES)
NOT_NEEDED = {"libguestfs-tools"}
"""Of what the Makefile installs: programs beside the library, which benchmarks compare with."""
SOURCES = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates

Types: deb
URIs: http://deb.debian.org/debian-security
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


@each
def test_sources_of_packages_become_those_of_that_day(name: str) -> None:
    """The sed that the file has, on what Debian's image has (debian.sources)."""
    (script,) = re.findall(r'sed -i "s,(.*?),(.*?)," ', text(name))
    pattern, replacement = (part.replace("$SNAPSHOT", "20260824T000000Z") for part in script)
    pattern = pattern.replace("\\(", "(").replace("\\)", ")")
    uris = [line for line in re.sub(pattern, replacement, SOURCES, flags=re.M).splitlines() if "URIs" in line]
    assert uris == [
        "URIs: http://snapshot.debian.org/archive/debian/20260824T000000Z",
        "URIs: http://snapshot.debian.org/archive/debian-security/20260824T000000Z",
    ]


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
