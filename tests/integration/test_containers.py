"""The containers, built as `make images` builds them, and run as their files say."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from metis_sentinel import snapshot
from pipeline.machine.process import Finished
from tests.support.containers import Container, Store, arch, argument, bytes_taken, removed
from tests.support.goldens import sha256, tiny_golden
from tests.support.lab import REPOSITORY, Lab, class_text
from tests.support.netns import network

pytestmark = pytest.mark.slow
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
MOST = 80 << 20
"""Bytes that the sentinel may take beyond its base."""
AS_IN_A_CLUSTER = ("--cap-drop=all", "--cap-add=CAP_DAC_READ_SEARCH")
"""What the DaemonSet leaves root."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if os.geteuid() != 0:
        pytest.skip("only root may run containers without a daemon")
    made = Store(tmp_path_factory.mktemp("containers"))
    made.add_base()
    made.make_images()
    yield made
    removed(made)


def image(name: str) -> str:
    return f"localhost/{name}:{VERSION}-{arch()}"


@pytest.fixture(scope="module")
def metis(store: Store) -> Iterator[Container]:
    with store.container(image("metis")) as made:
        yield made


@pytest.fixture(scope="module")
def sentinel(store: Store) -> Iterator[Container]:
    with store.container(image("metis-sentinel"), *AS_IN_A_CLUSTER) as made:
        yield made


def test_the_service_answers_and_its_health_is_seen(metis: Container) -> None:
    kind, *health = metis.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert metis.run(*health).code != 0  # nobody answers yet
    until = f"until {shlex.join(health)}; do kill -0 $! || exit 1; sleep 0.3; done 2>&-"
    waits = f'"$@" & {until}; kill $!; wait $!'
    with network() as there:
        done = metis.run("sh", "-c", waits, "sh", *metis.started("serve", "--no-auth"), within=there.within)
    assert done.code == 0, done.last_words


@pytest.mark.parametrize("injector", ["direct", "guestfs"])
def test_an_image_is_built_by_what_is_in_the_container(
    metis: Container, tmp_path: Path, injector: str
) -> None:
    golden, artifacts = tiny_golden(), f"/srv/metis/{injector}"
    lab = Lab(tmp_path)
    lab.write("classes/small.yaml", class_text(Path("/golden"), sha256(golden)))
    lab.write("nodes/one.yaml", "class: small\n")
    tmp_path.chmod(0o755)
    environment = {
        "METIS_INVENTORY": "/srv/metis/lab",
        "METIS_ARTIFACTS": artifacts,
        "METIS_INJECTOR": injector,
        "LIBGUESTFS_BACKEND_SETTINGS": os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", ""),
    }
    options = [f"--volume={golden}:/golden:ro", f"--volume={lab.inventory}:/srv/metis/lab:ro"]
    options += [f"--env={name}={text}" for name, text in environment.items()]
    done = metis.run(*metis.started("image", "--node", "one"), options=options)
    assert done.code == 0, done.err.decode()
    assert (metis.root / f".{artifacts}/one.img").stat().st_uid == int(user(metis))


def test_what_python_has_installed_fits_together(metis: Container) -> None:
    assert metis.run("/opt/metis/bin/python", "-m", "pip", "check").out == b"No broken requirements found.\n"


def test_no_tool_of_developers_got_in(metis: Container) -> None:
    folders = {path.name for path in (metis.root / "opt/metis/lib/python3.11/site-packages").iterdir()}
    assert {"pipeline", "metis_sentinel", "guestfs"} & folders == {"pipeline", "metis_sentinel"}
    assert folders & {"pytest", "mypy", "ruff", "playwright", "hatchling"} == set()


# ------------------------------------------------------------------------------------ the sentinel


def test_the_sentinel_prints_a_snapshot_as_anybody(sentinel: Container) -> None:
    said = taken(sentinel.run(*sentinel.started()))
    assert said["kernel"] == os.uname().release
    assert user(sentinel) != "0"


def test_the_sentinel_tells_of_the_host_as_a_daemonset_has_it(sentinel: Container) -> None:
    options = ["--user=0:0", "--volume=/:/host:ro"]
    said = taken(sentinel.run(*sentinel.started("--root=/host"), options=options))
    assert said["hostname"] == Path("/etc/hostname").read_text().strip()
    assert said["packages"]["buildah"]
    assert [gap for gap in said["gaps"] if "mount the host's /proc" in gap] == []


def test_the_sentinel_s_health_is_seen(sentinel: Container) -> None:
    kind, *health = sentinel.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert sentinel.run(*health).code == 0


def test_the_sentinel_is_small(store: Store, sentinel: Container) -> None:
    with store.container(argument("metis-sentinel", "DEBIAN")) as base:
        assert 0 < bytes_taken(sentinel.root) - bytes_taken(base.root) < MOST


# ------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize("name", ["metis", "metis-sentinel"])
def test_labels_say_what_it_is_and_of_which_version(name: str, request: pytest.FixtureRequest) -> None:
    made: Container = request.getfixturevalue(name.removeprefix("metis-"))
    labels = {key.rpartition(".")[2]: text for key, text in made.config["Labels"].items()}
    assert labels["title"] == name
    assert labels["version"] == VERSION
    assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])


def taken(done: Finished) -> dict[str, Any]:
    """A snapshot that was printed, which its schema allows."""
    assert done.code == 0, done.last_words
    said: dict[str, Any] = json.loads(done.out)
    schema = Path(snapshot.__file__).with_name("snapshot.schema.json")
    Draft202012Validator(json.loads(schema.read_text())).validate(said)
    return said


def user(made: Container) -> str:
    """The number of the image's user."""
    return str(made.config["User"].partition(":")[0])
