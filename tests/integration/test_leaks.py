"""Secrets reach the card and nothing else: of texts planted in every field none is found anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import yaml

from pipeline.history import builds
from pipeline.machine.process import background, run
from pipeline.model import File, Text
from pipeline.raw import disk
from pipeline.secrets.age_keys import AgeKeys
from pipeline.secrets.sealed import sealed_folder
from tests.support.canaries import (
    CA,
    NODES,
    Planted,
    echoed,
    keep_in_vault,
    keep_plain,
    keep_sealed,
    make_lab,
    plant,
    word,
)
from tests.support.history import BUILD, kept_manifests, manifest
from tests.support.lab import BIN, Lab
from tests.support.leaks import Canaries, Sampler, folder_contents, pieces
from tests.support.vault import Answer, Vault, vault_server
from tests.support.waiting import wait_for_words, wait_until

SLOW = pytest.mark.slow
OWN = [str(BIN / "metis"), str(BIN / "doit")]
"""The programs whose environment an operator gives: what logs in to Vault is in theirs, and in no child's."""

LOOKS = (
    ["plan"],
    ["plan", "--json"],
    ["config", "--node", "alpha"],
    ["config", "--node", "gamma", "--explain"],
    ["config", "--node", "beta", "--json"],
    ["secrets", "status"],
    ["secrets", "status", "--json"],
    ["verify", *(word for node in NODES for word in ("--node", node))],
    ["verify", "--node", "gamma", "--json"],
    ["history"],
    ["history", "--json"],
    ["history", "--diff", "1", "1"],
)
"""What asks of a lab that is built; all of it ends well."""
LISTS = (
    ["list"],
    ["list", "--all", "--deps", "-s", "--private"],
    ["info", "image:alpha"],
    ["info", "manifest:gamma"],
    ["-v2", "image"],
    ["-n2", "image"],
)
ADOPTIONS = (["image", "alpha", "--debug"], ["image", "alpha", "--json"], ["image", "alpha", "--replace"])
"""Where from, who adopts, and how."""
APPLIANCE = 0.02
"""Seconds between looks for processes that live for many."""
TRIES = (["plan", "--debug"], ["verify", "--node", "alpha", "--debug"], ["secrets", "status", "--debug"])
"""What is tried when something is wrong."""


@dataclass
class Watched:
    """A lab with canaries, what its commands said, and what was seen of their processes."""

    lab: Lab
    planted: Planted
    vault: Vault | None = None
    sampler: Sampler = field(default_factory=Sampler)
    said: dict[str, bytes] = field(default_factory=dict)

    def run(self, program: str, *words: str, **extra: str) -> int:
        """Run a command and keep what it says."""
        report = self.lab.doit(*words, **extra) if program == "doit" else self.lab.metis(*words, **extra)
        self.said[f"{len(self.said)}: {program} {' '.join(words)} {extra}"] = (
            report.out + report.err
        ).encode()
        return report.code

    def fail(self, what: str, **extra: str) -> None:
        """Try everything while something is wrong: a build, and beside it whatever only looks."""
        with ThreadPoolExecutor(1) as looking:
            looks = looking.map(lambda words: self.run("metis", *words, **extra), TRIES)
            assert self.run("metis", "image", "--node", "alpha", "--debug", **extra) != 0, what
            assert self.run("doit", "image:alpha", **extra) != 0, what
            list(looks)

    @property
    def images(self) -> list[Path]:
        return [self.lab.artifacts / f"{node}.img" for node in NODES]

    def contents(self) -> dict[str, bytes]:
        """All that was said, seen and left, but for the images and where secrets are kept."""
        left: dict[str, bytes] = {}
        for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"):
            folder = Path(self.lab.environment[variable])
            left |= folder_contents(folder, [folder / "metis/age.key"])
        left |= folder_contents(self.lab.root / "sealed")
        left |= folder_contents(self.lab.artifacts, self.images)
        left |= kept_manifests(self.lab.artifacts / "history.sqlite3")
        return {**self.said, **self.sampler.contents(OWN), **left}


# -------------------------------------------------------------------------------------- the runs


def build_and_look(watched: Watched) -> None:
    for words in (["plan"], ["plan", "--json", "--debug"], ["image", "--debug"], ["image"], *LOOKS):
        assert watched.run("metis", *words) == 0, list(watched.said.items())[-1]
    for words in ADOPTIONS:
        source = str(watched.images[0]) if words[0] == "image" else words[0]
        assert watched.run("metis", "adopt", "--node", words[1], "--from", source, *words[2:]) == 0
    for words in LISTS:  # info ends with 1 where there is something to do
        assert watched.run("doit", *words) in {0, 1}, list(watched.said.items())[-1]


def fail_in_all_ways(watched: Watched) -> None:
    """Builds that fail early, in the middle and at the end of a node's way."""
    lab, nowhere = (
        watched.lab,
        {"METIS_IMAGE_PLAIN": "file:///gone.img", "METIS_IMAGE_PLAIN_SHA256": "0" * 64},
    )
    assert watched.run("metis", "image", "--debug", **nowhere) != 0
    node = lab.inventory / "nodes/alpha.yaml"
    before = node.read_text()
    big = lab.write("overlays/big/root/opt/big", "x" * (40 << 20))
    node.write_text(f"{before}root_overlay: overlays/big/root\n")
    assert watched.run("metis", "image", "--node", "alpha", "--debug") != 0, "it has no room"
    assert watched.run("doit", "image:alpha") != 0
    big.unlink()
    node.write_text(before.replace("dhcp: true", "dhcp: maybe"))
    assert watched.run("metis", "image", "--node", "alpha", "--debug") != 0
    node.write_text(before)
    image = lab.artifacts / "alpha.img"
    root = max(disk.read(image).partitions, key=lambda part: part.size)
    # Other bytes where secrets are: verify says that they differ, and not what they are.
    commands = "".join(f"rm {path}\nwrite /dev/null {path}\n" for path in SECRET_FILES)
    run(["debugfs", "-w", "-f", "-", f"{image}?offset={root.start}"], stdin=commands.encode())
    for words in (["verify"], ["verify", "--json", "--debug"]):
        assert watched.run("metis", *words, "--node", "alpha") == 4
    assert watched.run("metis", "image", "--deep", "--debug") == 0
    assert watched.run("metis", "verify", "--node", "alpha") == 0


SECRET_FILES = (
    "/etc/machine-id",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/rancher/node/password",
    "/etc/rancher/k3s/config.yaml",
    "/etc/shadow",
)


def fail_by_vault(watched: Watched, vault: Vault) -> None:
    """A Vault that is of no use, and one that says all that it knows in its errors."""
    quick = {"VAULT_CLIENT_TIMEOUT": "1"}
    touched = watched.lab.write("nodes/alpha.yaml", (watched.lab.inventory / "nodes/alpha.yaml").read_text())
    vault.change("atlas/nodes/alpha", {"k3s_token": "K10"})
    body = echoed(watched.planted)
    vault.sealed = True
    watched.fail("sealed", **quick)
    vault.behave()
    vault.denied.add("kv/data/atlas/nodes/")
    watched.fail("denied", **quick)
    vault.behave()
    for status in (400, 500):
        vault.answer("kv/data/", Answer(status, body, {"X-Vault-Warning": json.dumps(body)[:4000]}))
        watched.fail(f"{status} that says all", **quick)
        vault.behave()
    for name, answer in {
        "no JSON": Answer(200, json.dumps(body).encode()[1:]),
        "another shape": Answer(200, {"data": {"data": body["errors"], "metadata": {"version": body}}}),
        "values that are no texts": Answer(
            200, {"data": {"data": {"extra": body}, "metadata": {"version": 7, "created_time": ""}}}
        ),
        "a redirect": Answer(307, body, {"Location": f"http://192.0.2.1/{CA}"}),
        "a login that says all": Answer(400, body),
    }.items():
        vault.answer("auth/approle/login" if "login" in name else "kv/data/", answer)
        watched.fail(name, **quick)
        vault.behave()
    vault.stop()
    watched.fail("gone", **quick)
    watched.run("metis", "image", "--node", "beta", "--debug", METIS_OFFLINE="1")
    watched.run("metis", "plan", METIS_OFFLINE="1")
    vault.start()
    vault.behave()
    assert touched.is_file()


@pytest.fixture(
    scope="module", params=["plain", pytest.param("sealed", marks=SLOW), pytest.param("vault", marks=SLOW)]
)
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path
) -> Iterator[Watched]:
    """A lab of each source after it was built, looked at, and failed in every way that we know."""
    with ExitStack() as stack:
        watched = Watched(make_lab(tmp_path_factory.mktemp(request.param) / "lab", tiny_golden), plant())
        if request.param == "vault":
            watched.vault = stack.enter_context(vault_server())
            keep_in_vault(watched.lab, watched.planted, watched.vault)
        else:
            {"plain": keep_plain, "sealed": keep_sealed}[request.param](watched.lab, watched.planted)
        with watched.sampler:
            build_and_look(watched)
            fail_in_all_ways(watched)
            if watched.vault:
                fail_by_vault(watched, watched.vault)
        yield watched


@pytest.fixture(scope="module")
def canaries(watched: Watched) -> Canaries:
    return watched.planted.search()


# ------------------------------------------------------------------------------ where secrets are not


def test_no_canary_is_found_beside_the_images(watched: Watched, canaries: Canaries) -> None:
    contents = watched.contents()
    kinds = [".receipt.json", "manifests/alpha.json", ".bmap", "/secrets-key", ".state/doit", "arguments of"]
    kinds += ["history.sqlite3", "manifest "]
    assert all(any(kind in place for place in contents) for kind in kinds)
    assert sorted(canaries.found_in_all(contents), key=lambda leak: leak.place) == []


def test_what_was_seen_of_processes_is_worth_a_look(watched: Watched) -> None:
    assert {"losetup", "resize2fs"} & watched.sampler.programs or os.geteuid() != 0
    assert watched.sampler.looks > 1000


def test_the_images_hold_what_was_planted(watched: Watched) -> None:
    """What is not found elsewhere is in the images, but for what only decides about them."""
    images = b"".join(image.read_bytes() for image in watched.images)
    absent = ("ssh_password of", "extra.for_a_hook of", "extra.shared_and_unused of", "the ")
    for canary, value in watched.planted.canaries.items():
        own = list(pieces(value.encode()))[-5:]
        assert any(piece in images for piece in own) is not canary.startswith(absent), canary


def in_image(image: Path, path: str) -> bytes:
    root = max(disk.read(image).partitions, key=lambda part: part.size)
    return run(["debugfs", "-R", f"cat {path}", f"{image}?offset={root.start}"]).out


@pytest.mark.parametrize("path", ["/etc/metis/node.json", "/etc/hostname", "/etc/passwd", "/etc/fstab"])
def test_what_everybody_may_read_on_the_card_has_no_secret(
    watched: Watched, canaries: Canaries, path: str
) -> None:
    for image in watched.images:
        content = in_image(image, path)
        assert content
        assert canaries.found_in(content, path) == set()


def test_a_password_is_on_the_card_as_its_hash(watched: Watched, canaries: Canaries) -> None:
    found = {leak.canary for leak in canaries.found_in(in_image(watched.images[0], "/etc/shadow"), "")}
    assert found == {"hash of the password of alpha", "extra.ssh_password_salt of alpha"}


def test_all_that_was_left_is_for_us_alone(watched: Watched) -> None:
    for top in (watched.lab.artifacts, Path(watched.lab.environment["XDG_STATE_HOME"])):
        for path in (top, *top.rglob("*")):
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert path.is_symlink() or mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


def test_nothing_is_left_for_temporary_use(watched: Watched) -> None:
    assert list(Path(watched.lab.environment["TMPDIR"]).iterdir()) == []
    assert watched.lab.leftovers() == []


@pytest.mark.slow
def test_no_canary_is_found_beside_an_appliance(tmp_path: Path, tiny_golden: Path) -> None:
    """Its processes live for long, and an operator may have libguestfs tell what it does."""
    lab = make_lab(tmp_path / "lab", tiny_golden)
    watched = Watched(lab, plant(), sampler=Sampler(APPLIANCE))
    keep_plain(lab, watched.planted)
    assert lab.doit("base").code == 0  # holds no secret, and an appliance would take its time for it
    lab.environment["METIS_INJECTOR"] = "guestfs"
    # libguestfs starts its programs itself, and with all of the environment that it finds.
    tokens = {"VAULT_TOKEN": word(), "VAULT_SECRET_ID": word(), "METIS_REGISTRY_PASSWORD": word()}
    watched.planted.canaries |= tokens
    tokens |= {"METIS_REGISTRY": "harbor.example", "METIS_REGISTRY_USER": "robot"}
    talking = {"LIBGUESTFS_TRACE": "1", "LIBGUESTFS_DEBUG": "1", **tokens}
    with watched.sampler:
        for words in (["image"], ["verify"]):
            assert watched.run("metis", *words, "--node", "alpha", "--debug", **talking) == 0
    assert any(program.startswith("qemu-system") for program in watched.sampler.programs)
    assert all(b"libguestfs: trace: launch" in said for said in watched.said.values())
    contents = watched.contents()
    assert any(place.startswith("environment of") and "qemu-system" in place for place in contents)
    assert sorted(watched.planted.search().found_in_all(contents), key=str) == []
    assert list(Path(watched.lab.environment["TMPDIR"]).iterdir()) == []


def test_no_canary_is_found_of_what_metis_makes_itself(tmp_path: Path, tiny_golden: Path) -> None:
    """Keys and passwords of a first build, those that replace them, and the key that seals them."""
    watched = Watched(make_lab(tmp_path / "lab", tiny_golden), Planted())
    node = watched.lab.inventory / "nodes/alpha.yaml"
    node.write_text("class: plain\nnetwork: {dhcp: true}\n")
    folder = watched.lab.root / "sealed"
    watched.lab.environment["METIS_SECRETS"] = f"sealed:{folder}"
    key = Path(watched.lab.environment["XDG_CONFIG_HOME"], "metis/age.key")
    with watched.sampler:
        for words in (["image"], ["secrets", "rotate", "--item", "host-keys", "--yes"], ["image"]):
            assert watched.run("metis", *words, "--node", "alpha", "--debug") == 0, watched.said
            kept = sealed_folder(folder, AgeKeys(key, tuple, makes_key=False)).read("alpha").values
            for name, value in kept.items():
                watched.planted.canaries[f"{name} {len(watched.said)}"] = value.reveal().removeprefix(IQN)
    assert len(set(watched.planted.canaries.values())) == 5 + 3
    secret = next(line for line in key.read_text().splitlines() if not line.startswith("#"))
    watched.planted.canaries["the age key"] = secret.removeprefix("AGE-SECRET-KEY-1")
    assert sorted(watched.planted.search().found_in_all(watched.contents()), key=str) == []


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def search(planted: Planted) -> Canaries:
    return planted.search()


IQN = "iqn.1993-08.org.debian:01:"
"""What all names that are made for iSCSI have in common."""

KILL = """
import os, signal
from pipeline.inject import apply
from pipeline.steps import receipts
def killed(*arguments, **names):
    os.kill(os.getpid(), signal.{})
{} = killed
"""
KILLED = {
    "with a stream of secrets": "apply._remove",
    "with an image that has no receipt yet": "receipts.finish",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize("when", KILLED)
def test_a_build_that_is_cut_off_leaves_no_secret_but_in_its_unfinished_image(
    when: str, name: str, planted: Planted, search: Canaries, tmp_path: Path, tiny_golden: Path
) -> None:
    watched = Watched(make_lab(tmp_path / "lab", tiny_golden), planted)
    keep_plain(watched.lab, watched.planted)
    assert watched.run("doit", "base") == 0
    (tmp_path / "sitecustomize.py").write_text(KILL.format(name, KILLED[when]))
    assert watched.run("metis", "image", "--node", "alpha", PYTHONPATH=str(tmp_path)) != 0
    parts = list(watched.lab.artifacts.glob(".alpha.img-*.part/alpha.img"))
    assert len(parts) == (name == "SIGKILL")
    assert stat.S_IMODE(watched.lab.artifacts.stat().st_mode) == 0o700
    contents = watched.contents()
    for part in parts:
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        contents.pop(str(part))
    assert search.found_in_all(contents) == set()
    assert list(Path(watched.lab.environment["TMPDIR"]).iterdir()) == []
    assert watched.run("metis", "image", "--node", "beta") == 0
    assert not any(part.exists() for part in parts)


# --------------------------------------------------------------------------- leaks planted on purpose


def said(planted: Planted, _: Lab) -> dict[str, bytes]:
    return {"out": f"alpha: the token is {planted.canaries['k3s_token of alpha']!r}".encode()}


def cut_off(planted: Planted, _: Lab) -> dict[str, bytes]:
    key = planted.canaries["extra.ssh_host_rsa_key of beta"]
    return {"err": f"cannot parse …{key[700:740]}".encode()}


def wrapped_anew(planted: Planted, _: Lab) -> dict[str, bytes]:
    key = planted.canaries["extra.ssh_host_ed25519_key of beta"].replace("\n", "")
    return {"err": "\n".join(key[start : start + 50] for start in range(0, len(key), 50)).encode()}


def receipt(planted: Planted, lab: Lab) -> dict[str, bytes]:
    value = base64.b64encode(f"salted {planted.canaries['ssh_password of gamma']}".encode()).decode()
    (lab.artifacts / "alpha.receipt.json").write_text(json.dumps({"secrets": value}))
    return folder_contents(lab.artifacts)


def file_name(planted: Planted, lab: Lab) -> dict[str, bytes]:
    (lab.artifacts / f"{planted.canaries['extra.machine_id of alpha']}.bmap").touch()
    return folder_contents(lab.artifacts)


def folder_name(planted: Planted, lab: Lab) -> dict[str, bytes]:
    (lab.artifacts / quote(planted.canaries["ssh_password of beta"], safe="")).mkdir()
    return folder_contents(lab.artifacts)


def link(planted: Planted, lab: Lab) -> dict[str, bytes]:
    (lab.artifacts / "link").symlink_to(planted.canaries["extra.node_password of alpha"])
    return folder_contents(lab.artifacts)


def database(planted: Planted, lab: Lab) -> dict[str, bytes]:
    with closing(sqlite3.connect(lab.artifacts / "doit.sqlite3")) as database:
        database.execute("CREATE TABLE doit (task_id TEXT, task_data BLOB)")
        saved = json.dumps({"token": planted.canaries["ssh_password of alpha"]})
        database.execute("INSERT INTO doit VALUES ('image:alpha', ?)", (saved,))
        database.commit()
    return folder_contents(lab.artifacts)


def kept_manifest(planted: Planted, lab: Lab) -> dict[str, bytes]:
    """As a render does that puts a secret into a text."""
    leaking = manifest(File("/etc/motd", (Text(planted.canaries["k3s_token of alpha"]),)))
    history = lab.artifacts / "history.sqlite3"
    builds.keep(history, BUILD, [leaking])
    return kept_manifests(history)


def seen(lab: Lab, *words: str, **extra: str) -> dict[str, bytes]:
    """What is seen of a shell that says "up" and then goes on for long."""
    log = lab.root / "log"
    with Sampler() as sampler, background(["sh", "-c", *words], log, extra_environment=extra) as child:
        wait_for_words(log, b"up", child)
        looks = sampler.looks
        wait_until(lambda: sampler.looks > looks + 1, child)  # of which one has begun since
    return sampler.contents(OWN)


def arguments(planted: Planted, lab: Lab) -> dict[str, bytes]:
    return seen(lab, "echo up; sleep 600", planted.canaries["ssh_password of alpha"])


def environment(planted: Planted, lab: Lab) -> dict[str, bytes]:
    return seen(lab, "echo up; exec sleep 600", TOKEN=planted.canaries["k3s_token of gamma"])


def grandchild(planted: Planted, lab: Lab) -> dict[str, bytes]:
    file = lab.write("token", planted.canaries["k3s_token of gamma"])
    return seen(lab, f'sh -c "echo up; sleep 600" "$(cat {file})"; true')


def plain_hash(planted: Planted, _: Lab) -> dict[str, bytes]:
    """Of a file as it lies on the card."""
    content = f"{planted.canaries['extra.machine_id of alpha']}\n".encode()
    return {"node.json": json.dumps({"sha256": hashlib.sha256(content).hexdigest()}).encode()}


def encoded(way: Callable[[str], str]) -> Callable[[Planted, Lab], dict[str, bytes]]:
    return lambda planted, _: {"out": f"x{way(str(planted.canaries['ssh_password of beta']))}y".encode()}


PLANTED: Mapping[str, Callable[[Planted, Lab], dict[str, bytes]]] = {
    **{
        function.__name__: function
        for function in (said, cut_off, wrapped_anew, receipt, file_name, folder_name)
    },
    **{
        function.__name__: function
        for function in (link, database, kept_manifest, arguments, environment, grandchild, plain_hash)
    },
    "base64": encoded(lambda text: base64.b64encode(text.encode()).decode()),
    "base64, one later": encoded(lambda text: base64.b64encode(b"1" + text.encode()).decode()),
    "base64, two later": encoded(lambda text: base64.b64encode(b"12" + text.encode()).decode()),
    "base64 for addresses": encoded(lambda text: base64.urlsafe_b64encode(text.encode()).decode()),
    "hex": encoded(lambda text: text.encode().hex()),
    "HEX": encoded(lambda text: text.encode().hex().upper()),
    "URL": encoded(lambda text: quote(text, safe="")),
    "URL, form": encoded(quote_plus),
    "JSON": encoded(json.dumps),
    "JSON, in characters": encoded(lambda text: json.dumps(text, ensure_ascii=False)),
    "repr": encoded(repr),
    "repr of bytes": encoded(lambda text: repr(text.encode())),
    "YAML": encoded(yaml.safe_dump),
}


@pytest.mark.parametrize("leak", PLANTED)
def test_a_leak_that_is_planted_is_found(
    leak: str, planted: Planted, search: Canaries, tmp_path: Path, tiny_golden: Path
) -> None:
    lab = make_lab(tmp_path / "lab", tiny_golden)
    lab.artifacts.mkdir()
    contents = PLANTED[leak](planted, lab)
    found = search.found_in_all(contents)
    assert found, contents
    assert len({found.canary for found in found}) == 1


# What a build would do that leaks, with the token of alpha in `value`.
LEAKING: Mapping[str, str] = {
    "prints": "print('the token is', value)",
    "complains": "print(value[70:], file=sys.stderr)",
    "raises": "raise MetisError('no token', f'not {value!r}')",
    "raises from what it hides": "raise MetisError('no token') from ValueError(value)",
    "tells a child": "process.run(['sh', '-c', 'sleep 2', value])",
    "gives to a child": "process.run(['sleep', '2'], extra_environment={'TOKEN': value})",
    "keeps in the receipt": "secrets.versions['note'] = base64.b64encode(value.encode()).decode()",
    "names a file so": "target.with_name(value).touch()",
    "leaves a file": "Path(tempfile.mkstemp()[1]).write_text(value)",
    "keeps in doit's database": "Keyring.seen = lambda self, node: value",
}
LEAKS = """
import base64, sys, tempfile
from pathlib import Path
from pipeline.machine import process
from pipeline.steps import build
from pipeline.errors import MetisError
from pipeline.secrets.keyring import Keyring
from pipeline.secret import Secret
seen, reveal, make_image = [], Secret.reveal, build.make_image
def revealed(self):
    seen.append(reveal(self))
    return seen[-1]
def leaking(manifest, base, target, secrets, tools, check):
    value = next(text for text in seen if text.startswith("K10"))
    {}
    make_image(manifest, base, target, secrets, tools, check)
Secret.reveal, build.make_image = revealed, leaking
"""


@pytest.mark.parametrize("leak", LEAKING)
def test_a_build_that_leaks_is_found_out(
    leak: str, planted: Planted, search: Canaries, tmp_path: Path, tiny_golden: Path
) -> None:
    """Through all that the search looks at: the same one that finds nothing in builds as they are."""
    watched = Watched(make_lab(tmp_path / "lab", tiny_golden), planted)
    keep_plain(watched.lab, watched.planted)
    (tmp_path / "sitecustomize.py").write_text(LEAKS.format(LEAKING[leak]))
    with watched.sampler:
        watched.run("metis", "image", "--node", "alpha", "--debug", PYTHONPATH=str(tmp_path))
    found = search.found_in_all(watched.contents())
    assert "k3s_token of alpha" in {found.canary for found in found}, watched.said
