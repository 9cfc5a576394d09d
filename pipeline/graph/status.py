"""Which images are up to date, and why the others are not, as the graph's own checks say; nothing is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ..errors import MetisError
from ..lab.lab import Lab
from ..lab.plan import is_there
from ..steps import receipts
from ..steps.artifacts import receipt_of

State = Literal["fresh", "stale", "never built"]

IsCurrent = Callable[[str], bool]
"""Whether a task has nothing to do, by its name."""


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image as a build would find it; `built` is a time in UTC.

    `why` says what made it stale, or what keeps it from being built; it is empty for a fresh one.
    """

    node: str
    klass: str
    state: State
    why: str
    built: str | None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self)
        data["class"] = data.pop("klass")
        return data


def states(lab: Lab, names: tuple[str, ...], is_current: IsCurrent) -> Iterator[ImageState]:
    """How nodes' images are. What nodes share is asked for once for all of them."""
    known: dict[str, bool] = {}

    def remembered(task: str) -> bool:
        if task not in known:
            known[task] = is_current(task)
        return known[task]

    for name in names:
        built, klass = _built(lab, name), lab.class_of(name)
        if built is None:
            yield ImageState(name, klass, "never built", _obvious(lab, name), None)
        else:
            why = _why(lab, name, remembered)
            yield ImageState(name, klass, "stale" if why else "fresh", why, built)


def _built(lab: Lab, name: str) -> str | None:
    """When the image was finished, which its receipt was written for."""
    image = lab.artifacts.image(name)
    if receipts.read(image) is None or not image.is_file():
        return None
    when = datetime.fromtimestamp(receipt_of(image).stat().st_mtime, UTC)
    return when.isoformat(timespec="seconds")


def _obvious(lab: Lab, name: str) -> str:
    """Why a node cannot be built, as far as that shows without resolving it: its class, or another node."""
    try:
        lab.refuse_conflicts(name)
        if lab.class_of(name) not in lab.classes:
            lab.live_composer.node(name)
    except MetisError as error:
        return str(error)
    return ""


def _why(lab: Lab, name: str, is_current: IsCurrent) -> str:
    """The first thing, on the way to the image, that is not as it was when the image was made.

    Where something only looks otherwise, what would be made of it decides.
    """
    about, klass = lab.index.nodes[name], lab.class_of(name)
    shared = lab.index.classes[klass].overlays if klass in lab.index.classes else ()
    way = _way(name, klass, tuple(dict.fromkeys((*shared, *about.overlays))))
    why = next((words for task, words in way.items() if not is_current(task)), "")
    try:
        return "" if why and is_there(lab, name) else why
    except MetisError as error:
        return str(error)


def _way(name: str, klass: str, overlays: tuple[str, ...]) -> Mapping[str, str]:
    """The tasks that lead to an image, in their order, and what each one having to run says."""
    return {
        **{f"overlay:{folder}": f"{folder} changed" for folder in overlays},
        f"class:{klass}": f"class {klass} changed",
        f"golden:{klass}": f"the golden of {klass} is another, or not there",
        f"base:{klass}": f"the base of {klass} is another, or not there",
        f"manifest:{name}": "what the inventory says of it changed",
        f"image:{name}": "a secret, the image itself or Metis changed",
    }
