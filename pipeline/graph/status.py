"""Which images are up to date, and why the others are not, as the graph's own checks say; nothing is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..errors import MetisError
from ..lab.lab import Lab
from ..lab.plan import is_there
from ..steps.image_state import ImageState, built_at

IsCurrent = Callable[[str], bool]
"""Whether a task has nothing to do, by its name."""


def states(lab: Lab, names: tuple[str, ...], is_current: IsCurrent) -> Iterator[ImageState]:
    """How nodes' images are. What nodes share is asked for once for all of them."""
    known: dict[str, bool] = {}

    def remembered(task: str) -> bool:
        if task not in known:
            known[task] = is_current(task)
        return known[task]

    for name in names:
        built, klass = built_at(lab.artifacts.image(name)), lab.class_of(name)
        if built is None:
            yield ImageState(name, klass, "never built", _obvious(lab, name), None)
        else:
            why = _why(lab, name, remembered)
            yield ImageState(name, klass, "stale" if why else "fresh", why, built)


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
