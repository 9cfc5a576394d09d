"""A lab of many nodes whose images are all up to date, made in a minute instead of many.

Each image goes through the graph and the code that makes every other image: copied from its base, described
in a block map, given its receipt, remembered by doit. Only the injector is one that writes nothing, since
what is in a file system makes no difference to a run that has nothing to do. So all images are the same, and
what programs say of one is taken as said of the others. What needs the graph itself runs in children
(`python -m benchmarks.nodes fill`), since it reads its environment when it is imported.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.compare import with_peak
from pipeline.inject.tree import Chooser, Layout, Places, Status, Trees, filled
from pipeline.machine import process
from pipeline.model import SecretRef
from pipeline.render.network import MANAGERS, NETPLAN
from pipeline.secrets.keyring import Revealed
from tests.support import goldens
from tests.support.lab import BIN, REPOSITORY, Lab, class_text

CLASSES = 10
FILES_IN_OVERLAY = 8
OWN_OVERLAY_EVERY = 20
"""One node of so many has an overlay of its own."""
TIMEOUT = 3600


def make(root: Path, count: int) -> tuple[Lab, int]:
    """A lab of `count` nodes, all images built, and the largest memory that took of one process, in KiB."""
    lab = Lab(root / "lab", {"METIS_CACHE": str(root / "cache")})
    declare(lab, count)
    return lab, with_peak(lab, Path(__file__), "fill")[1]


def run_here(*arguments: str, lab: Lab) -> None:
    """Run this module in a child, on a lab."""
    process.run(
        [BIN / "python", "-m", "benchmarks.nodes", *arguments],
        cwd=REPOSITORY,
        extra_environment=lab.variables({}),
        timeout=TIMEOUT,
    )


# ------------------------------------------------------------------------------- what is declared


def declare(lab: Lab, count: int) -> None:
    """Write an inventory as labs have it: classes of three generations, each with an overlay."""
    golden = goldens.tiny_golden(size=4)
    sha256 = goldens.sha256(golden)
    lab.write("cluster.yaml", "k3s: {flags: {flannel-backend: vxlan, cluster-cidr: 10.42.0.0/16}}\n")
    lab.write("classes/node.yaml", f"abstract: true\n{_overlay(lab, 'node')}ssh: {{user: root}}\n")
    lab.write("overlays/node/modes.yaml", '/etc/lab.d/0.conf: "0600"\n')
    lab.write(
        "classes/agent.yaml",
        f"extends: node\nabstract: true\n{_overlay(lab, 'agent')}"
        "k3s: {role: agent, server: 'https://192.0.2.1:6443', kubelet_args: {image-gc-high-threshold: 75}}\n",
    )
    for number in range(CLASSES):
        name = f"agent-{number}"
        lab.write(
            f"classes/{name}.yaml", class_text(golden, sha256, f"extends: agent\n{_overlay(lab, name)}")
        )
    for number in range(count):
        own = _overlay(lab, f"node-{number}") if number % OWN_OVERLAY_EVERY == 0 else ""
        lab.write(f"nodes/node-{number:05}.yaml", _node(number) + own)
        lab.write_secrets(f"node-{number:05}", f"k3s_token: K10{number:064x}::node:5ec2e7\n")


def _overlay(lab: Lab, name: str) -> str:
    for number in range(FILES_IN_OVERLAY):
        lab.write(f"overlays/{name}/root/etc/{name}.d/{number}.conf", f"{name} {number}\n")
    if name == "node":
        lab.write("overlays/node/root/etc/lab.d/0.conf", "private\n")
    return f"root_overlay: overlays/{name}/root\n"


def _node(number: int) -> str:
    return (
        f"# Node {number} of the benchmark.\n"
        f"class: agent-{number % CLASSES}\n"
        "network:\n  interface: eth0\n"
        f"  address: 10.1.{number // 250}.{number % 250 + 2}/16\n"
        "  gateway: 10.1.255.254\n  nameservers: [10.1.255.254]\n"
        f"k3s:\n  labels: {{hardware: rpi4, rack: r{number % 7}}}\n"
        '  taints: ["dedicated=storage:NoSchedule"]\n'
    )


# ------------------------------------------------------------------------------ in a child: images


NEEDED = (NETPLAN.path, MANAGERS["networkd"].path)


class Idle:
    """An injector that finds only what nodes need in an image, and puts nothing there; also its tree."""

    @contextmanager
    def open(
        self, image: Path, disk: Layout, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> Iterator[Trees]:
        del image, choose, grow, read_only
        filled(disk)
        yield Trees(Places(1, None), self, None)

    def status(self, path: str) -> Status | None:
        if path in NEEDED:
            return Status("file", 0o755, 0, 0)
        is_above = any(needed.startswith(f"{path}/") for needed in NEEDED)
        return Status("directory", 0o755, 0, 0) if is_above else None

    def is_immutable(self, path: str) -> bool:
        del path
        return False

    def set_immutable(self, path: str) -> None:
        del path

    def read(self, path: str) -> bytes:
        del path
        return b""

    def sha256(self, path: str) -> str:
        raise AssertionError(path)

    def read_link(self, path: str) -> str:
        raise AssertionError(path)

    def list_names(self, path: str) -> Sequence[str]:
        del path
        return ()

    def remove(self, path: str) -> None:
        del path

    def extract(self, archive: Path) -> None:
        del archive


READERS = (("sfdisk", "--json"), ("blkid",), ("dumpe2fs",), ("debugfs",))
_IMAGE = re.compile(r"\S*/node-\d+\.img")


def ask_once() -> None:
    """Have programs that read images asked of one: of a thousand they are seven thousand processes."""
    ask = process.run
    known: dict[tuple[str, ...], process.Finished] = {}

    def run(argv: Sequence[str | Path], **how: Any) -> process.Finished:  # noqa: ANN401
        words = tuple(map(str, argv))
        asked = tuple(_IMAGE.sub("image", word) for word in words)
        if asked == words or not any(words[: len(reader)] == reader for reader in READERS):
            return ask(argv, **how)
        if asked not in known:
            known[asked] = ask(argv, **how)
        return known[asked]

    process.run = run


def fill(jobs: int) -> int:
    """Build all images of the lab that the environment names; without jobs in one thread, as doit does."""
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    from pipeline import dodo

    ask_once()
    dodo.lab.tools = replace(dodo.lab.tools, injector=Idle())

    def revealed(node: str, refs: Sequence[SecretRef], before: Mapping[str, str] | None = None) -> Revealed:
        """No identity: a thousand of them would take minutes, and nobody looks into these images."""
        return Revealed(lambda _: b"*", dodo.lab.keyring.used(node, refs), {})

    dodo.lab.keyring.revealed = revealed  # type: ignore[method-assign]
    return int(DoitMain(ModuleTaskLoader(dodo)).run(["run", "-n", str(jobs), "image"]))


# ---------------------------------------------------------------------- in a child: the same, bare

BARE = '''"""The graph of a lab as a plain doit file: literal names, dependencies and targets."""

from graph import CONFIG, TASKS

DOIT_CONFIG = CONFIG


def done():
    pass


def _of(kind):
    for about in TASKS[kind]:
        yield {**about, "actions": [done]}


def task_burn():
    """burn"""
    return {"actions": [done]}
'''
KIND = '''

def task_{0}():
    """{0}"""
    yield from _of("{0}")
'''
Plain = dict[str, str | list[str]]


def bare(folder: Path) -> None:
    """Write the graph of the lab that the environment names as a plain doit file.

    The data is a module of its own, so that Python reads it compiled, and doit need not look for functions
    in a megabyte of names.
    """
    from doit.loader import load_tasks

    from pipeline import dodo

    kinds: dict[str, list[Plain]] = {}
    for task in load_tasks(vars(dodo)):
        kind, _, name = task.name.partition(":")
        if not name:
            continue
        # An overlay has a check of its own in our graph; in a plain one its files are dependencies.
        file_dep = task.file_dep or _files_below(dodo.lab.inventory.root / name)
        kinds.setdefault(kind, []).append(
            {
                "name": name,
                "file_dep": sorted(file_dep),
                "task_dep": list(task.task_dep),
                "targets": list(task.targets),
            }
        )
    config: dict[str, Any] = dodo.DOIT_CONFIG | {"dep_file": str(folder / "state.sqlite3")}
    del config["reporter"]  # doit's own, which says the same of what is up to date
    folder.mkdir()
    (folder / "graph.py").write_text(f"CONFIG = {config!r}\nTASKS = {kinds!r}\n")
    (folder / "dodo.py").write_text(BARE + "".join(map(KIND.format, kinds)))


def _files_below(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file()]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fill", *jobs]:
            sys.exit(fill(int(jobs[0]) if jobs else os.cpu_count() or 1))
        case ["bare", folder]:
            bare(Path(folder))
