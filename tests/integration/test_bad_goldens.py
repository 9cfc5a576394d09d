"""Goldens that cannot be used: one clear line, the exit code of its kind, and nothing left behind."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support import goldens
from tests.support.lab import QUICK_INJECTOR, Lab, class_text

NODE = "class: only\nnetwork: {dhcp: true}\n"


def make(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def truncated_xz(folder: Path) -> Path:
    return make(folder / "cut.img.xz", lzma.compress(goldens.tiny_golden().read_bytes())[:-4096])


def truncated_raw(folder: Path) -> Path:
    return make(folder / "cut.img", goldens.tiny_golden().read_bytes()[: 10 << 20])


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "truncated .xz": (truncated_xz, "xz"),
    "truncated raw": (truncated_raw, "plain.img"),
    "not an image": (lambda folder: make(folder / "page.html", b"<html>" * 1000), "partition table"),
    "empty": (lambda folder: make(folder / "empty.img", b""), "empty"),
    "zip": (lambda folder: make(folder / "a.zip", b"PK\3\4" + bytes(4096)), "zip"),
    "without a root": (lambda _: goldens.tiny_golden(roots=()), "has no root partition"),
    "two roots": (lambda _: goldens.tiny_golden(roots=("a", "b")), "two partitions of the golden could be"),
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path, {"METIS_INJECTOR": QUICK_INJECTOR})
    lab.write("nodes/one.yaml", NODE)
    return lab


def declare(lab: Lab, golden: Path, sha256: str | None = None) -> None:
    lab.write("classes/only.yaml", class_text(golden, sha256 or goldens.sha256(golden)))


def nothing_is_left(lab: Lab) -> bool:
    return not lab.leftovers() and not list(lab.artifacts.rglob("*.img"))


@pytest.mark.parametrize(("golden", "said"), BAD.values(), ids=BAD.keys())
def test_an_unusable_golden_is_one_line(
    lab: Lab, tmp_path: Path, golden: Callable[[Path], Path], said: str
) -> None:
    declare(lab, golden(tmp_path))
    report = lab.metis("image", "--node", "one")
    assert report.code == 1, report
    (line,) = report.failures
    assert said.replace("plain.img", "") in line
    assert "Traceback" not in report.err
    assert nothing_is_left(lab)


def test_a_golden_larger_than_any_card_never_enters_the_cache(lab: Lab, tiny_golden: Path) -> None:
    declare(lab, tiny_golden)
    lab.write("cluster.yaml", "card: {max_size: 1M}\n")
    report = lab.metis("image", "--node", "one")
    assert report.code == 1, report
    (line,) = report.failures
    assert "bytes, more than 1048576: raise card.max_size in cluster.yaml" in line
    assert "Traceback" not in report.err
    assert nothing_is_left(lab)


def test_a_wrong_hash_is_exit_4_and_never_enters_the_cache(lab: Lab, tiny_golden: Path) -> None:
    declare(lab, tiny_golden, "0f" * 32)
    report = lab.metis("image", "--node", "one")
    assert report.code == 4
    assert goldens.sha256(tiny_golden) in report.err
    assert nothing_is_left(lab)
    assert not list((lab.artifacts / "cache").rglob("sha256/*"))


def test_a_missing_file_is_exit_5(lab: Lab, tmp_path: Path) -> None:
    declare(lab, tmp_path / "missing.img", "0f" * 32)
    assert lab.metis("image", "--node", "one").code == 5


def test_offline_says_what_is_missing(lab: Lab) -> None:
    lab.write(
        "classes/only.yaml",
        f"arch: arm64\nos: debian\nimage: {{source: 'https://images.example/a.img', sha256: {'1f' * 32}}}\n",
    )
    report = lab.metis("image", "--node", "one", METIS_OFFLINE="1")
    assert report.code == 5
    assert "https://images.example/a.img is not in the cache" in report.err


@pytest.fixture
def angry_server() -> Iterator[str]:
    """A server that has nothing for anybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/golden.img.xz"
    server.shutdown()
    server.server_close()


def test_a_server_without_the_golden_is_exit_5(lab: Lab, angry_server: str) -> None:
    report = lab.metis(
        "image", "--node", "one", METIS_IMAGE_ONLY=angry_server, METIS_IMAGE_ONLY_SHA256="2f" * 32
    )
    assert report.code == 2  # the class is not declared, and a golden alone is none
    declare(lab, Path("/nowhere"), "1f" * 32)
    report = lab.metis(
        "image", "--node", "one", METIS_IMAGE_ONLY=angry_server, METIS_IMAGE_ONLY_SHA256="2f" * 32
    )
    assert report.code == 5
    assert "404" in report.err


@pytest.mark.parametrize("variable", ["METIS_IMAGE_ONLY", "METIS_IMAGE_ONLY_SHA256"])
def test_half_of_the_pair_that_replaces_a_golden_is_exit_2(
    lab: Lab, tiny_golden: Path, variable: str
) -> None:
    declare(lab, tiny_golden)
    report = lab.metis("image", "--node", "one", **{variable: "3f" * 32})
    assert report.code == 2
    assert f"{variable} is set without" in report.err


def test_plan_says_that_the_environment_replaces_the_golden(lab: Lab, tiny_golden: Path) -> None:
    declare(lab, Path("/nowhere"), "1f" * 32)
    pair = {"METIS_IMAGE_ONLY": f"file:{tiny_golden}", "METIS_IMAGE_ONLY_SHA256": goldens.sha256(tiny_golden)}
    report = lab.metis("plan", "--node", "one", **pair)
    assert report.code == 0
    assert f"file:{tiny_golden} (by METIS_IMAGE_ONLY)" in report.out
    assert not lab.artifacts.exists()
