"""A node's image packed and unpacked is the same image, and nothing else passes for one."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyrage
import pytest

from pipeline.cache.store import stamp
from pipeline.errors import MetisError, MismatchError
from pipeline.golden.registry import artifact
from pipeline.golden.registry.artifact import GOLDEN, NODE_IMAGE, Artifact, Layer
from pipeline.golden.registry.push import Part
from pipeline.machine import process
from pipeline.raw import bmap
from pipeline.secrets import age_stream
from pipeline.steps import node_artifact, receipts
from pipeline.steps.artifacts import bmap_of
from pipeline.steps.burnable import opened
from pipeline.steps.node_artifact import About, Contents
from pipeline.steps.receipts import Receipt
from tests.support.node_images import MIB, QUIET, finished_image

NODE = "titan-13"
KEY = pyrage.x25519.Identity.generate()
SEAL = partial(age_stream.seal, whom=[KEY.to_public()])
NAME = "oci://registry.example/titan-13:1"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_image(tmp_path_factory.mktemp("image") / f"{NODE}.img", NODE)


def packed(image: Path, folder: Path, seal: node_artifact.Seal | None = None) -> list[Part]:
    folder.mkdir()
    with opened(image, QUIET) as what:
        return node_artifact.pack(what, image, folder, QUIET, seal)


def artifact_of(parts: list[Part], *, is_sealed: bool = False) -> Artifact:
    layers = [
        Layer(
            f"sha256:{hashlib.sha256(part.file.read_bytes()).hexdigest()}",
            part.file.stat().st_size,
            part.type,
            part.title,
        )
        for part in parts
    ]
    labels = node_artifact.labels(NODE, is_sealed=is_sealed)
    return Artifact("sha256:" + "0" * 64, NODE_IMAGE, layers, labels)


def plain_contents() -> Contents:
    layers = [Layer(f"sha256:{'0' * 64}", 1, "", "")] * 3
    return Contents(NAME, NODE, False, *layers)


# --------------------------------------------------------------------------------------- there and back


def test_an_image_comes_back_with_its_block_map_and_without_a_stamp(image: Path, tmp_path: Path) -> None:
    parts = packed(image, tmp_path / "out")
    what = node_artifact.contents(artifact_of(parts), NAME)
    assert [layer.title for layer in what.layers] == [part.title for part in parts]
    packed_image, xml, receipt = (part.file.read_bytes() for part in parts)
    said = node_artifact.about(what, receipt, xml)
    back = node_artifact.unpack(io.BytesIO(packed_image), len(packed_image), what, said, tmp_path, QUIET)
    assert back.read_bytes() == image.read_bytes()
    assert Path(f"{back}.bmap").read_bytes() == Path(f"{image}.bmap").read_bytes()
    found, before = receipts.read(back), receipts.read(image)
    assert found is not None
    assert before is not None
    assert found.stamp == {}
    assert (found.subject, found.id, found.slot) == (before.subject, before.id, before.slot)
    with opened(back, QUIET) as burnable:
        assert burnable.slot == before.slot
    assert receipts.is_whole(back, deep=False, reporter=QUIET)


def test_what_is_sealed_is_what_is_packed_in_the_clear(image: Path, tmp_path: Path) -> None:
    plain, sealed = packed(image, tmp_path / "plain"), packed(image, tmp_path / "sealed", SEAL)
    what = node_artifact.contents(artifact_of(sealed, is_sealed=True), NAME)
    assert what.is_sealed
    for one, other in zip(plain, sealed, strict=True):
        assert other.title == f"{one.title}.age"
        assert pyrage.decrypt(other.file.read_bytes(), [KEY]) == one.file.read_bytes()


def test_an_image_packed_twice_is_the_same(image: Path, tmp_path: Path) -> None:
    first, second = (packed(image, tmp_path / name) for name in ("one", "two"))
    assert [part.file.read_bytes() for part in first] == [part.file.read_bytes() for part in second]


def test_other_programs_unpack_it(image: Path, tmp_path: Path) -> None:
    (part, *_) = packed(image, tmp_path / "out")
    assert process.run(["zstd", "-dc", part.file]).out == image.read_bytes()


def test_what_is_not_mapped_is_packed_as_zeros(image: Path, tmp_path: Path) -> None:
    copy = finished_image(tmp_path / f"{NODE}.img", NODE)
    described = bmap.parse(bmap_of(copy).read_bytes())
    hole = next(
        one.end
        for one, other in zip(described.ranges, described.ranges[1:], strict=False)
        if one.end < other.start
    )
    with copy.open("r+b") as file:
        file.seek(hole)
        file.write(b"stray")
    (part, *_) = packed(copy, tmp_path / "out")
    assert process.run(["zstd", "-dc", part.file]).out[hole : hole + 5] == bytes(5)


def test_an_image_that_rots_unseen_is_not_packed(tmp_path: Path) -> None:
    copy = finished_image(tmp_path / f"{NODE}.img", NODE)
    with copy.open("r+b") as file:
        file.seek(bmap.parse(bmap_of(copy).read_bytes()).ranges[-1].start)
        file.write(b"rot")
    receipt = copy.with_name(f"{NODE}.receipt.json")
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), "stamp": stamp(copy)}))
    with pytest.raises(MismatchError, match="is not what its block map says"):
        packed(copy, tmp_path / "out")


def test_an_image_that_is_built_anew_while_it_is_packed_is_no_mixture(tmp_path: Path) -> None:
    """From the same, and so with the same id; but a file system has times of its own."""
    copy = finished_image(tmp_path / f"{NODE}.img", NODE)
    (tmp_path / "out").mkdir()
    with opened(copy, QUIET) as what:
        finished_image(copy, NODE, secret=os.urandom(16))
        with pytest.raises(MismatchError, match="was built anew meanwhile: run again"):
            node_artifact.pack(what, copy, tmp_path / "out", QUIET, None)
    assert not any((tmp_path / "out").iterdir())


def test_an_image_that_only_looks_different_is_packed(image: Path, tmp_path: Path) -> None:
    os.utime(image, ns=(0, 0))
    assert packed(image, tmp_path / "out")


# ------------------------------------------------------------------------------------ what is no image

GOOD = {f"{NODE}.img.zst": 1, f"{NODE}.img.bmap": 1, f"{NODE}.receipt.json": 1}
LABELS = dict(node_artifact.labels(NODE, is_sealed=False))
MANIFESTS: dict[str, tuple[str, dict[str, int], dict[str, str]]] = {
    "a golden": (GOLDEN, GOOD, LABELS),
    "another artifact": ("application/vnd.oci.image.config.v1+json", GOOD, LABELS),
    "no labels": (NODE_IMAGE, GOOD, {}),
    "another node": (NODE_IMAGE, GOOD, {**LABELS, node_artifact.NODE: "titan-14"}),
    "sealed, it says": (NODE_IMAGE, GOOD, {**LABELS, node_artifact.SEALED: "true"}),
    "a file less": (NODE_IMAGE, dict(list(GOOD.items())[:2]), LABELS),
    "a file more": (NODE_IMAGE, {**GOOD, "more": 1}, LABELS),
    "a name that is none": (
        NODE_IMAGE,
        {title.replace(NODE, "..-"): size for title, size in GOOD.items()},
        {**LABELS, node_artifact.NODE: "..-"},
    ),
    "no name": (
        NODE_IMAGE,
        {title.replace(NODE, ""): size for title, size in GOOD.items()},
        {**LABELS, node_artifact.NODE: ""},
    ),
    "an image without end": (NODE_IMAGE, {**GOOD, f"{NODE}.img.zst": 1 << 40}, LABELS),
    "a huge block map": (NODE_IMAGE, {**GOOD, f"{NODE}.img.bmap": 1 << 30}, LABELS),
    "a huge receipt": (NODE_IMAGE, {**GOOD, f"{NODE}.receipt.json": 1 << 30}, LABELS),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_an_artifact_that_is_no_nodes_image_is_refused_by_its_manifest(case: str) -> None:
    kind, titles, labels = MANIFESTS[case]
    layers = [Layer(f"sha256:{'0' * 64}", size, "", title) for title, size in titles.items()]
    with pytest.raises(MetisError) as caught:
        node_artifact.contents(Artifact("sha256:" + "0" * 64, kind, layers, labels), NAME)
    assert str(caught.value).startswith(NAME)


def test_titles_that_are_there_twice_are_refused() -> None:
    titles = [f"{NODE}.img.zst", f"{NODE}.img.zst", f"{NODE}.receipt.json"]
    layers = [Layer(f"sha256:{'0' * 64}", 1, "", title) for title in titles]
    with pytest.raises(MetisError, match="does not have the files"):
        node_artifact.contents(Artifact("sha256:" + "0" * 64, NODE_IMAGE, layers, LABELS), NAME)


def test_a_manifest_without_end_is_not_read() -> None:
    content = b'{"layers": [' + b"[]," * (artifact.LARGEST_MANIFEST // 3) + b"[]]}"
    with pytest.raises(MetisError, match="its manifest has more than 256 KiB"):
        artifact.parse(content, NAME, "1", "")


RECEIPTS: dict[str, dict[str, Any]] = {
    "no receipt": {"more": 1},
    "a later format": {"format": 2},
    "a number for a name": {"subject": 13},
    "an id that is none": {"id": "x" * 64},
    "an id without end": {"id": "a" * 5000},
    "no size": {"size": "8M"},
    "a size below zero": {"size": -1},
    "a size that is true": {"size": True},
    "too large a size": {"size": 1 << 50},
    "a slot below zero": {"slot": -1},
    "half a character for a count": {"mapped": "\ud800"},
    "no count": {"mapped": None},
    "a count below zero": {"mapped": -1},
    "a count without end": {"mapped": 1 << 1000},
    "a list for a count": {"mapped": []},
    "no hash": {"bmap_sha256": 7},
    "another node": {"subject": "titan-14"},
    "another block map": {"bmap_sha256": "0" * 64},
    "another size": {"size": 9 * MIB},
}


@pytest.mark.parametrize("case", RECEIPTS)
def test_a_receipt_that_does_not_fit_is_refused(image: Path, case: str) -> None:
    good = json.loads(image.with_name(f"{NODE}.receipt.json").read_bytes())
    bad = json.dumps({**good, **RECEIPTS[case]}).encode()
    with pytest.raises(MetisError) as caught:
        node_artifact.about(plain_contents(), bad, Path(f"{image}.bmap").read_bytes())
    assert caught.value.exit_code == (4 if case.startswith("another") else 1)
    assert str(caught.value).startswith(NAME)


@pytest.mark.parametrize(
    "receipt", [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"subject": "' + b"a" * 999]
)
def test_what_is_no_receipt_is_one_line(image: Path, receipt: bytes) -> None:
    with pytest.raises(MetisError, match="its receipt cannot be read"):
        node_artifact.about(plain_contents(), receipt, Path(f"{image}.bmap").read_bytes())


@pytest.mark.parametrize("field", ["made_from", "mapped", "subject", "secrets"])
@pytest.mark.parametrize("depth", [9, 400, 5000])
def test_a_receipt_nested_without_end_is_not_followed(image: Path, field: str, depth: int) -> None:
    good = json.loads(image.with_name(f"{NODE}.receipt.json").read_bytes())
    deep = json.dumps({**good, field: "DEEP"}).replace('"DEEP"', '{"a":' * depth + "{}" + "}" * depth)
    with pytest.raises(MetisError, match="its receipt cannot be read"):
        node_artifact.about(plain_contents(), deep.encode(), Path(f"{image}.bmap").read_bytes())


def test_what_a_receipt_says_beside_what_a_burn_uses_is_not_kept(image: Path) -> None:
    receipt = image.with_name(f"{NODE}.receipt.json").read_bytes()
    said = node_artifact.about(plain_contents(), receipt, Path(f"{image}.bmap").read_bytes())
    found = said.receipt
    assert [found.made_from, found.places, found.secrets, found.stamp] == [{}, {}, {}, {}]


# --------------------------------------------------------------------------------------- hostile bytes


def said_of(size: int) -> About:
    xml = bmap.Bmap(size, ()).to_xml()
    receipt = Receipt(NODE, "ab" * 32, {}, {}, size, 0, hashlib.sha256(xml).hexdigest(), {})
    return About(receipt, xml)


def compressed(content: bytes) -> bytes:
    return process.run(["zstd", "-qc"], stdin=content).out


SIZE = 1 << 16
STREAMS: dict[str, tuple[bytes, type[MetisError]]] = {
    "a bomb": (compressed(bytes(64 * MIB)), MismatchError),
    "a byte more": (compressed(bytes(SIZE + 1)), MismatchError),
    "a byte less": (compressed(bytes(SIZE - 1)), MismatchError),
    "cut short": (compressed(os.urandom(SIZE))[:-1], MetisError),
    "something behind it": (compressed(bytes(SIZE)) + b"more", MetisError),
    "not packed": (os.urandom(SIZE), MetisError),
    "nothing": (b"", MetisError),
    "a window of gigabytes": (b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(100), MetisError),
}


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_that_does_not_hold_the_image_is_refused(tmp_path: Path, case: str) -> None:
    stream, error = STREAMS[case]
    with pytest.raises(error) as caught:
        node_artifact.unpack(
            io.BytesIO(stream), len(stream), plain_contents(), said_of(SIZE), tmp_path, QUIET
        )
    assert str(caught.value).startswith(NAME)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / f"{NODE}.receipt.json").exists()


def test_an_image_that_is_not_what_its_block_map_says_is_found_out_when_it_is_opened(
    image: Path, tmp_path: Path
) -> None:
    xml = Path(f"{image}.bmap").read_bytes()
    receipt = receipts.read(image)
    assert receipt is not None
    altered = bytearray(image.read_bytes())
    altered[bmap.parse(xml).ranges[-1].start] ^= 1
    stream = compressed(bytes(altered))
    said = About(replace(receipt, stamp={}), xml)
    back = node_artifact.unpack(io.BytesIO(stream), len(stream), plain_contents(), said, tmp_path, QUIET)
    with pytest.raises(MismatchError, match="is not what its block map says"), opened(back, QUIET):
        pass
