"""What the environment says: read once, complete, and refused where it cannot be meant."""

from __future__ import annotations

import os
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.errors import UsageError
from pipeline.golden.registry.access import RegistryAccess
from pipeline.inventory.resolve import GoldenOverride
from pipeline.lab.lab import Lab
from pipeline.machine.hardening import CREDENTIALS, forget_credentials
from pipeline.secret import Secret
from pipeline.secrets.places import (
    PLACES,
    PlainPlace,
    SealedPlace,
    SecretPlace,
    VaultPlace,
    all_spellings,
)
from pipeline.settings import Settings, golden_variable

HERE = Path("/somewhere/here")
SHA256 = "ab" * 32
SOURCE = "file:/tmp/golden.img"


def read(**environment: str) -> Settings:
    return Settings.from_environment(environment, HERE)


def refusal(**environment: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(**environment)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_with_nothing_said_everything_is_in_the_current_folder() -> None:
    settings = read()
    assert settings == Settings(
        inventory=HERE,
        artifacts=HERE / "artifacts",
        cache=HERE / "artifacts/cache",
        injector="guestfs",
        offline=False,
        deep=False,
        debug=False,
        waits=False,
        overrides={},
        registries=RegistryAccess(),
        secrets=SealedPlace(
            Path("~/.local/state/metis/secrets").expanduser(), Path("~/.config/metis/age.key").expanduser()
        ),
    )


def test_relative_paths_count_from_the_current_folder_and_absolute_ones_stay() -> None:
    settings = read(METIS_INVENTORY="lab/all.yaml", METIS_ARTIFACTS="/srv/out", METIS_CACHE="../cache")
    assert settings.inventory == HERE / "lab/all.yaml"
    assert settings.artifacts == Path("/srv/out")
    assert settings.cache == HERE / "../cache"


def test_the_cache_is_among_the_artifacts_unless_it_is_named() -> None:
    assert read(METIS_ARTIFACTS="/srv/out").cache == Path("/srv/out/cache")


@pytest.mark.parametrize("name", "INVENTORY ARTIFACTS CACHE INJECTOR OFFLINE DEEP IMAGE_PI SECRETS".split())
def test_an_empty_variable_is_as_good_as_none(name: str) -> None:
    assert read(**{f"METIS_{name}": ""}) == read()


STATE, KEY = {"XDG_STATE_HOME": "/srv/state"}, {"METIS_AGE_IDENTITY": "/srv/age.key"}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"METIS_SECRETS": "plain:keys"}, PlainPlace(HERE / "keys")),
        ({"METIS_SECRETS": "plain:/srv/a:b"}, PlainPlace(Path("/srv/a:b"))),
        ({**STATE, **KEY}, SealedPlace(Path("/srv/state/metis/secrets"), Path("/srv/age.key"))),
        (
            {**STATE, **KEY, "METIS_SECRETS": "sealed"},
            SealedPlace(Path("/srv/state/metis/secrets"), Path("/srv/age.key")),
        ),
        (
            {"METIS_SECRETS": "sealed:keys", "METIS_AGE_IDENTITY": "my.key"},
            SealedPlace(HERE / "keys", HERE / "my.key"),
        ),
        (
            {"METIS_SECRETS": "sealed:keys", "XDG_CONFIG_HOME": "/srv/config"},
            SealedPlace(HERE / "keys", Path("/srv/config/metis/age.key")),
        ),
        (
            {"METIS_SECRETS": "plain:keys", "VAULT_ADDR": "https://vault.example"},
            PlainPlace(HERE / "keys"),
        ),
    ],
)
def test_secrets_are_where_the_environment_says(environment: dict[str, str], place: SecretPlace) -> None:
    assert read(**environment).secrets == place


def test_a_relative_folder_for_state_is_none() -> None:
    assert read(XDG_STATE_HOME="state") == read(), "the XDG specification takes no relative path"


VAULT = {"VAULT_ADDR": "https://vault.example:8200/", **STATE, **KEY}


@pytest.mark.parametrize("extra", [{}, {"METIS_SECRETS": "vault"}])
def test_an_address_of_vault_makes_it_the_source(extra: dict[str, str]) -> None:
    place = read(**VAULT, VAULT_TOKEN="hunter2", VAULT_CACERT="ca.pem", **extra).secrets
    assert isinstance(place, VaultPlace)
    assert place.access.address == "https://vault.example:8200"
    assert place.access.token == Secret("hunter2")
    assert place.access.ca_certificate == HERE / "ca.pem"
    assert place.identity == Path("/srv/age.key")
    assert place.folder.parent == Path("/srv/state/metis/copies")
    assert "hunter2" not in repr(place)


@pytest.mark.parametrize("other", [{"VAULT_ADDR": "https://other.example"}, {"VAULT_NAMESPACE": "lab"}])
def test_another_vault_has_other_copies(other: dict[str, str]) -> None:
    places = [read(**{**VAULT, **more}).secrets for more in ({}, other)]
    assert isinstance(places[0], VaultPlace)
    assert isinstance(places[1], VaultPlace)
    assert places[0].folder != places[1].folder


def test_vault_without_its_address_is_refused() -> None:
    assert refusal(METIS_SECRETS="vault").startswith("METIS_SECRETS is vault, and VAULT_ADDR is not set")


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("5s", 5), ("", 10)])
def test_vault_is_waited_for_as_long_as_its_own_command_line_would(text: str, seconds: int) -> None:
    place = read(**VAULT, VAULT_CLIENT_TIMEOUT=text).secrets
    assert isinstance(place, VaultPlace)
    assert place.access.timeout == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "soon", "99999"])
def test_what_is_no_time_is_refused(text: str) -> None:
    assert "VAULT_CLIENT_TIMEOUT" in refusal(**VAULT, VAULT_CLIENT_TIMEOUT=text)


def test_a_user_without_a_home_is_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 3)
    with pytest.raises(UsageError, match="no home folder: set HOME or XDG_STATE_HOME"):
        read()
    assert read(METIS_SECRETS="plain:keys").secrets == PlainPlace(HERE / "keys")
    assert isinstance(read(METIS_SECRETS="sealed:keys", **KEY).secrets, SealedPlace)


@pytest.mark.parametrize("value", ["vault:x", "sealed:", "plain", "plain:", "hunter2", "/srv/keys"])
def test_another_source_of_secrets_is_refused_and_not_repeated(value: str) -> None:
    line = refusal(METIS_SECRETS=value)
    assert line == "METIS_SECRETS is no source of secrets: use vault, sealed:DIR or plain:DIR"


@pytest.mark.parametrize("kind", PLACES, ids=lambda place: place.kind)
def test_each_kind_of_place_is_named_by_its_spellings(kind: type[SecretPlace]) -> None:
    for text in kind.spellings:
        assert isinstance(read(**VAULT, METIS_SECRETS=text.replace("DIR", "keys")).secrets, kind)
    assert {text.partition(":")[0] for text in kind.spellings} == {kind.kind}


def test_all_spellings_are_told_in_words() -> None:
    *others, last = re.split(", | or ", all_spellings())
    assert (*others, last) == tuple(text for place in PLACES for text in place.spellings)
    assert all_spellings().endswith(f" or {last}")


@pytest.mark.parametrize("value", ["1", "true", "True", "yes", "on"])
def test_switches_are_on_by_any_word_for_it(value: str) -> None:
    assert read(METIS_OFFLINE=value).offline
    assert read(METIS_DEEP=value).deep


@pytest.mark.parametrize("value", ["0", "false", "no", "off"])
def test_switches_are_off_by_any_word_for_it(value: str) -> None:
    assert not read(METIS_OFFLINE=value).offline


def test_a_switch_is_not_guessed_at() -> None:
    """Who wrote METIS_OFFLINE=ja must not be online without knowing it."""
    assert refusal(METIS_OFFLINE="ja") == "METIS_OFFLINE is 'ja': use 1 or 0"


def test_an_unknown_injector_is_refused_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIS_INJECTOR", "magic")
    with pytest.raises(UsageError) as caught:
        Lab.from_environment()
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("METIS_INJECTOR is 'magic': use one of guestfs")


# --------------------------------------------------------------------- METIS_IMAGE_<CLASS>(_SHA256)


@pytest.mark.parametrize(
    ("klass", "variable"),
    [
        ("pi", "METIS_IMAGE_PI"),
        ("rpi4-armbian-longhorn", "METIS_IMAGE_RPI4_ARMBIAN_LONGHORN"),
        ("Mixed.Case_1", "METIS_IMAGE_MIXED_CASE_1"),
    ],
)
def test_a_class_has_its_variable_in_upper_case_with_underscores(klass: str, variable: str) -> None:
    assert golden_variable(klass) == variable
    settings = read(**{variable: SOURCE, f"{variable}_SHA256": SHA256})
    assert settings.override(klass) == GoldenOverride(SOURCE, SHA256, variable)
    assert settings.override("other") is None


@pytest.mark.parametrize(
    ("given", "missing"),
    [("METIS_IMAGE_PI", "METIS_IMAGE_PI_SHA256"), ("METIS_IMAGE_PI_SHA256", "METIS_IMAGE_PI")],
)
@pytest.mark.parametrize("other", [{}, {"empty": ""}], ids=["not set", "empty"])
def test_one_of_the_pair_alone_is_refused(given: str, missing: str, other: dict[str, str]) -> None:
    environment = {given: SOURCE, **({missing: ""} if other else {})}
    assert refusal(**environment) == (
        f"{given} is set without {missing}: set both: they replace the class's image together"
    )


@pytest.mark.parametrize(
    "sha256", ["AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32, f"{SHA256}\n", "sha256:" + SHA256]
)
def test_what_is_no_sha256_is_refused(sha256: str) -> None:
    line = refusal(METIS_IMAGE_PI=SOURCE, METIS_IMAGE_PI_SHA256=sha256)
    assert line.startswith("METIS_IMAGE_PI_SHA256 is not a SHA-256")


@pytest.mark.parametrize(
    "source", ["https://me:hunter2@images.example/x.img", "golden.img", "ftp://x/y", "file:", "debian:../x"]
)
def test_what_is_no_source_is_refused_and_not_repeated_as_it_may_hold_a_password(source: str) -> None:
    line = refusal(METIS_IMAGE_PI=source, METIS_IMAGE_PI_SHA256=SHA256)
    assert line.startswith("METIS_IMAGE_PI is not where an image can come from")
    assert "hunter2" not in line


# ------------------------------------------------------------------------ what an inventory is called


def test_two_inventories_have_two_keys_and_one_has_one(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "link").symlink_to("lab")

    def key(path: str) -> str:
        return Settings.from_environment({"METIS_INVENTORY": path}, tmp_path).inventory_key

    assert key("lab") == key("./lab/../lab") == key("link") == key(str(tmp_path / "lab"))
    assert key("lab") != key(".")


# ------------------------------------------------------------------------------------------ precedence

INVENTORY = "classes: {{pi: {{arch: arm64, os: debian}}}}\nnodes: {{n: {{class: pi, hostname: {}}}}}\n"


def hostname(tmp_path: Path, *flags: str) -> str:
    for name in ("flag", "environment"):
        (tmp_path / f"{name}.yaml").write_text(INVENTORY.format(name))
    result = CliRunner().invoke(cli, ["config", "--node", "n", *flags])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1]


def test_a_flag_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIS_INVENTORY", str(tmp_path / "environment.yaml"))
    assert hostname(tmp_path) == "hostname: environment"
    assert hostname(tmp_path, "--inventory", str(tmp_path / "flag.yaml")) == "hostname: flag"


ACCOUNTS = {
    "VAULT_ADDR": "https://vault.example",
    "VAULT_ROLE_ID": "role",
    "METIS_REGISTRY": "harbor.example",
    "METIS_REGISTRY_USER": "robot",
    "VAULT_TOKEN": "secret 1",
    "VAULT_SECRET_ID": "secret 2",
    "METIS_REGISTRY_PASSWORD": "secret 3",
}


def secrets_in(value: object) -> set[str]:
    """The texts of all secrets in a value, however deep."""
    if isinstance(value, Secret):
        return {value.reveal()}
    if is_dataclass(value):
        return {text for part in fields(value) for text in secrets_in(getattr(value, part.name))}
    return set()


def test_each_variable_that_holds_a_secret_is_forgotten_before_a_library_starts_a_child() -> None:
    held = secrets_in(read(**ACCOUNTS))
    assert held == {text for text in ACCOUNTS.values() if text.startswith("secret ")}
    assert {name for name, text in ACCOUNTS.items() if text in held} <= set(CREDENTIALS)


def test_what_logs_in_for_a_source_of_goldens_is_forgotten_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CREDENTIALS, "OWN_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    forget_credentials(["OWN_TOKEN"])
    assert "hunter2" not in os.environ.values()


@pytest.mark.parametrize("name", ["METIS_REGISTRY", "METIS_REGISTRY_USER", "METIS_REGISTRY_PASSWORD"])
def test_an_account_of_a_registry_is_said_in_whole(name: str) -> None:
    said = refusal(**{name: "hunter2"})
    assert said.startswith(
        "only some of METIS_REGISTRY, METIS_REGISTRY_USER, METIS_REGISTRY_PASSWORD are set"
    )
    assert "hunter2" not in said
