"""A lab whose goldens are in a registry: published, pinned, built from, and noticed when they are moved."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.machine import process
from tests.support import goldens, signing
from tests.support import registry as registries
from tests.support.lab import BIN, QUICK_INJECTOR, REPOSITORY, Lab, Report
from tests.support.registry import Server
from tests.support.signing import Keys

pytestmark = pytest.mark.slow

NODE = "class: {}\nnetwork: {{interface: eth0, address: 192.0.2.{}/24, gateway: 192.0.2.254}}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("registry")
    with registries.serving(folder, certificate=certificate, passwords=True) as server:
        yield server


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    with signing.making(tmp_path_factory.mktemp("signed")) as made:
        yield made


@pytest.fixture
def lab(tmp_path: Path, server: Server) -> Lab:
    """A class whose golden is to be in a registry, and a node of it."""
    environment = {"METIS_INJECTOR": QUICK_INJECTOR, "METIS_CACHE": str(tmp_path / "cache"), "NO_PROXY": "*"}
    lab = Lab(tmp_path, environment | server.environment)
    lab.write("nodes/alpha.yaml", NODE.format("pi", 1))
    declare(lab, server, tmp_path.name)
    return lab


def source(server: Server, repository: str, rest: str = ":1") -> str:
    return f"oci://{server.host}/metis/{repository.replace('_', '-').rstrip('-').lower()}{rest}"


def declare(lab: Lab, server: Server, repository: str, rest: str = ":1", more: str = "") -> Path:
    image = f"{{source: '{source(server, repository, rest)}', headroom: 4M{more}}}"
    return lab.write("classes/pi.yaml", f"arch: amd64\nos: debian\nimage: {image} # ours\n")


def push(lab: Lab, golden: Path, *words: str) -> str:
    """Publish a golden, and give its reference with the digest."""
    said = lab.metis("golden", "push", "--class", "pi", str(golden), "--json", *words)
    assert said.code == 0, said
    found: str = json.loads(said.out)["source"]
    return found


def without_cache(lab: Lab) -> None:
    """As on a flash host that is new, or whose disk was."""
    shutil.rmtree(lab.root / "cache", ignore_errors=True)
    shutil.rmtree(lab.artifacts / "base", ignore_errors=True)


def golden_of(lab: Lab) -> str:
    """The hash of the golden that the node's image was made from."""
    base = json.loads((lab.artifacts / "base/pi.receipt.json").read_bytes())
    return str(base["made_from"]["golden"])


# ------------------------------------------------------------------------------------- from a registry


def test_a_node_is_built_from_what_was_pushed(lab: Lab, server: Server, tiny_golden: Path) -> None:
    pushed = push(lab, tiny_golden)
    said = lab.doit("image:alpha")
    assert said.code == 0, said
    assert golden_of(lab) == goldens.sha256(tiny_golden)
    assert not lab.doit("image:alpha").tasks("run")
    manifest = json.loads(server.blob(pushed.rpartition("@")[2]).read_bytes())
    assert manifest["annotations"] == {
        "dev.metis.arch": "amd64",
        "dev.metis.os": "debian",
        "dev.metis.raw.sha256": goldens.sha256(tiny_golden),
    }


def test_a_packed_golden_says_what_is_in_it(
    lab: Lab, server: Server, tiny_golden: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "x.img.zst"
    process.run(["zstd", "-q", tiny_golden, "-o", packed])
    manifest = json.loads(server.blob(push(lab, packed).rpartition("@")[2]).read_bytes())
    assert manifest["annotations"]["dev.metis.raw.sha256"] == goldens.sha256(tiny_golden)
    assert manifest["layers"][0]["mediaType"] == "application/zstd"
    assert lab.doit("image:alpha").code == 0
    assert golden_of(lab) == goldens.sha256(packed)


def test_a_file_of_a_class_comes_from_a_registry_too(
    lab: Lab, server: Server, tiny_golden: Path, closed_port: int
) -> None:
    push(lab, tiny_golden)
    program = lab.root / "k3s"
    program.write_bytes(b"#!/bin/sh\n")
    to = source(server, lab.root.name, ":k3s")
    said = lab.metis("golden", "push", "--class", "pi", str(program), "--to", to)
    assert said.code == 0, said
    declared = lab.inventory / "classes/pi.yaml"
    sha256 = goldens.sha256(program)
    away = f"oci://127.0.0.1:{closed_port}/k3s:1"
    item = (
        f"{{path: /usr/local/bin/k3s, mode: '0755', source: '{away}', mirrors: ['{to}'], sha256: {sha256}}}"
    )
    declared.write_text(f"{declared.read_text()}files: [{item}]\n")
    assert lab.doit("image:alpha").code == 0
    assert lab.metis("verify", "--node", "alpha").code == 0


def test_a_tag_that_was_moved_is_refused_until_it_is_adopted(
    lab: Lab, server: Server, tiny_golden: Path
) -> None:
    file = lab.inventory / "classes/pi.yaml"
    old = push(lab, tiny_golden)
    assert lab.doit("image:alpha").code == 0
    newer = goldens.tiny_golden(size=20)
    pushed = push(lab, newer, "--replace")
    assert pushed != old
    assert not lab.doit("image:alpha").tasks("run"), "what is built stays as it is"

    without_cache(lab)
    said = lab.metis("image", "--node", "alpha")
    assert said.code == 4, said
    assert f"but {goldens.sha256(tiny_golden)} is pinned: see who moved the tag" in said.err
    assert not list((lab.root / "cache/sha256").glob("*"))

    before = file.read_text()
    said = lab.metis("golden", "pull", "--class", "pi", "--update")
    assert said.code == 0, said
    assert file.read_text() == before.replace(pushed.partition("@")[0], pushed)
    assert "+++ b/classes/pi.yaml" in said.out
    assert lab.doit("image:alpha").code == 0
    assert golden_of(lab) == goldens.sha256(newer)


def test_a_golden_that_is_pinned_by_hash_survives_a_tag_that_moves(
    lab: Lab, server: Server, tiny_golden: Path
) -> None:
    pushed = push(lab, tiny_golden)
    declare(lab, server, lab.root.name, f":1{pushed[pushed.index('@') :]}")
    push(lab, goldens.tiny_golden(size=20), "--replace", "--to", pushed.partition("@")[0])
    assert lab.doit("image:alpha").code == 0
    assert golden_of(lab) == goldens.sha256(tiny_golden)


@pytest.mark.skipif(os.geteuid() != 0, reason="cutting the network off takes root")
def test_offline_everything_is_built_from_a_warm_cache(lab: Lab, keys: Keys, tiny_golden: Path) -> None:
    lab.write("keys/lab.gpg", "").write_bytes(keys.keyring("good").read_bytes())
    made = lab.root / "signature"
    made.write_bytes(keys.sign("good", file=tiny_golden))
    file = lab.inventory / "classes/pi.yaml"
    file.write_text(file.read_text().replace("}", ", signature: {keyring: keys/lab.gpg}}"))
    push(lab, tiny_golden, "--signature", str(made))
    assert lab.metis("golden", "pull").code == 0
    done = process.run(
        ["unshare", "--net", "--", BIN / "doit", "image"],
        cwd=REPOSITORY,
        check=False,
        extra_environment=lab.variables({"METIS_OFFLINE": "1"}),
    )
    assert done.code == 0, done
    assert golden_of(lab) == goldens.sha256(tiny_golden)


def test_a_key_that_left_the_keyring_stops_the_next_build(
    lab: Lab, server: Server, keys: Keys, tiny_golden: Path
) -> None:
    keyring = lab.write("keys/lab.gpg", "")
    keyring.write_bytes(keys.keyring("good").read_bytes())
    made = lab.root / "signature"
    made.write_bytes(keys.sign("good", file=tiny_golden))
    declare(lab, server, lab.root.name, ":1", ", signature: {keyring: keys/lab.gpg}")
    push(lab, tiny_golden, "--signature", str(made))
    assert lab.doit("image:alpha").code == 0
    assert not lab.doit("image:alpha").tasks("run")
    keyring.write_bytes(keys.keyring("other").read_bytes())
    said = lab.metis("image", "--node", "alpha")
    assert said.code == 4
    assert said.tasks("failed") == {"golden:pi"}


# ------------------------------------------------------------------------------------- the commands


def test_a_golden_from_elsewhere_is_mirrored_with_its_signature(
    lab: Lab, server: Server, keys: Keys, tiny_golden: Path
) -> None:
    lab.write("keys/lab.gpg", "").write_bytes(keys.keyring("good").read_bytes())
    made = lab.root / "x.asc"
    made.write_bytes(keys.sign("good", "--armor", file=tiny_golden))
    sha256 = goldens.sha256(tiny_golden)
    signature = f"signature: {{source: 'file:{made}', keyring: keys/lab.gpg}}"
    lab.write(
        "classes/pi.yaml",
        f"arch: amd64\nos: debian\nimage: {{source: 'file:{tiny_golden}', sha256: {sha256}, {signature}}}\n",
    )
    to = source(server, lab.root.name, ":mirrored")
    said = lab.metis("golden", "push", "--class", "pi", "--to", to)
    assert said.code == 0, said
    assert said.out.startswith(f"pushed {to}@sha256:")
    without_cache(lab)
    declare(lab, server, lab.root.name, ":mirrored", ", signature: {keyring: keys/lab.gpg}")
    assert lab.doit("image:alpha").code == 0
    assert golden_of(lab) == sha256


def test_a_tag_that_names_another_golden_is_not_moved_by_accident(lab: Lab, tiny_golden: Path) -> None:
    assert push(lab, tiny_golden) == push(lab, tiny_golden)
    said = lab.metis("golden", "push", "--class", "pi", str(goldens.tiny_golden(size=20)))
    assert said.code == 3
    assert "names another golden already: name a new tag, or say --replace" in said.err


def test_what_each_class_has_is_listed(lab: Lab, tiny_golden: Path) -> None:
    assert json.loads(lab.metis("golden", "list", "--json").out)[0]["pinned"] == "nothing"
    push(lab, tiny_golden)
    assert lab.metis("golden", "pull", "--class", "pi").code == 0
    (found,) = json.loads(lab.metis("golden", "list", "--json").out)
    assert (found["pinned"], found["cached"]) == ("recorded", True)
    assert found["sha256"] == goldens.sha256(tiny_golden)
    assert [line.split()[:3] for line in lab.metis("golden", "list").out.splitlines()] == [
        ["class", "sha256", "pinned"],
        ["pi", found["sha256"][:12], "recorded"],
    ]


def test_a_golden_is_verified_without_a_network_and_rot_is_found(lab: Lab, tiny_golden: Path) -> None:
    push(lab, tiny_golden)
    sha256 = goldens.sha256(tiny_golden)
    assert lab.metis("golden", "verify").code == 1, "it is not in the cache"
    assert lab.metis("golden", "pull").code == 0
    assert lab.metis("golden", "verify", METIS_OFFLINE="1").code == 0
    cached = lab.root / "cache/sha256" / sha256
    looks = cached.stat()
    with cached.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    os.utime(cached, ns=(looks.st_atime_ns, looks.st_mtime_ns))
    said = lab.metis("golden", "verify", METIS_OFFLINE="1")
    assert said.code == 4
    assert "rotted in the cache" in said.err


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("pull", "--class", "no"), 2, "no class no with an image"),
        (("push", "--class", "no"), 2, "no class no with an image"),
        (("push", "--class", "pi", "nowhere.img"), 2, "nowhere.img is no file"),
        (("push", "--class", "pi", "--to", "https://a/b"), 2, "nothing says where the golden goes"),
        (("push", "--class", "pi", "--signature", "x"), 2, "--signature is of a FILE"),
        (("pull", "--update"), 2, "METIS_OFFLINE is set"),
    ],
)
def test_what_makes_no_sense_is_one_line(lab: Lab, words: tuple[str, ...], code: int, line: str) -> None:
    said = lab.metis("golden", *words, METIS_OFFLINE="1")
    assert (said.code, said.out) == (code, "")
    assert line in said.err
    assert "Traceback" not in said.err


def test_what_is_no_image_is_not_published(lab: Lab, tmp_path: Path) -> None:
    broken = tmp_path / "x.img.xz"
    broken.write_bytes(b"\xfd7zXZ\0broken")
    said = lab.metis("golden", "push", "--class", "pi", str(broken))
    assert said.code == 1
    assert "cannot unpack" in said.err


def test_the_robots_password_is_never_shown(lab: Lab, tiny_golden: Path) -> None:
    push(lab, tiny_golden)
    for words in (["golden", "pull", "--debug"], ["image", "--node", "alpha", "--debug"], ["golden", "list"]):
        said = lab.metis(*words)
        assert said.code == 0, said
        assert registries.PASSWORD not in said.out + said.err
    wrong = lab.metis(
        "golden", "pull", METIS_REGISTRY_PASSWORD="hunter2", METIS_CACHE=str(lab.root / "other")
    )
    assert wrong.code == 5
    assert "hunter2" not in wrong.out + wrong.err
    kept = b"".join(path.read_bytes() for path in lab.artifacts.rglob("*") if path.is_file())
    assert registries.PASSWORD.encode() not in kept


# ------------------------------------------------------------------------------------- by night


def night(lab: Lab, *words: str) -> Report:
    return lab.metis("nightly", *words)


def test_a_night_tells_of_a_newer_golden_and_takes_it_only_when_it_is_told(
    lab: Lab, server: Server, tiny_golden: Path
) -> None:
    file = lab.inventory / "classes/pi.yaml"
    pushed = push(lab, tiny_golden)
    declare(lab, server, lab.root.name, f":1{pushed[pushed.index('@') :]}")
    assert night(lab).code == 0
    newer = goldens.tiny_golden(size=20)
    push(lab, newer, "--replace", "--to", pushed.partition("@")[0])

    before = file.read_text()
    said = night(lab)
    assert said.code == 0, said
    assert f"newer golden: class pi: {pushed} is {goldens.sha256(newer)} now" in said.out
    assert (file.read_text(), golden_of(lab)) == (before, goldens.sha256(tiny_golden))

    said = night(lab, "--update")
    assert said.code == 0, said
    assert f"-image: {{source: '{pushed}', headroom: 4M}} # ours" in said.out.splitlines()
    assert golden_of(lab) == goldens.sha256(newer)
    assert "newer golden" not in night(lab).out


def test_a_night_never_pins_a_newer_golden_that_is_not_signed(
    lab: Lab, server: Server, keys: Keys, tiny_golden: Path
) -> None:
    lab.write("keys/lab.gpg", "").write_bytes(keys.keyring("good").read_bytes())
    made = lab.root / "signature"
    made.write_bytes(keys.sign("good", file=tiny_golden))
    pushed = push(lab, tiny_golden, "--signature", str(made))
    pin = f":1{pushed[pushed.index('@') :]}"
    file = declare(lab, server, lab.root.name, pin, ", signature: {keyring: keys/lab.gpg}")
    assert night(lab).code == 0
    push(lab, goldens.tiny_golden(size=20), "--replace", "--to", pushed.partition("@")[0])
    before = file.read_text()
    said = night(lab, "--update")
    assert said.code == 4
    assert "has no signature" in said.out
    assert file.read_text() == before
    assert golden_of(lab) == goldens.sha256(tiny_golden)


def test_a_registry_that_is_away_is_a_warning_and_no_failure(
    lab: Lab, server: Server, tiny_golden: Path, closed_port: int
) -> None:
    pushed = push(lab, tiny_golden)
    assert night(lab).code == 0
    away = pushed.replace(server.host, f"127.0.0.1:{closed_port}")
    declared = (lab.inventory / "classes/pi.yaml").read_text()
    sha256 = goldens.sha256(tiny_golden)
    lab.write("classes/pi.yaml", declared.replace(pushed.partition("@")[0], f"{away}', sha256: '{sha256}"))
    said = night(lab)
    assert said.code == 0, said
    assert "warning: class pi: 127.0.0.1:" in said.out
