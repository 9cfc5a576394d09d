"""A large golden from a registry into the cache, beside `curl … | tee FILE | sha256sum` of the same
blob.

Both end with the file on the disk and its hash compared; curl has no disk to sync to, so the peer syncs
too. On top, ours starts Python, reads the inventory, logs in and asks for the manifest, and what it fetches
can be gone on with after a break.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import MetisError
from pipeline.machine import process
from tests.support import registry as registries
from tests.support.lab import BIN, Lab

from .compare import Pair, with_peak

NAME = "pulling a golden"
BOUND = 1.1
SIZE = 1 << 30
"""Bytes."""
MEMORY = 150 << 10
"""KiB that the process may take at its peak."""
PIECE = 1 << 20


@contextmanager
def prepared(size: int = SIZE) -> Iterator[Pair]:
    """A registry with a golden of so many bytes, and a lab that has nothing of it yet."""
    with (
        tempfile.TemporaryDirectory(prefix="metis-bench-") as folder,
        registries.serving(Path(folder, "registry")) as server,
    ):
        lab = Lab(Path(folder), {"METIS_CACHE": f"{folder}/cache", "NO_PROXY": "*"})
        to = f"oci://{server.host}/metis/golden:1"
        lab.write("classes/big.yaml", f"arch: amd64\nos: debian\nimage: {{source: '{to}'}}\n")
        lab.write("nodes/one.yaml", "class: big\n")
        golden = Path(folder, "golden.img")
        _write(golden, size)
        said = lab.metis("golden", "push", "--class", "big", str(golden), "--json")
        if said.code:
            raise MetisError(said.err)
        sha256 = json.loads(said.out)["sha256"]
        golden.unlink()
        url = f"http://{server.host}/v2/metis/golden/blobs/sha256:{sha256}"
        about = {"size": size, "peak of memory, KiB": pull(lab, sha256)}
        print(f"  peak of memory: {about['peak of memory, KiB']} KiB", file=sys.stderr)
        peer = Path(folder, "peer")
        yield Pair(
            f"{NAME} of {size >> 20} MiB",
            lambda: pull(lab, sha256),
            lambda: _by_hand(peer, url, sha256),
            about,
        )


def _write(golden: Path, size: int) -> None:
    """Bytes that do not pack, and that no file system leaves out."""
    with golden.open("wb") as file:
        for _ in range(size // PIECE):
            file.write(os.urandom(PIECE))


def pull(lab: Lab, sha256: str) -> int:
    """Fetch the golden into an empty cache; gives the largest memory of the process, in KiB."""
    shutil.rmtree(lab.root / "cache", ignore_errors=True)
    said, peak = with_peak(lab, BIN / "metis", "golden", "pull")
    if sha256 not in said.out.decode():
        raise MetisError(f"something else was pulled: {said.out.decode()[:200]}")
    return peak


def _by_hand(target: Path, url: str, sha256: str) -> None:
    target.unlink(missing_ok=True)
    script = 'set -o pipefail; curl -sS "$1" | tee "$2" | sha256sum && sync "$2"'
    said = process.run(["bash", "-c", script, "bash", url, target])
    if said.out.split()[0].decode() != sha256:
        raise MetisError("curl brought something else")
