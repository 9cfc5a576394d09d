"""A node's image goes from one host to a registry, and from there to a card of another host."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage
import pytest

from pipeline.cache.store import stamp
from pipeline.card import inspect
from pipeline.golden.registry import push
from pipeline.golden.registry.artifact import GOLDEN, NODE_IMAGE
from pipeline.golden.registry.push import Part
from pipeline.golden.registry.reference import Reference
from pipeline.golden.registry.registry import Registry
from pipeline.machine import durable, process
from pipeline.raw import bmap, record
from pipeline.steps import receipts
from pipeline.steps.node_artifact import NODE as NODE_LABEL
from pipeline.steps.node_artifact import SEALED
from tests.support import canaries
from tests.support.canaries import keep_plain, make_lab, word
from tests.support.lab import BIN, Lab, Report
from tests.support.leaks import Canaries, Sampler, folder_contents
from tests.support.node_images import QUIET, finished_image, lab_with_image
from tests.support.registry import PASSWORD, Server, between, own_address, serving

NODE = "titan-13"
SECRET = word()
KEY = pyrage.x25519.Identity.generate()
TO = ("--encrypt-to", str(KEY.to_public()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Server]:
    """A registry with TLS that wants to know who asks."""
    folder = tmp_path_factory.mktemp("closed")
    with serving(folder, certificate=certificate, passwords=True) as running:
        yield running


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return lab_with_image(tmp_path_factory.mktemp("lab"), NODE, SECRET.encode())


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "age.key"
    file.touch(0o600)
    file.write_text(f"{KEY}\n")
    return file


@dataclass(frozen=True)
class Flasher:
    """A host that has no inventory, and a place for its cards."""

    lab: Lab

    @property
    def card(self) -> Path:
        return self.lab.root / "card"

    def burn(self, source: str, *words: str, **extra: str) -> Report:
        return self.lab.metis("burn", "--from", source, "--device", str(self.card), "--yes", *words, **extra)

    def left(self) -> set[str]:
        """What is among its artifacts beside the cache."""
        return {path.name for path in self.lab.artifacts.glob("*")} - {"cache"}


@pytest.fixture
def flasher(tmp_path: Path) -> Flasher:
    lab = Lab(tmp_path / "flasher", {"METIS_INVENTORY": str(tmp_path / "none")})
    lab.root.mkdir()
    return Flasher(lab)


def pushed(lab: Lab, server: Server, *words: str, name: str = "nodes/titan-13", **extra: str) -> str:
    """Push the lab's image, and give what names it for good."""
    report = lab.metis(
        "push", "--node", NODE, "--to", f"oci://{server.host}/{name}:1", "--json", *words, **extra
    )
    assert report.code == 0, report
    return str(json.loads(report.out)["reference"])


@pytest.fixture(scope="module")
def burned(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a burn of the image itself makes of a card, but for its record."""
    image, card = lab.artifacts / f"{NODE}.img", tmp_path_factory.mktemp("burned") / "card"
    report = lab.metis("burn", "--image", str(image), "--device", str(card), "--yes")
    assert report.code == 0, report
    return but_for_record(lab, card)


def but_for_record(lab: Lab, card: Path) -> bytes:
    data, slot = bytearray(card.read_bytes()), slot_of(lab)
    about = record.parse(bytes(data[slot : slot + record.SIZE]))
    assert about is not None
    assert about["node"] == NODE
    data[slot : slot + record.SIZE] = record.blank()
    return bytes(data)


def slot_of(lab: Lab) -> int:
    return int(json.loads((lab.artifacts / f"{NODE}.receipt.json").read_text())["slot"])


# --------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("words", [("--plain",), TO], ids=["plain", "sealed"])
@pytest.mark.parametrize("kind", ["server", "closed"])
def test_a_card_from_a_registry_is_the_card_from_the_image(
    request: pytest.FixtureRequest,
    lab: Lab,
    key: Path,
    burned: bytes,
    flasher: Flasher,
    kind: str,
    words: tuple[str, ...],
) -> None:
    server: Server = request.getfixturevalue(kind)
    report = lab.metis(
        "push", "--node", NODE, "--to", f"oci://{server.host}/{kind}/t13:1", *words, **server.environment
    )
    assert report.code == 0, report
    first, second = report.out.splitlines()
    reference = first.removeprefix("pushed ")
    assert Reference.parse(reference).digest
    assert f"metis burn --from {reference}" in second
    said = flasher.burn(f"oci://{server.host}/{kind}/t13:1", "--identity", str(key), **server.environment)
    assert said.code == 0, said
    assert said.out.startswith(f"{NODE}: {flasher.card}")
    assert reference in said.err
    assert but_for_record(lab, flasher.card) == burned
    assert flasher.left() == set()
    assert PASSWORD not in report.out + report.err + said.out + said.err


def test_a_second_card_needs_no_network(
    lab: Lab, key: Path, burned: bytes, flasher: Flasher, tmp_path: Path
) -> None:
    with serving(tmp_path / "registry") as server:
        reference = pushed(lab, server, *TO)
        assert flasher.burn(reference, "--identity", str(key)).code == 0
        flasher.card.unlink()
    report = flasher.burn(reference, METIS_OFFLINE="1", METIS_AGE_IDENTITY=str(key))
    assert report.code == 0, report
    assert but_for_record(lab, flasher.card) == burned
    tag, _, _ = reference.partition("@")
    by_tag = flasher.burn(tag, METIS_OFFLINE="1")
    assert (by_tag.code, "what its tag leads to now" in by_tag.err) == (5, True)
    absent = flasher.burn(f"{tag}@sha256:{'0' * 64}", METIS_OFFLINE="1")
    assert (absent.code, "METIS_OFFLINE" in absent.err) == (5, True)


def test_what_is_cached_is_private(lab: Lab, server: Server, flasher: Flasher) -> None:
    assert flasher.burn(pushed(lab, server, "--plain")).code == 0
    for path in (flasher.lab.artifacts, *flasher.lab.artifacts.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_same_image_is_not_sent_twice(lab: Lab, server: Server) -> None:
    first = pushed(lab, server, "--plain", name="once")
    before = {file: file.stat().st_mtime_ns for file in server.storage.rglob("data")}
    assert pushed(lab, server, "--plain", name="once") == first
    assert {file: file.stat().st_mtime_ns for file in server.storage.rglob("data")} == before


def test_a_download_that_was_cut_goes_on(lab: Lab, server: Server, flasher: Flasher) -> None:
    reference = pushed(lab, server, "--plain")
    with between(server) as cut:
        cut.cuts = [1 << 20, 300, 1 << 20]
        report = flasher.burn(reference.replace(server.host, cut.host))
    assert report.code == 0, report
    assert any("range:" in head.lower() for head in cut.of_blobs())


def test_an_image_that_was_built_elsewhere_says_so_on_its_card(
    lab: Lab, server: Server, flasher: Flasher
) -> None:
    report = flasher.burn(pushed(lab, server, "--plain"), "--json")
    assert report.code == 0, report
    assert json.loads(report.out)[0]["verdict"] == "read back and the same"
    slot, image = slot_of(lab), json.loads((lab.artifacts / f"{NODE}.receipt.json").read_text())["id"]
    about = record.parse(flasher.card.read_bytes()[slot : slot + record.SIZE])
    assert about is not None
    assert about["image"] == image


def test_plain_http_across_a_network_is_for_a_registry_that_was_named(
    lab: Lab, flasher: Flasher, tmp_path: Path
) -> None:
    with serving(tmp_path / "registry", address=own_address()) as server:
        reference = pushed(lab, server, "--plain", "--insecure-registry", server.host)
        insecure = ("--insecure-registry", "other.example", "--insecure-registry", server.host)
        assert flasher.burn(reference, *insecure).code == 0


def test_an_authority_is_named_by_a_flag(lab: Lab, closed: Server, flasher: Flasher) -> None:
    access = dict(closed.environment)
    authority = access.pop("METIS_REGISTRY_CA")
    reference = pushed(lab, closed, "--plain", "--registry-ca", authority, **access)
    assert flasher.burn(reference, **access).code == 5
    assert flasher.burn(reference, "--registry-ca", authority, **access).code == 0


# --------------------------------------------------------------------------------------- what is refused

PUSHES: dict[str, tuple[list[str], int, str]] = {
    "nobody said for whom": (["--to", "{to}"], 3, "--encrypt-to RECIPIENT, or say --plain"),
    "both": (["--to", "{to}", "--plain", *TO], 2, "exclude each other"),
    "no recipient": (["--to", "{to}", "--encrypt-to", "age1nobody"], 2, "no age recipient"),
    "a key for a recipient": (["--to", "{to}", "--encrypt-to", str(KEY)], 2, "no age recipient"),
    "no tag": (["--to", "oci://{host}/nodes", "--plain"], 2, "name a tag"),
    "a digest": (["--to", "{to}@sha256:" + "0" * 64, "--plain"], 2, "name a tag and no digest"),
    "no registry": (["--to", "https://{host}/nodes", "--plain"], 2, "names no artifact"),
    "a password": (["--to", f"oci://me:{PASSWORD}@{{host}}/nodes:1", "--plain"], 2, "names no artifact"),
    "two nodes": (["--to", "{to}", "--plain", "--node", "titan-99"], 2, "one image is pushed at a time"),
}


@pytest.mark.parametrize("case", PUSHES)
def test_a_push_that_cannot_be_meant_is_one_line_and_sends_nothing(
    lab: Lab, server: Server, case: str
) -> None:
    words, code, said = PUSHES[case]
    before = sorted(server.storage.rglob("*"))
    to = f"oci://{server.host}/refused:1"
    report = lab.metis("push", "--node", NODE, *(word.format(to=to, host=server.host) for word in words))
    assert report.code == code, report
    (line,) = report.err.splitlines()
    assert said in line
    assert not [secret for secret in (str(KEY), PASSWORD) if secret in line]
    assert sorted(server.storage.rglob("*")) == before


@pytest.mark.parametrize("name", ["titan-99", "../titan-13", "\x1b[2J"])
def test_a_node_that_nobody_declared_is_not_pushed(lab: Lab, server: Server, name: str) -> None:
    report = lab.metis("push", "--node", name, "--to", f"oci://{server.host}/unknown:1", "--plain")
    assert (report.code, "no node " in report.err) == (2, True), report
    assert "\x1b" not in report.err


@pytest.mark.parametrize(
    ("broken", "code", "said"),
    [
        ("nothing", 1, "`metis image --node titan-13` makes it"),
        ("no receipt", 1, "`metis image --node titan-13` makes it"),
        ("rotten", 4, "is not what its block map says"),
        ("another", 4, "is an image of titan-14"),
        ("no block map", 1, "has lost its block map"),
    ],
)
def test_only_a_whole_image_is_pushed(
    tmp_path: Path, server: Server, broken: str, code: int, said: str
) -> None:
    lab = lab_with_image(tmp_path)
    image = lab.artifacts / f"{NODE}.img"
    if broken == "nothing":
        image.unlink()
    elif broken == "no receipt":
        image.with_name(f"{NODE}.receipt.json").unlink()
    elif broken == "rotten":
        with image.open("r+b") as file:
            file.seek(bmap.parse(Path(f"{image}.bmap").read_bytes()).ranges[-1].start)
            file.write(b"rot")
    elif broken == "another":
        finished_image(image, "titan-14")
    else:
        Path(f"{image}.bmap").unlink()
    report = lab.metis("push", "--node", NODE, "--to", f"oci://{server.host}/broken:1", "--plain")
    assert report.code == code, report
    assert said in report.err
    assert "Traceback" not in report.err
    assert not list(lab.artifacts.rglob("*.part"))


IMPATIENT = "from pipeline.golden import backoff\nbackoff.FIRST = 0.0\n"


def test_a_registry_that_is_not_there_or_not_to_be_asked_is_one_line(
    lab: Lab, tmp_path: Path, closed_port: int
) -> None:
    words = ["push", "--node", NODE, "--plain", "--to"]
    report = lab.metis(*words, "oci://127.0.0.1/nodes:1", METIS_OFFLINE="1")
    assert (report.code, "METIS_OFFLINE is set" in report.err) == (5, True)
    absent = f"127.0.0.1:{closed_port}"
    report = lab.metis(*words, f"oci://{absent}/nodes:1", **plant(tmp_path, IMPATIENT))
    assert (report.code, absent in report.err.splitlines()[-1]) == (5, True), report
    assert "Traceback" not in report.err
    assert not list(lab.artifacts.rglob("*.part"))


def test_without_the_key_nothing_is_fetched_and_that_is_said(
    lab: Lab, server: Server, flasher: Flasher, tmp_path: Path
) -> None:
    reference = pushed(lab, server, *TO)
    image = flasher.lab.artifacts / "cache/sha256"
    none = flasher.burn(reference, "--identity", str(tmp_path / "none"))
    assert (none.code, "there is no age key at" in none.err) == (5, True)
    other = tmp_path / "other.key"
    other.touch(0o600)
    other.write_text(str(pyrage.x25519.Identity.generate()))
    wrong = flasher.burn(reference, "--identity", str(other))
    assert (wrong.code, "is sealed for other keys than those of" in wrong.err) == (5, True)
    assert sum(file.stat().st_size for file in image.iterdir()) < 1 << 20
    assert not flasher.card.exists()
    assert flasher.left() == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "oci://127.0.0.1/nodes", "--device", "{card}"], "name a tag"),
        (["--from", "file:/x", "--device", "{card}"], "names no artifact"),
        (["--from", "oci://127.0.0.1/a:1", "--node", "one"], "one image is burned at a time"),
        (["--from", "oci://127.0.0.1/a:1", "--device", "{card}", "--auto-mount"], "written as it is"),
        (
            ["--node", "one", "--identity", "{card}", "--device", "{card}"],
            "--identity opens what --from brings",
        ),
        (["--node", "one", "--identity", "", "--device", "{card}"], "--identity opens what --from brings"),
        (["--from", "oci://127.0.0.1/a:1", "--identity", "", "--device", "{card}"], "and names a file"),
        (["--from", "oci://127.0.0.1/a:1", "--identity", str(KEY), "--device", "{card}"], "is a key"),
        (["--from", f"oci://me:{PASSWORD}@127.0.0.1/a:1", "--device", "{card}"], "names no artifact"),
        (["--from", "oci://127.0.0.1/a:1", "--root", "/mnt"], "write no device"),
    ],
)
def test_a_burn_that_cannot_be_meant_is_one_line(flasher: Flasher, words: list[str], said: str) -> None:
    report = flasher.lab.metis("burn", *(word.format(card=flasher.card) for word in words), "--yes")
    assert report.code == 2, report
    (line,) = report.err.splitlines()
    assert said in line
    assert not [secret for secret in (str(KEY), PASSWORD) if secret in line]
    assert not flasher.card.exists()


@pytest.mark.parametrize("secrets", ["vault", "nothing of this kind"])
def test_who_burns_needs_to_know_nothing_of_secrets(
    lab: Lab, server: Server, flasher: Flasher, secrets: str
) -> None:
    assert flasher.burn(pushed(lab, server, "--plain"), METIS_SECRETS=secrets).code == 0


def test_a_card_that_is_too_small_is_refused_before_the_image_is_fetched(
    lab: Lab, server: Server, flasher: Flasher
) -> None:
    flasher.card.write_bytes(bytes(1 << 20))
    report = flasher.burn(pushed(lab, server, "--plain"))
    assert (report.code, "is too small" in report.err) == (3, True), report
    cache = flasher.lab.artifacts / "cache/sha256"
    assert sum(file.stat().st_size for file in cache.iterdir()) < 1 << 20
    assert flasher.left() == set()


# ------------------------------------------------------------------------------------ hostile registries


@dataclass
class Forged:
    """An artifact that somebody else has pushed."""

    files: dict[str, bytes]
    labels: Mapping[str, str]
    kind: str = NODE_IMAGE

    def push(self, server: Server, folder: Path) -> str:
        parts = []
        for number, (title, content) in enumerate(self.files.items()):
            file = folder / str(number)
            file.write_bytes(content)
            parts.append(Part(file, "application/octet-stream", title))
        reference = Reference.parse(f"oci://{server.host}/forged:1")
        registry = Registry(server.host, server.access, QUIET)
        return str(push.push(self.kind, parts, self.labels, reference, registry, QUIET))


def genuine(lab: Lab) -> Forged:
    """What `metis push --plain` would push."""
    image = lab.artifacts / f"{NODE}.img"
    receipt = json.loads((lab.artifacts / f"{NODE}.receipt.json").read_bytes())
    files = {
        f"{NODE}.img.zst": compressed(image.read_bytes()),
        f"{NODE}.img.bmap": Path(f"{image}.bmap").read_bytes(),
        f"{NODE}.receipt.json": json.dumps(receipt).encode(),
    }
    return Forged(files, {NODE_LABEL: NODE, SEALED: "false"})


def compressed(content: bytes) -> bytes:
    return process.run(["zstd", "-qc"], stdin=content).out


def give_map(forged: Forged, content: bytes) -> None:
    """Put another block map in, which the receipt names too."""
    _, xml, receipt = forged.files
    about = {**json.loads(forged.files[receipt]), "bmap_sha256": hashlib.sha256(content).hexdigest()}
    forged.files |= {xml: content, receipt: json.dumps(about).encode()}


def forge(forged: Forged, lab: Lab, how: str) -> None:
    image, xml, receipt = forged.files
    about = json.loads(forged.files[receipt])
    raw = (lab.artifacts / f"{NODE}.img").read_bytes()
    start = bmap.parse(forged.files[xml]).ranges[-1].start
    altered = raw[:start] + bytes([raw[start] ^ 1]) + raw[start + 1 :]
    maps = {
        "a block map that is none": b"<x/>",
        "an altered block map": forged.files[xml].replace(b"> 4096 <", b"> 4097 <"),
    }
    if how in maps:
        give_map(forged, maps[how])
    files = {
        "what is not packed": {image: raw},
        "a bomb": {image: compressed(bytes(256 << 20))},
        "an altered image": {image: compressed(altered)},
        "a receipt of another node": {receipt: json.dumps({**about, "subject": "titan-14"}).encode()},
        **{
            name: {receipt: json.dumps({**about, "slot": slot}).encode()}
            for name, slot in {
                "a slot over the partition table": 1,
                "a slot beside the record's place": about["slot"] + 1,
                "a slot across the image's end": about["size"] - 1,
                "a slot beyond the image": 1 << 40,
            }.items()
        },
    }
    forged.files |= files.get(how, {})
    if how == "a golden":
        forged.kind = GOLDEN
    elif how == "a title that leads elsewhere":
        forged.files = {f"../{title}": content for title, content in forged.files.items()}
    elif how == "sealed, it says":
        forged.labels = {**forged.labels, SEALED: "true"}
        forged.files = {f"{title}.age": content for title, content in forged.files.items()}
    elif how == "a name for a terminal":
        forged.labels = {**forged.labels, NODE_LABEL: "\x1b[2J"}


FORGED = {
    "a golden": 1,
    "a title that leads elsewhere": 4,
    "a block map that is none": 1,
    "an altered block map": 4,
    "what is not packed": 4,
    "a bomb": 4,
    "an altered image": 4,
    "a receipt of another node": 4,
    "a slot over the partition table": 4,
    "a slot beside the record's place": 4,
    "a slot across the image's end": 4,
    "a slot beyond the image": 4,
    "sealed, it says": 4,
    "a name for a terminal": 1,
}


@pytest.mark.parametrize("how", FORGED)
def test_what_was_forged_is_one_line_and_burns_nothing(
    lab: Lab, server: Server, key: Path, flasher: Flasher, tmp_path: Path, how: str
) -> None:
    forged = genuine(lab)
    forge(forged, lab, how)
    flasher.card.write_bytes(before := b"used" * (9 << 18))
    reference = forged.push(server, tmp_path)
    report = flasher.burn(reference, "--identity", str(key))
    assert report.code == FORGED[how], report
    (line,) = [line for line in report.err.splitlines() if line.startswith("metis: ")]
    assert line.startswith(f"metis: {reference}")
    assert str(flasher.lab.root) not in line
    assert "build" not in line
    assert "Traceback" not in report.err
    assert "\x1b" not in report.err
    assert "read back and the same" not in report.out
    assert flasher.left() == set()
    assert flasher.card.read_bytes() == before


def test_what_was_sealed_but_not_packed_is_no_image_either(
    lab: Lab, server: Server, key: Path, flasher: Flasher, tmp_path: Path
) -> None:
    forged = genuine(lab)
    forge(forged, lab, "what is not packed")
    forged.labels = {**forged.labels, SEALED: "true"}
    forged.files = {
        f"{title}.age": pyrage.encrypt(content, [KEY.to_public()]) for title, content in forged.files.items()
    }
    report = flasher.burn(forged.push(server, tmp_path), "--identity", str(key))
    assert (report.code, "its image cannot be unpacked" in report.err) == (4, True), report
    assert flasher.left() == set()


def test_what_is_genuine_passes_for_it(lab: Lab, server: Server, flasher: Flasher, tmp_path: Path) -> None:
    assert flasher.burn(genuine(lab).push(server, tmp_path)).code == 0


def test_a_registry_that_altered_a_file_is_found_out(lab: Lab, flasher: Flasher, tmp_path: Path) -> None:
    with serving(tmp_path / "registry") as server:
        reference = pushed(lab, server, "--plain")
        largest = max(server.storage.rglob("data"), key=lambda file: file.stat().st_size)
        data = bytearray(largest.read_bytes())
        data[len(data) // 2] ^= 1
        largest.write_bytes(data)
        report = flasher.burn(reference)
    assert report.code == 4, report
    assert not flasher.card.exists()


def rot(file: Path) -> None:
    """Change a bit of a cached file, unseen."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    Path(f"{file}.json").write_text(json.dumps(stamp(file)))


def test_a_cache_that_rots_is_told_from_a_registry_that_lies(
    lab: Lab, server: Server, flasher: Flasher
) -> None:
    reference = pushed(lab, server, "--plain")
    assert flasher.burn(reference).code == 0
    flasher.card.unlink()
    files = [file for file in (flasher.lab.artifacts / "cache/sha256").iterdir() if not file.suffix]
    rot(max(files, key=lambda file: file.stat().st_size))
    rot(flasher.lab.artifacts / "cache/sha256" / reference.rpartition(":")[2])
    report = flasher.burn(reference)
    assert (report.code, "rotted in the cache" in report.err) == (4, True), report
    assert not flasher.card.exists()
    assert flasher.burn(reference).code == 0


PRUNED = """
from pipeline.cache.store import Store
find = Store.find
def pruned(self, sha256):
    path = find(self, sha256)
    if path:
        path.unlink()
    return path
Store.find = pruned
"""


def plant(folder: Path, code: str) -> dict[str, str]:
    """Have the commands that get this environment run some code first."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def test_what_is_removed_from_the_cache_meanwhile_is_told(
    lab: Lab, server: Server, flasher: Flasher, tmp_path: Path
) -> None:
    reference = pushed(lab, server, "--plain")
    assert flasher.burn(reference).code == 0
    tag, _, _ = reference.partition("@")
    report = flasher.burn(tag, **plant(tmp_path / "site", PRUNED))
    assert report.code == 1, report
    assert report.err.endswith("was removed from the cache meanwhile: run again\n")
    assert flasher.burn(reference).code == 0


# -------------------------------------------------------------------------------------------- hard ends

ENDS = """
import os, signal, threading
from pipeline.raw import sparse
from pipeline.secrets import age_stream
count = 0
def ending(function):
    def counted(*words):
        global count
        count += 1
        if count == {at}:
            os.kill(os.getpid(), signal.{name})
            threading.Event().wait()
        return function(*words)
    return counted
{what} = ending({what})
"""
"""Ends the process as one of its writes begins."""
PACKS, UNPACKS = "age_stream._Writer.write", "sparse._write_data"


@pytest.mark.parametrize("what", [PACKS, UNPACKS], ids=["opening", "unpacking"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_burn_that_is_ended_leaves_what_is_said_and_nothing_for_long(
    lab: Lab, server: Server, key: Path, flasher: Flasher, tmp_path: Path, what: str, name: str
) -> None:
    reference, identity = pushed(lab, server, *TO), ("--identity", str(key))
    code = ENDS.format(what=what, name=name, at=5)
    said = flasher.burn(reference, *identity, **plant(tmp_path / "site", code))
    check_end(flasher.lab, said, name, ".burn-*.part")
    assert not flasher.card.exists()
    assert flasher.burn(reference, *identity).code == 0
    assert flasher.left() == set()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_push_that_is_ended_leaves_what_is_said_and_nothing_for_long(
    server: Server, tmp_path: Path, name: str
) -> None:
    lab = lab_with_image(tmp_path / "ended")
    words = ["push", "--node", NODE, "--to", f"oci://{server.host}/ended:1", *TO]
    code = ENDS.format(what=PACKS, name=name, at=5)
    check_end(lab, lab.metis(*words, **plant(tmp_path / "site", code)), name, ".push-*.part")
    assert lab.metis(*words).code == 0
    assert not list(lab.artifacts.rglob("*.part"))


def check_end(lab: Lab, said: Report, name: str, pattern: str) -> None:
    """After SIGKILL one private folder is left, else nothing."""
    left = [path for path in lab.artifacts.rglob("*.part") if path.parent == lab.artifacts]
    if name == "SIGKILL":
        assert said.code == -signal.SIGKILL, said
        (folder,) = left
        assert folder.match(pattern)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert any(folder.iterdir())
    else:
        assert said.code == 130, said
        assert said.err.splitlines()[-1] == "interrupted; nothing half-made counts as done"
        assert "Traceback" not in said.err
        assert left == []


# ----------------------------------------------------------------------------------------------- memory

LARGE, MEMORY = 1 << 30, 150 << 20
"""Bytes: of an image, and of memory that it may take on its way."""
RUN_AND_TELL = """\
import resource, sys
from pipeline.cli import main
try:
    main(sys.argv[1:])
finally:
    (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    print(int(peak.split()[1]) * 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def peaks(lab: Lab, *words: str) -> tuple[process.Finished, int]:
    """What a command says, and the most memory that it or one of its children takes."""
    said = process.run(
        [BIN / "python", "-c", RUN_AND_TELL, *words], check=False, extra_environment=lab.variables({})
    )
    return said, max(map(int, said.out.decode().splitlines()[-1].split()))


def cached(lab: Lab, content: bytes) -> str:
    """Put a file into the cache, and give its hash."""
    sha256 = hashlib.sha256(content).hexdigest()
    durable.write(lab.artifacts / "cache/sha256" / sha256, content)
    return sha256


def manifest_of(server: Server, reference: str) -> dict[str, Any]:
    found = Reference.parse(reference)
    registry = Registry(server.host, server.access, QUIET)
    data: dict[str, Any] = json.loads(registry.manifest(found.repository, found.wanted)[0])
    return data


@pytest.mark.parametrize("how", ["names", "a manifest", "a receipt", "a list of lists"])
def test_what_is_hostile_takes_little_memory(
    lab: Lab, server: Server, flasher: Flasher, tmp_path: Path, how: str
) -> None:
    forged = genuine(lab)
    if how == "names":
        names = b"".join(b"<n%06x/>" % number for number in range(bmap.LARGEST_FILE // 10 - 1000))
        give_map(forged, forged.files[f"{NODE}.img.bmap"].replace(b"</bmap>", names + b"</bmap>"))
    reference = forged.push(server, tmp_path)
    if how == "a manifest":  # that is a golden of the cache, by its hash
        reference = f"oci://{server.host}/forged:1@sha256:{cached(flasher.lab, bytes(160 << 20))}"
    elif how == "a receipt":
        manifest = manifest_of(server, reference)
        (layer,) = (layer for layer in manifest["layers"] if "receipt" in str(layer["annotations"]))
        layer["digest"] = f"sha256:{cached(flasher.lab, bytes(160 << 20))}"
        reference = (
            f"oci://{server.host}/forged:1@sha256:{cached(flasher.lab, json.dumps(manifest).encode())}"
        )
    elif how == "a list of lists":
        lists = b'{"layers": [' + b"[[]]," * (4 << 17) + b"0]}"
        reference = f"oci://{server.host}/forged:1@sha256:{cached(flasher.lab, lists)}"
    said, peak = peaks(flasher.lab, "burn", "--from", reference, "--device", str(flasher.card), "--yes")
    assert said.code in {1, 4, 5}, said
    assert b"Traceback" not in said.err
    assert peak < MEMORY
    assert not flasher.card.exists()


@pytest.mark.slow
def test_a_large_image_takes_little_memory(
    server: Server, key: Path, flasher: Flasher, tmp_path: Path
) -> None:
    lab = lab_with_image(tmp_path / "large")
    part = lab.artifacts / ".large.img.part"
    part.touch(0o600)
    os.truncate(part, LARGE)
    process.run(["sfdisk", "--quiet", part], stdin=b"label: gpt\nstart=2048, type=linux\n")
    with part.open("r+b") as file:
        for start in range(1 << 20, LARGE - (1 << 20), 4 << 20):
            file.seek(start)
            file.write(os.urandom(1 << 20))
    receipts.finish(part, lab.artifacts / f"{NODE}.img", NODE, {}, {}, QUIET)
    to = f"oci://{server.host}/large:1"
    commands = [
        (lab, ["push", "--node", NODE, "--to", to, *TO]),
        (flasher.lab, ["burn", "--from", to, "--identity", str(key), "--device", str(flasher.card), "--yes"]),
    ]
    for host, words in commands:
        said, peak = peaks(host, *words)
        assert said.code == 0, said
        assert peak < MEMORY, words
    flasher.card.unlink()


# ------------------------------------------------------------------------------------------------ leaks


def test_a_sealed_image_shows_nothing_of_what_is_in_it(
    lab: Lab, tmp_path: Path, flasher: Flasher, key: Path
) -> None:
    search = Canaries({"secret": SECRET, "key": str(KEY).removeprefix("AGE-SECRET-KEY-1")})
    assert search.found_in((lab.artifacts / f"{NODE}.img").read_bytes(), "image")
    said: dict[str, bytes] = {}
    with serving(tmp_path / "registry") as server, Sampler() as sampler:
        to = f"oci://{server.host}/nodes/titan-13:1"
        report = lab.metis("push", "--node", NODE, "--to", to, *TO, "--debug")
        said["push"] = (report.out + report.err).encode()
        report = flasher.burn(to, "--identity", str(key), "--debug")
        assert report.code == 0
        said["burn"] = (report.out + report.err).encode()
    stored = folder_contents(tmp_path / "registry")
    assert any(len(content) > 1 << 20 for content in stored.values())
    ranges = bmap.parse((lab.artifacts / f"{NODE}.img.bmap").read_bytes()).ranges
    assert not [
        each for each in ranges if any(each.sha256.encode() in content for content in stored.values())
    ]
    left = folder_contents(flasher.lab.artifacts)
    assert search.found_in_all({**said, **stored, **left, **sampler.contents()}) == set()


@pytest.mark.slow
def test_a_card_of_a_lab_with_every_secret_is_whole_and_its_registry_knows_none(
    tiny_golden: Path, key: Path, flasher: Flasher, tmp_path: Path
) -> None:
    lab, planted = make_lab(tmp_path / "lab", tiny_golden), canaries.plant()
    keep_plain(lab, planted)
    assert lab.metis("image", "--node", "alpha").code == 0
    with serving(tmp_path / "registry") as server:
        to = f"oci://{server.host}/nodes/alpha:1"
        pushing = lab.metis("push", "--node", "alpha", "--to", to, *TO, "--debug")
        assert pushing.code == 0, pushing
        burning = flasher.burn(to, "--identity", str(key), "--debug")
        assert burning.code == 0, burning
    about = inspect.inspect(flasher.card).record
    assert about is not None
    assert about["node"] == "alpha"
    assert lab.metis("verify", "--node", "alpha", "--image", str(flasher.card)).code == 0
    said = {str(number): (each.out + each.err).encode() for number, each in enumerate((pushing, burning))}
    stored, left = folder_contents(tmp_path / "registry"), folder_contents(flasher.lab.artifacts)
    assert planted.search().found_in_all({**said, **stored, **left}) == set()
