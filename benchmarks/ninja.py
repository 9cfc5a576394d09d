"""`doit image` with all images up to date, beside ninja(1) with the same tasks, for information.

ninja looks at the times of files and at nothing in them, and resolves nothing: what it takes is about what
any look at so many files takes.
"""

from __future__ import annotations

import re
import runpy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import MetisError
from pipeline.machine import process

from . import nodes
from .compare import Pair
from .nothing_to_do import NODES

_RULE = "rule make\n  command = touch $out\n"


@contextmanager
def prepared() -> Iterator[Pair]:
    """A lab and its peer, whose targets are all made."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        lab, _ = nodes.make(Path(folder), NODES)
        bare, peer = Path(folder, "bare"), Path(folder, "ninja")
        nodes.run_here("bare", str(bare), lab=lab)
        tasks = runpy.run_path(str(bare / "graph.py"))["TASKS"]
        peer.mkdir()
        (peer / "build.ninja").write_text(_RULE + "".join(_edges(tasks)))
        process.run(["ninja", "--quiet"], cwd=peer, timeout=nodes.TIMEOUT)

        def idle() -> None:
            if b"no work to do" not in process.run(["ninja"], cwd=peer).out:
                raise MetisError("ninja found something to do")

        idle()
        yield Pair(
            f"nothing to do, {NODES:,} nodes : ninja", lambda: lab.doit("image"), idle, {"nodes": NODES}
        )


def _edges(tasks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Each task as ninja has it; files that a task makes are below the peer's own folder."""
    named = {f"{kind}:{task['name']}": task for kind in tasks for task in tasks[kind]}
    places = {
        target: f"out/{number}"
        for number, target in enumerate(target for task in named.values() for target in task["targets"])
    }
    for task in named.values():
        inputs = [_word(places.get(file, file)) for file in task["file_dep"]]
        before = [places[target] for name in task["task_dep"] for target in named[name]["targets"]]
        outputs = [places[target] for target in task["targets"]]
        yield f"build {' '.join(outputs)}: make {' '.join(inputs)} || {' '.join(before)}\n"


def _word(path: str) -> str:
    return re.sub(r"([$ :])", r"$\1", path)
