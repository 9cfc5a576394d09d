"""The recipe of the debian source: what its key hangs on, and what is refused before anything starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType

import pytest

from pipeline.errors import MetisError, MismatchError, SourceError, UsageError
from pipeline.golden.debian import (
    packages as debian_packages,
)
from pipeline.golden.debian import (
    recipe as debian_recipe,
)
from pipeline.golden.debian import (
    source as debian,
)
from pipeline.golden.debian import (
    tools as debian_tools,
)
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter

LISTED = """\
Debian bookworm http://192.0.2.1/debian/
Debian bookworm http://192.0.2.1/debian/
Debian bookworm-updates http://192.0.2.1/debian/
Debian bookworm-security http://192.0.2.1/debian-security/
Debian bookworm-backports http://192.0.2.1/debian/
Debian bookworm http://user:secret@192.0.2.2/debian/
Google cloud-sdk http://192.0.2.3/apt/
$(ORIGIN) bookworm http://192.0.2.4/debian/
"""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host whose apt knows these archives."""
    monkeypatch.delenv(debian_tools.MIRROR, raising=False)
    monkeypatch.setattr(debian_packages, "_KEYRING", tmp_path / "keyring")
    answer = process.Finished(0, LISTED.encode(), b"")
    monkeypatch.setattr(process, "run", lambda *_, **__: answer)


def test_the_key_is_a_hash_and_stays() -> None:
    key = debian_recipe.recipe_key("bookworm")
    assert key == debian_recipe.recipe_key("bookworm", "amd64")
    assert len(bytes.fromhex(key)) == 32


def test_the_key_hangs_on_the_suite() -> None:
    assert debian_recipe.recipe_key("bookworm") != debian_recipe.recipe_key("trixie")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("packages", ("systemd",)),
        ("files", {"etc/fstab": (0o644, "")}),
        ("hooks", ("true",)),
        ("slack", 1),
        ("cmdline", "quiet"),
    ],
)
def test_the_key_hangs_on_every_part_of_the_recipe(
    monkeypatch: pytest.MonkeyPatch, field: str, value: object
) -> None:
    before = debian_recipe.recipe_key("bookworm")
    recipe = dataclasses.replace(debian_recipe.RECIPES["amd64"], **{field: value})  # type: ignore[arg-type]
    monkeypatch.setattr(debian_recipe, "RECIPES", MappingProxyType({"amd64": recipe}))
    assert debian_recipe.recipe_key("bookworm") != before


def test_the_key_hangs_on_the_version_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = debian_recipe.recipe_key("bookworm")
    monkeypatch.setattr(debian_recipe, "VERSION", debian_recipe.VERSION + 1)
    assert debian_recipe.recipe_key("bookworm") != before


@pytest.mark.parametrize(
    "suite", ["", "Bookworm", "book worm", "--help", "../etc", "a;b", "a\nb", "sid\n", "é"]
)
def test_a_hostile_suite_is_refused(suite: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        debian_recipe.recipe_key(suite)
    with pytest.raises(UsageError):
        debian.build(suite, tmp_path / "image", QuietReporter())
    assert list(tmp_path.iterdir()) == []


def test_an_architecture_without_a_recipe_is_refused() -> None:
    with pytest.raises(UsageError, match="riscv64"):
        debian_recipe.recipe_key("bookworm", "riscv64")


def test_each_architecture_has_a_key_of_its_own() -> None:
    assert debian_recipe.recipe_key("bookworm", "amd64") != debian_recipe.recipe_key("bookworm", "arm64")


@pytest.mark.usefixtures("host")
def test_the_host_s_own_archives_of_debian_are_used_and_no_others() -> None:
    assert debian_packages.archives("bookworm") == [
        "deb http://192.0.2.1/debian/ bookworm main",
        "deb http://192.0.2.1/debian/ bookworm-updates main",
        "deb http://192.0.2.1/debian-security/ bookworm-security main",
    ]


@pytest.mark.usefixtures("host")
def test_what_a_recipe_needs_beside_the_free_packages_is_asked_for() -> None:
    assert debian_packages.archives("sid", ("main", "non-free-firmware")) == [
        "deb http://192.0.2.1/debian/ sid main non-free-firmware"
    ]


@pytest.mark.usefixtures("host")
def test_a_rolling_suite_has_no_updates() -> None:
    assert debian_packages.archives("sid") == ["deb http://192.0.2.1/debian/ sid main"]


def test_the_mirror_of_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debian_tools.MIRROR, "https://[2001:db8::1]:8080/debian")
    assert debian_packages.archives("bookworm") == ["https://[2001:db8::1]:8080/debian"]


@pytest.mark.parametrize(
    "mirror", ["-", "file:///", "/etc/passwd", "deb http://x y main", "http://u:p@h/", "http://h/ x"]
)
def test_a_hostile_mirror_is_refused_without_being_repeated(
    monkeypatch: pytest.MonkeyPatch, mirror: str
) -> None:
    monkeypatch.setenv(debian_tools.MIRROR, mirror)
    with pytest.raises(UsageError) as caught:
        debian_packages.archives("bookworm")
    assert mirror not in str(caught.value).split()


@pytest.mark.parametrize(
    ("said", "kind", "part"),
    [
        (
            "E: Failed to fetch http://h/x  Temporary failure resolving 'h'\nE: mmdebstrap failed",
            SourceError,
            "'h'",
        ),
        ("E: The repository 'http://h x Release' does not have a Release file.\n", SourceError, "http://h x"),
        (
            "W: GPG error: http://h x: NO_PUBKEY 123\nE: The repository is not signed.",
            MismatchError,
            "NO_PUBKEY",
        ),
        (
            "E: arm64 can neither be executed natively nor via qemu user emulation with binfmt_misc",
            MetisError,
            "qemu-user-static",
        ),
        (
            "W: /etc/subuid is empty\nE: failed to parse /etc/subuid and /etc/subgid",
            MetisError,
            "--add-subuids",
        ),
        ("E: unshare syscall failed: Operation not permitted", MetisError, "docs/systemd.md"),
        (
            "newuidmap: write to uid_map failed: Operation not permitted\n"
            "E: E: newuidmap 1348  0 300000 65536\n failed: \nE: E: failed to unshare the user namespace",
            MetisError,
            "docs/systemd.md",
        ),
        ("tar: x: Cannot write: No space left on device\ntar: Exiting", MetisError, "No space left"),
        ("I: x\nE: Unable to locate package y\nE: mmdebstrap failed to run", MetisError, "package y"),
        ("", MetisError, "exit code 1"),
    ],
)
def test_what_the_tools_say_becomes_one_line(
    monkeypatch: pytest.MonkeyPatch, said: str, kind: type[MetisError], part: str
) -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: process.Finished(1, b"", said.encode()))
    with pytest.raises(MetisError, match="cannot do it") as caught:
        debian_tools.run(["mmdebstrap"], "cannot do it")
    assert type(caught.value) is kind
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
