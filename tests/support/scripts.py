"""Our scripts for nodes, run in tests with real programs or with stand-ins that come first on PATH."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.machine import process
from pipeline.machine.process import Finished
from pipeline.render import assets

FOLDER = Path(assets.__file__).with_name("files")
SHELL = "/bin/dash"
"""The sh of Debian and Ubuntu."""


def run(
    name: str, *arguments: str | Path, tools: Path | None = None, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run a script of pipeline/render/files; programs in `tools` stand in for those of this machine."""
    path = ":".join([*([str(tools)] if tools else []), os.environ["PATH"], "/usr/sbin", "/sbin"])
    return process.run(
        [SHELL, FOLDER / name, *arguments],
        check=False,
        timeout=60,
        extra_environment={"PATH": path, **(environment or {})},
    )


def stand_in(tools: Path, name: str, text: str) -> None:
    """Put a program of a few lines of shell into a folder of tools."""
    tools.mkdir(exist_ok=True)
    (tools / name).write_text(f"#!{SHELL}\n{text}\n")
    (tools / name).chmod(0o755)
