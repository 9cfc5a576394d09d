"""The floors of the house: no module leans on one above it, none in a circle, and the pure ones on the world.

words     what everything is said in
pure      values in, values out: nothing is read, started or fetched
machine   files, processes and settings of this machine
adapters  where goldens come from, how images are opened, burned and booted; they do not know each other
steps     build and compose, which put the floors below together
tasks     the composition root, and what the graph does with it
doors     doit's and the operator's ways in
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from pipeline.golden.schemes import SCHEMES
from pipeline.inject.directory import DirectoryInjector
from pipeline.lab.injectors import INJECTORS as NAMED
from pipeline.machine import process
from tests.support.injectors import ADAPTERS, of_the_lab

ROOT = Path(__file__).parents[2]

FLOORS = {
    "words": "errors model secret",
    "pure": "amounts cache.policy card.cards card.get_disk card.lsblk card.policy card.table card.waiting "
    "cluster.addresses cluster.admission cluster.check cluster.desired cluster.difference "
    "cluster.evidence cluster.join_token cluster.membership cluster.node_password cluster.objects "
    "cluster.port cluster.preflight cluster.preflight_show cluster.servers cluster.skew cluster.twin "
    "cluster.versions edits.* example.* facts.* golden.debian.recipe golden.newer golden.registry.artifact "
    "history.difference history.records history.show "
    "golden.trust.sums graph.outcomes inventory.amend inventory.builder inventory.composed "
    "inventory.document inventory.formats inventory.k3s_flags inventory.pin inventory.renames "
    "inventory.resolve inventory.scalars inventory.schema_faults inventory.schema_files inventory.schemas "
    "inventory.spelling "
    "inventory.validate machine.loopback machine.mountinfo manifest manifest_json nightly.report plan "
    "raw.ranges raw.record render.* secrets.report service.asked service.byte_ranges service.charts "
    "service.csrf service.denial service.doors service.identity service.imager_list service.left_figures "
    "service.limits service.options service.words show tables wording",
    "machine": "cache.* facts.keeping facts.listing facts.opened facts.reading history.* hooks "
    "inventory.index inventory.overlay inventory.read machine.* nightly.files raw.* scheduler.events "
    "service.job_files service.kinds",
    "adapters": "adopt.* boot.* card.* cluster.* golden.* inject.* scheduler.* secrets.*",
    "steps": "settings steps.*",
    "tasks": "lab.* graph.actions graph.checks graph.freshness graph.tasks",
    "doors": "cli commands.* dodo graph.* job nightly.* service.* walk",
}
LEVEL = {name: level for level, names in enumerate(FLOORS.values()) for name in names.split()}

PURE_MAY_IMPORT = frozenset(
    "__future__ base64 bisect collections dataclasses datetime difflib functools hashlib hmac ipaddress "
    "itertools json jsonschema jsonschema_rs math posixpath re referencing struct types typing urllib.parse "
    "yaml zlib".split()
)
PARTS = {
    "facts.snapshot": {"importlib.resources", "sys"},
    "inventory.schema_files": {"importlib.resources"},
    "render.assets": {"importlib.resources"},
}
"""Schemas, scripts and units are part of the program, as its modules are: they are read as an import is.

Of `sys` a snapshot takes what keeps a text once.
"""
CALLS_OF_PROCESS = frozenset("system popen fork forkpty posix_spawn posix_spawnp startfile".split())
ASK_THE_PLATFORM = frozenset("card.here machine.system".split())
LAZY = {
    "dask",
    "distributed",
    "google",
    "grpc",
    "guestfs",
    "hvac",
    "kubernetes",
    "oras",
    "pyrage",
    "requests",
    "rich",
    "urllib3",
}
ONLY_AT_TOP_OF = {
    "jsonschema": {"inventory.schema_faults"},
    "jsonschema_rs": {"facts.snapshot", "inventory.schemas"},
    "fastapi": {"service.*"},
    "jinja2": {"service.*"},
    "prometheus_client": {"service.*"},
    "pydantic": {"service.*"},
    "starlette": {"service.*"},
    "uvicorn": {"service.*"},
    "sqlalchemy": {"history.*"},
    "referencing": {"inventory.schema_faults"},
    "click": {"cli", "commands.*"},
    "cryptography": {"secrets.ssh_keys"},
}


def _module_of(made_there: Any) -> str:
    return str(made_there.__module__).removeprefix("pipeline.")


FETCHERS = sorted({_module_of(scheme.open) for scheme in SCHEMES.values()})
"""Each brings goldens of one kind."""
INJECTORS = sorted({_module_of(kind) for kind in (DirectoryInjector, *map(type, map(of_the_lab, NAMED)))})
"""Each opens images in one way; what a mounted file system is like (`inject.folder`) is common to several."""


# ------------------------------------------------------------------------------------- reading imports


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax of each module by its name within the package; a package by the name of its folder."""
    return {name: ast.parse(file.read_bytes()) for name, file in files().items()}


@cache
def files() -> dict[str, Path]:
    found = {}
    for file in (ROOT / "pipeline").rglob("*.py"):
        parts = file.relative_to(ROOT / "pipeline").with_suffix("").parts
        name = ".".join(parts).removesuffix("__init__").removesuffix(".")
        found[name or "pipeline"] = file
    return found


def imported(name: str, *, top_only: bool = False) -> Iterator[str]:
    """The modules that one imports, also for types: ours by their names here, others as they are written."""
    package = name.split(".")[:-1]
    tree = modules()[name]
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_own(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *(node.module.split(".") if node.module else [])])
            base = base if node.level else _own(base)
            for alias in node.names:
                inner = f"{base}.{alias.name}".strip(".")
                yield inner if inner in modules() else base


def _own(name: str) -> str:
    """An absolute name as it is called here; Python's own `secrets` is not our folder of that name."""
    if name.partition(".")[0] == "pipeline":
        return name.removeprefix("pipeline.")
    return f"{name} of Python" if name in modules() and name in sys.stdlib_module_names else name


@cache
def ours(name: str) -> frozenset[str]:
    return frozenset(found for found in imported(name) if found in modules()) - {name}


def level(name: str) -> int:
    package = f"{name.partition('.')[0]}.*"
    return LEVEL.get(name, LEVEL.get(package, NOWHERE))


NOWHERE = len(FLOORS)
PACKAGES = {
    ".".join(file.parent.relative_to(ROOT / "pipeline").parts) or "pipeline"
    for file in (ROOT / "pipeline").rglob("__init__.py")
}
"""Their own modules hold words for the reader and nothing else."""
NAMES = sorted(files().keys() - PACKAGES)
PURE = [name for name in NAMES if level(name) <= list(FLOORS).index("pure")]


# ---------------------------------------------------------------------------------------- the floors


def those(wrong: Callable[[str], object], names: Iterable[str] = NAMES) -> dict[str, object]:
    """What is wrong with each module, by their names; a test for each of them would take longer to begin."""
    return {name: found for name in names if (found := wrong(name))}


def test_every_module_has_its_floor() -> None:
    assert not those(lambda name: level(name) == NOWHERE), "give it a place in FLOORS"


def test_a_package_brings_nothing_along() -> None:
    assert not those(lambda name: list(imported(name)), PACKAGES)


def test_no_module_imports_from_a_floor_above_its_own() -> None:
    assert not those(lambda name: {other for other in ours(name) if level(other) > level(name)})


def test_every_name_on_a_floor_is_a_module() -> None:
    assert {name for name in LEVEL if not name.endswith("*")} <= set(modules())


def test_there_are_no_circles_not_even_in_functions_or_for_types() -> None:
    TopologicalSorter({name: ours(name) for name in NAMES}).prepare()


def test_a_pure_module_knows_nothing_of_the_world() -> None:
    def strangers(name: str) -> set[str]:
        others = {found for found in imported(name) if found not in modules()}
        allowed = PURE_MAY_IMPORT | PARTS.get(name, set())
        return {found for found in others if not {found, found.partition(".")[0]} & allowed}

    assert not those(strangers, PURE)


def test_a_pure_module_opens_and_prints_nothing() -> None:
    opening = {"open", "print", "input", "exec", "eval", "__import__"}
    assert not those(lambda name: functions(name) & opening, PURE)


def test_a_pure_module_does_not_know_what_time_it_is() -> None:
    assert not those(lambda name: methods(name) & {"now", "today", "utcnow"}, PURE)


def functions(name: str) -> set[str]:
    """Those that a module calls by a name alone."""
    return {node.func.id for node in calls(name) if isinstance(node.func, ast.Name)}


def methods(name: str) -> set[str]:
    """Those that it calls of something."""
    return {node.func.attr for node in calls(name) if isinstance(node.func, ast.Attribute)}


def calls(name: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(modules()[name]) if isinstance(node, ast.Call))


def test_processes_are_started_in_one_place() -> None:
    def starts(name: str) -> set[str]:
        started = {
            word for word in methods(name) if word in CALLS_OF_PROCESS or word.startswith(("exec", "spawn"))
        }
        return started - {"execute", "execute_task"} | {"subprocess"} & set(imported(name))

    assert set(those(starts)) == {"machine.process"}


def test_which_platform_it_is_is_asked_for_cards_in_one_place() -> None:
    def asked(name: str) -> set[str]:
        attributes = (node for node in ast.walk(modules()[name]) if isinstance(node, ast.Attribute))
        return {"sys.platform", "os.name"} & {ast.unparse(node) for node in attributes}

    assert those(asked).keys() <= ASK_THE_PLATFORM


@pytest.mark.parametrize("group", [FETCHERS, INJECTORS], ids=["golden", "inject"])
def test_adapters_do_not_know_each_other(group: list[str]) -> None:
    for name in set(group) & set(NAMES):
        assert not ours(name) & set(group), name


def test_goldens_injectors_and_cards_do_not_know_each_other() -> None:
    packages = {"boot", "golden", "inject", "card"}
    for name in NAMES:
        known = {found.partition(".")[0] for found in ours(name)} & packages
        assert known <= {name.partition(".")[0]} or name.partition(".")[0] not in packages, name


def test_every_injector_is_held_to_the_port() -> None:
    assert set(NAMED) == {name for name, adapter in ADAPTERS.items() if adapter.searches}


def test_only_the_composition_root_picks_an_injector() -> None:
    pickers = {name for name in NAMES if ours(name) & set(INJECTORS)}
    assert pickers <= {"lab.injectors", "lab.cards"}


# ------------------------------------------------------------------------------------ what load costs


def test_heavy_imports_are_lazy() -> None:
    def heavy(name: str) -> set[str]:
        top = {found.partition(".")[0] for found in imported(name, top_only=True)}
        own_names = {name, f"{name.partition('.')[0]}.*"}
        return {
            found for found in top if found in LAZY or not own_names & ONLY_AT_TOP_OF.get(found, own_names)
        }

    assert not those(heavy)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    for file, text in {
        "classes/pi.yaml": "arch: arm64\nos: debian\n",
        "nodes/titan-13.yaml": "class: pi\nnetwork: {address: 192.0.2.13/24}\n",
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    return tmp_path


@pytest.mark.parametrize("module", ["pipeline.dodo", "pipeline.cli"])
def test_loading_the_graph_or_the_command_line_loads_nothing_heavy(lab: Path, module: str) -> None:
    """A child does it, with an inventory of its own: `doit list` is quick, and works without a network."""
    heavy = sorted(LAZY | ONLY_AT_TOP_OF.keys())
    code = f"import {module}, json, sys; print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    said = process.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        extra_environment={
            "METIS_INVENTORY": str(lab),
            "METIS_ARTIFACTS": str(lab / "artifacts"),
            "PATH": os.environ["PATH"],
        },
    )
    assert set(json.loads(said.out)) <= ({"click"} if module == "pipeline.cli" else set())
