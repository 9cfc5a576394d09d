"""Hooks: what special hardware needs beside the concerns, as code of the lab's own.

A hook is a function `render(node)` that gives entries, as a concern of `render` does. The name `longhorn-hdd`
stands for the file `hooks/longhorn_hdd.py` of the inventory, or for an entry point of that name in the group
`metis.hooks` of an installed package; the inventory's own comes first. A hook is trusted as the inventory is:
it runs with the rights of whoever builds.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from .errors import InventoryError, MetisError, Problem
from .model import Entry, Renderer, ResolvedNode

FOLDER = "hooks"
GROUP = "metis.hooks"
KINDS = get_args(Entry)


class Hooks:
    """The hooks that the inventory in `root` may name; each is loaded once. Safe to use from threads."""

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER
        self._loaded: dict[str, Renderer] = {}
        self._lock = threading.Lock()

    def render(self, name: str, node: ResolvedNode) -> tuple[Entry, ...]:
        """What a hook makes of a node; raises MetisError, naming both, where it fails or is not there."""
        hook = self._hook(name, node)
        try:
            entries = tuple(hook(node))
        except MetisError:
            raise
        except Exception as error:
            text = f"hook {name} failed for {node.name}: {type(error).__name__}: {error}"
            raise MetisError(text, self._place(name)) from error
        strange = next((entry for entry in entries if not isinstance(entry, KINDS)), None)
        if strange is not None:
            raise MetisError(
                f"hook {name} gave a {type(strange).__name__} among its entries", self._place(name)
            )
        return entries

    def _hook(self, name: str, node: ResolvedNode) -> Renderer:
        with self._lock:
            if name not in self._loaded:
                found = self._of_inventory(name) or _installed(name)
                if found is None:
                    origin = node.origins[("hooks",)]
                    text = f"no hook {name!r}: expected {self._place(name)} or an entry point in {GROUP}"
                    raise InventoryError([Problem(origin.file, origin.line, "hooks", text)])
                self._loaded[name] = found
            return self._loaded[name]

    def _place(self, name: str) -> str:
        return f"{FOLDER}/{_module_name(name)}.py"

    def _of_inventory(self, name: str) -> Renderer | None:
        file = self._folder / f"{_module_name(name)}.py"
        if not file.is_file():
            return None
        # Not by importlib's loader, which would leave a __pycache__ in the inventory.
        module = ModuleType(f"metis_hooks.{_module_name(name)}")
        module.__file__ = str(file)
        sys.modules[module.__name__] = module  # dataclasses look their module up
        try:
            exec(compile(file.read_bytes(), file, "exec"), module.__dict__)  # noqa: S102 - see above
        except Exception as error:
            raise _not_loaded(name, error, self._place(name)) from error
        return _function(name, module)


def state(root: Path) -> list[Any]:
    """How everything looks that decides about hooks: the inventory's own, and what packages are installed."""
    own = sorted((root / FOLDER).glob("*.py"))
    # To ask for the entry points would take longer than all else that a run without work does. Whoever
    # installs, upgrades or removes a package changes a folder like this.
    packages = [Path(place) for place in sys.path if place.endswith("-packages")]
    return [[str(file), *_look(file)] for file in (*own, *packages) if file.exists()]


def _look(file: Path) -> tuple[int, int]:
    about = file.stat()
    return about.st_mtime_ns, about.st_size


def _module_name(name: str) -> str:
    return name.replace("-", "_")


def _installed(name: str) -> Renderer | None:
    from importlib import metadata

    point = next(iter(metadata.entry_points(group=GROUP, name=name)), None)
    if point is None:
        return None
    try:
        found = point.load()
    except Exception as error:
        raise _not_loaded(name, error, point.value) from error
    renderer: Renderer = _function(name, found) if isinstance(found, ModuleType) else found
    return renderer


def _not_loaded(name: str, error: Exception, place: str) -> MetisError:
    return MetisError(f"hook {name} cannot be loaded: {type(error).__name__}: {error}", place)


def _function(name: str, module: ModuleType) -> Renderer:
    render: Renderer | None = getattr(module, "render", None)
    if not callable(render):
        raise MetisError(f"hook {name} has no function `render(node)`", str(module.__file__))
    return render
