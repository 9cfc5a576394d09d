"""From a file as published to a sparse raw image, checked by its hash once more on the way.

What a file is, its first bytes say; names on the web are often wrong. Whether the image can be used is for
others to judge: here it is only bytes.

The programs of the forms do the work. Where one of them leaves out zeros and can be held to a size, it reads
and writes files by itself while we hash what it reads; for the others, all goes through pipes.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import MetisError, RottenError
from ..machine import durable, process
from ..machine.progress import Advance, Reporter
from ..raw import sparse

_WITHIN_MEMORY = "--memlimit-decompress=1GiB"
"""For xz(1): its strongest preset needs 65 MiB for a thread, and a file may ask for 4 GiB."""
_LONGEST_LIST = 4 << 20
"""Bytes; xz(1) says some 150 of each block, and 64 GiB have 3,000 of the usual size."""
# What file(1) knows them by; pzstd(1) begins with a frame to be skipped (RFC 8878, 3.1.2).
_FILTERS = (
    (b"\xfd7zXZ\0", ("xz", "-T0", "-dc", _WITHIN_MEMORY)),
    (b"\x1f\x8b", ("gzip", "-dc")),
    (b"\x28\xb5\x2f\xfd", ("zstd", "-dcq")),
    (b"\x50\x2a\x4d\x18", ("zstd", "-dcq")),
)
_MEDIA_TYPES = {"xz": "application/x-xz", "gzip": "application/gzip", "zstd": "application/zstd"}
"""By the program that unpacks it (RFC 6713, RFC 8878, and as shared-mime-info has it)."""
_REFUSED = ((b"PK\x03\x04", "zip"), (b"BZh", "bzip2"), (b"7z\xbc\xaf\x27\x1c", "7z"))


def unpack(packed: Path, raw: Path, sha256: str, reporter: Reporter, limit: int) -> int:
    """Write what `packed` holds to the new file `raw` (mode 0600), holes for zeros; give its size in bytes.

    Raises RottenError when `packed` is not what `sha256` says, whatever else is wrong with it: the caller
    removes it then. Raises MetisError for a form that is not known, a damaged stream, an image larger than
    `limit` bytes and a full disk. `raw` is left only where there is no error.
    """
    try:
        with packed.open("rb", buffering=0) as file:
            argv = _filter_for(packed, file)
            with reporter.step(f"unpacking {sha256[:12]}", packed.stat().st_size) as advance:
                return _written(_Hashed(file, advance), argv, packed, raw, sha256, limit)
    except BaseException as error:
        raw.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise durable.out_of_room(raw, error) from error
        raise


def packing(packed: Path) -> str:
    """The media type of a file by its first bytes: a raw image is just bytes. Raises as `unpack` does."""
    with packed.open("rb", buffering=0) as file:
        argv = _filter_for(packed, file)
    return _MEDIA_TYPES[argv[0]] if argv else "application/octet-stream"


def digests(packed: Path, reporter: Reporter, limit: int) -> tuple[str, str]:
    """The SHA-256 of a file and that of the raw image that it holds, in one reading; nothing is written.

    Raises MetisError as `unpack` does.
    """
    result, size = hashlib.sha256(), 0
    with packed.open("rb", buffering=0) as file:
        argv = _filter_for(packed, file)
        with reporter.step(f"unpacking {packed.name}", packed.stat().st_size) as advance:
            source = _Hashed(file, advance)
            try:
                with _raw(source, argv) as chunks:
                    for chunk in chunks:
                        result.update(chunk)
                        size += len(chunk)
                        if size > limit:
                            raise _too_long(packed, limit)
            except process.ToolError as error:
                raise MetisError(f"cannot unpack {packed}: {error.message}", error.hint) from None
            return source.sha256(), result.hexdigest()


@contextmanager
def _raw(source: _Hashed, argv: tuple[str, ...]) -> Iterator[Iterable[bytes]]:
    """The chunks of the raw image that is in a file."""
    if not argv:
        yield source
        return
    with process.piped(argv, source) as out:
        yield iter(lambda: out.read(sparse.CHUNK), b"")


def _too_long(packed: Path, limit: int) -> MetisError:
    return MetisError(
        f"{packed} unpacks to more than {limit} bytes",
        "raise card.max_size in cluster.yaml, or take a smaller image",
    )


class _Hashed:
    """The chunks of a file, hashed as they are taken; another iteration goes on where one ended."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file = file
        self._advance = advance
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.take():
            self._advance(len(chunk))
            yield chunk

    def take(self) -> bytes:
        """The next chunk, nothing at the end."""
        chunk = self._file.read(sparse.CHUNK)
        self._hash.update(chunk)
        return chunk

    @contextmanager
    def beside(self, sink: int, limit: int) -> Iterator[tuple[int, Callable[[], bool]]]:
        """The same file for a program that reads it and writes to `sink` by itself, and what we do meanwhile.

        That is to hash a chunk, tell how far the program is, and hold it to a place in what it writes.
        """
        source, seen = os.open(f"/proc/self/fd/{self._file.fileno()}", os.O_RDONLY | os.O_CLOEXEC), 0

        def look() -> None:
            nonlocal seen
            now = os.lseek(source, 0, os.SEEK_CUR)
            self._advance(now - seen)
            seen = now
            if os.lseek(sink, 0, os.SEEK_CUR) > limit:
                raise sparse.TooLongError(f"larger than {limit} bytes")

        def work() -> bool:
            look()
            return bool(self.take())

        try:
            yield source, work
            look()
        finally:
            os.close(source)

    def sha256(self) -> str:
        """The hash of the whole file, for which the rest of it is read."""
        for _ in self:
            pass
        return self._hash.hexdigest()


def _filter_for(packed: Path, file: BinaryIO) -> tuple[str, ...]:
    """The program that unpacks the file, nothing for a raw image."""
    start = file.read(8)
    file.seek(0)
    for magic, form in _REFUSED:
        if start.startswith(magic):
            raise MetisError(
                f"{packed} is a {form} archive, which is not supported",
                "publish the image as .xz, .gz, .zst or plain",
            )
    return next((argv for magic, argv in _FILTERS if start.startswith(magic)), ())


def _written(source: _Hashed, argv: tuple[str, ...], packed: Path, raw: Path, sha256: str, limit: int) -> int:
    """Write the image, then judge the file that it came from: rot explains any other trouble."""
    size = 0
    trouble: MetisError | None = None
    try:
        pour = _pour(source, argv, packed, limit)
        if pour:
            size = sparse.write_by(pour, raw, limit)
        else:
            with _raw(source, argv) as chunks:
                size = sparse.write_stream(chunks, raw, limit)
    except process.ToolError as error:
        hint = error.hint or "its hash is right, so it was published like this: take another image"
        trouble = MetisError(f"cannot unpack {packed}: {error.message}", hint)
    except sparse.TooLongError:
        trouble = _too_long(packed, limit)
    found = source.sha256()
    if found != sha256:
        raise RottenError(f"{packed} rotted in the cache: its SHA-256 is {found}")
    if trouble:
        raise trouble
    return size


def _pour(source: _Hashed, argv: tuple[str, ...], packed: Path, limit: int) -> Callable[[int], None] | None:
    """What has the image written by the program that unpacks it, None where it could not be held to `limit`.

    What is written is held to it by the kernel, but zeros are not written: a file of nothing else has to be
    ended in another way. xz tells the length beforehand of what it can unpack with several threads, and zstd
    goes forward in the file for each GiB of zeros (programs/fileio_asyncio.c there).

    Raises TooLongError for what is known to be too long.
    """
    if argv[:1] == ("xz",):
        length = _length_of_xz(packed)
        if length is None:
            return None
        if length > limit:
            raise sparse.TooLongError(f"{packed} would be larger than {limit} bytes")
    elif argv[:1] == ("zstd",):
        argv = (*argv, "--sparse")
    else:
        return None

    def pour(sink: int) -> None:
        try:
            with source.beside(sink, limit) as (file, work):
                process.poured(argv, file, sink, limit, work)
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise sparse.TooLongError(f"{packed} is larger than {limit} bytes") from None
            raise

    return pour


def _length_of_xz(packed: Path) -> int | None:
    """What an .xz file unpacks to in bytes, None where not each of its blocks says so at its start.

    xz compares these with the index here, and with what comes out when it unpacks (xz(1), --robot).
    """
    try:
        said = process.run(["xz", "--robot", "-lvv", _WITHIN_MEMORY, "--", packed], limit=_LONGEST_LIST)
    except process.ToolError:  # damaged, or too long a list: to be told by who unpacks it
        return None
    last = said.out.decode(errors="replace").splitlines()[-1].split("\t")
    return int(last[4]) if last[0] == "totals" and last[10] == "yes" else None
