"""A golden unpacked to a sparse file, beside xz(1) and zstd(1) that write the same by themselves.

The golden is of this machine's own libraries, with as many zeros between them as they have bytes. Both sides
read from memory and write to memory. On top, ours hashes the golden on its way, compares the hash, and holds
what comes out to a size.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import MetisError
from pipeline.golden.unpack import unpack
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.raw import sparse

from .compare import Comparison, Pair, side_by_side

BOUND = 1.1
CONTENT = {"xz": 256 << 20, "zst": 512 << 20}
"""Bytes of libraries."""
SOME = {"xz": 128 << 20}
"""As many as give a figure quickly, of the form that keeps the bound: see README.md for the other."""
_LIBRARIES = Path("/usr/lib")
_STRETCH = 8 << 20
"""Bytes of libraries, and of zeros after them."""
_PACK = {
    "xz": "xz -c -T0 -0 --block-size=8MiB",
    "zst": "zstd -cq -T0 -1",
}
# What is quickest: through a pipe, and with `dd conv=sparse` or `cp --sparse=always`, it takes longer.
_UNPACK = {"xz": 'xz -T0 -dc "$1" >"$2"', "zst": 'zstd -dcq --sparse "$1" >"$2"'}
_PIXZ = 'pixz -d <"$1" >"$2"'
"""For information: it unpacks .xz with several threads too, and writes all zeros."""


def measured(runs: int) -> Sequence[Comparison]:
    """Time both forms of a golden beside the programs of their forms, and .xz beside pixz(1)."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-", dir="/dev/shm") as folder:
        golden = Path(folder, "golden.img")
        write(golden, CONTENT["xz"])
        with _pair(golden, "xz", _PIXZ, ", pixz") as pair:
            beside_pixz = side_by_side(pair, runs=runs, bound=None)
    return [*beside_their_own(runs, CONTENT), beside_pixz]


def beside_their_own(runs: int, content: Mapping[str, int]) -> Sequence[Comparison]:
    """Time forms of a golden with so many bytes of libraries beside the programs of these forms."""
    found = []
    with tempfile.TemporaryDirectory(prefix="metis-bench-", dir="/dev/shm") as folder:
        golden = Path(folder, "golden.img")
        for form, size in content.items():
            write(golden, size)
            with _pair(golden, form, _UNPACK[form]) as pair:
                found.append(side_by_side(pair, runs=runs, bound=BOUND))
    return found


@contextmanager
def _pair(golden: Path, form: str, command: str, name: str = "") -> Iterator[Pair]:
    """A golden in one form, unpacked once by both to see that they make the same of it."""
    packed, ours, peer = (golden.with_name(name) for name in (f"packed.{form}", "ours", "peer"))
    process.run(["sh", "-c", f'{_PACK[form]} "$1" >"$2"', "sh", golden, packed])
    sha256 = _sha256(packed)
    size = golden.stat().st_size

    def by_us() -> None:
        ours.unlink(missing_ok=True)
        unpack(packed, ours, sha256, QuietReporter(io.StringIO()), size)

    def by_itself() -> None:
        peer.unlink(missing_ok=True)
        process.run(["sh", "-c", command, "sh", packed, peer])

    by_us()
    by_itself()
    if not _sha256(ours) == _sha256(peer) == _sha256(golden):
        raise MetisError(f"not the same came out of the golden as .{form}")
    about = {"packed": packed.stat().st_size, "size": size, "mapped": sparse.mapped_bytes(ours)}
    yield Pair(f"unpacking {size >> 20} MiB of .{form}{name}", by_us, by_itself, about)
    for file in (packed, ours, peer):
        file.unlink()


def write(golden: Path, content: int) -> None:
    """Write libraries until there are so many bytes of them, one after the other, and zeros in between."""
    left = content
    with golden.open("wb") as target:
        for source in _files():
            with source.open("rb") as file:
                while left and (chunk := file.read(min(_STRETCH, left))):
                    target.write(chunk)
                    left -= len(chunk)
                    if left // _STRETCH != (left + len(chunk)) // _STRETCH:
                        target.seek(_STRETCH, os.SEEK_CUR)
            if not left:
                target.truncate(target.tell())
                return
    raise MetisError(f"{_LIBRARIES} has {content - left} bytes, and {content} are needed")


def _files() -> Iterator[Path]:
    for folder, folders, names in os.walk(_LIBRARIES):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
