"""A program of its own that takes a snapshot of the root in its first argument, and says what it did.

It prints one object: the snapshot, what was opened (the words for it, and which files these were), the events
of an audit hook (PEP 578) that start programs, the modules that were loaded, and the most memory that was
taken, in bytes. It runs on each Python that the sentinel runs on; the second argument is where that is.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

sys.path.insert(0, sys.argv[2])
before = set(sys.modules)

from metis_sentinel.snapshot import take  # noqa: E402

loaded = sorted(set(sys.modules) - before)
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn")
asked: list[str] = []
opened: list[tuple[int, int]] = []
started: list[str] = []
real = os.open


def hook(event: str, given: tuple[object, ...]) -> None:
    if event == "open" and isinstance(given[0], str):
        asked.append(given[0])
    elif event.startswith(STARTS):
        started.append(event)


def remembering(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    descriptor = real(path, flags, mode, dir_fd=dir_fd)
    about = os.fstat(descriptor)
    opened.append((about.st_dev, about.st_ino))
    return descriptor


os.open = remembering
sys.addaudithook(hook)
snapshot = take(sys.argv[1])
with open("/proc/self/status") as status:  # noqa: PTH123 - pathlib would count as loaded
    (most,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
did = {"asked": asked, "opened": opened, "started": started, "loaded": loaded, "most": most}
json.dump({"snapshot": snapshot, **did}, sys.stdout)
