"""Stops a job of the service for good at one place of its work, so that it can be killed just there.

Python loads this by itself (site) where its folder is in PYTHONPATH. The file that BRAKE names says where,
such as `before pipeline.steps.build:apply`; empty, or missing, nothing is stopped.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

JOB = ["-m", "pipeline.job"]


def brake(place: str) -> None:
    """Have this process stop before, or after, the first call of what is looked up there."""
    when, _, name = place.partition(" ")
    module, _, path = name.partition(":")
    owner: Any = import_module(module)
    *outer, last = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    function = getattr(owner, last)

    def braked(*arguments: Any, **named: Any) -> Any:
        setattr(owner, last, function)
        if when == "before":
            os.kill(os.getpid(), signal.SIGSTOP)
        result = function(*arguments, **named)
        if when == "after":
            os.kill(os.getpid(), signal.SIGSTOP)
        return result

    setattr(owner, last, braked)


def place() -> str:
    """Where this process is to stop, empty for nowhere."""
    file = Path(os.environ.get("BRAKE", os.devnull))
    return file.read_text() if sys.orig_argv[1:3] == JOB and file.exists() else ""


if where := place():
    brake(where)
