"""A sparse image copied, beside cp(1) and dd(1) that leave out zeros too; all read and write memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from pipeline.errors import MetisError
from pipeline.machine import process
from pipeline.raw import sparse

from .compare import Comparison, Pair, side_by_side
from .unpacking import write

CONTENT = 512 << 20
"""Bytes of libraries, with as many zeros between them."""
PEERS: Mapping[str, str] = {
    "cp --sparse=always": 'cp --sparse=always "$1" "$2"',
    "dd conv=sparse": 'dd status=none bs=1M conv=sparse if="$1" of="$2"',
}


def measured(runs: int) -> Sequence[Comparison]:
    """Time our copy beside each of the others."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-", dir="/dev/shm") as folder:
        image, ours, peer = (Path(folder, name) for name in ("image", "ours", "peer"))
        write(image, CONTENT)
        about = {"size": image.stat().st_size, "mapped": sparse.mapped_bytes(image)}

        def by_us() -> None:
            ours.unlink(missing_ok=True)
            sparse.copy(image, ours)

        def by_other(command: str) -> None:
            peer.unlink(missing_ok=True)
            process.run(["sh", "-c", command, "sh", image, peer])

        found = []
        for name, command in PEERS.items():
            pair = Pair(f"copy : {name}", by_us, partial(by_other, command), about)
            found.append(side_by_side(pair, runs=runs, bound=None))
            if ours.read_bytes() != peer.read_bytes():
                raise MetisError(f"{name} copied something else")
        return found
