"""What must be written so that a node's object is what the inventory wants, and what changes by it. Pure.

Of labels and annotations Kubernetes itself remembers which are ours (server-side apply). Taints it takes as
one list of whoever writes it, so ours are remembered in an annotation. A taint is known by key and effect:
there is one of each (ValidateNodeSpec in Kubernetes' pkg/apis/core/validation/validation.go).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import one_line
from .desired import Desired
from .port import TAINTS_ANNOTATION, Node, Taint

_CONDITIONS = "node.kubernetes.io/"
"""Taints that Kubernetes sets and removes itself; the inventory may name none, so none was ever ours."""
_MOST_REMEMBERED = 1 << 16
"""Characters of the annotation that are read; what is longer was not written by us."""


@dataclass(frozen=True, slots=True)
class Writes:
    """What is to be written: whether labels and annotations, and the taints as a whole.

    `taints` is None where they may stay; else `remembered` goes with them into TAINTS_ANNOTATION.
    """

    applies: bool
    taints: tuple[Taint, ...] | None
    remembered: str | None

    def __bool__(self) -> bool:
        return self.applies or self.taints is not None


def writes(node: Node, wanted: Desired) -> Writes:
    """What a node needs; nothing where it is as wanted."""
    taints, remembered = _taints(node, wanted.taints), _as_text(wanted.taints)
    same = (taints, remembered) == (node.taints, node.annotations.get(TAINTS_ANNOTATION))
    applies = not (
        _is_applied(wanted.labels, node.labels, node.applied_labels)
        and _is_applied(wanted.annotations, node.annotations, _applied_annotations(node))
    )
    return Writes(applies, None if same else taints, remembered)


def after(node: Node, wanted: Desired) -> Node:
    """A node as its writes leave it, where nobody else sets what Metis set."""
    written = writes(node, wanted)
    annotations = _merged(node.annotations, wanted.annotations, _applied_annotations(node))
    remembered = {} if written.remembered is None else {TAINTS_ANNOTATION: written.remembered}
    return replace(
        node,
        labels=_merged(node.labels, wanted.labels, node.applied_labels),
        annotations={key: text for key, text in annotations.items() if key != TAINTS_ANNOTATION} | remembered,
        taints=node.taints if written.taints is None else written.taints,
        applied_labels=frozenset(wanted.labels),
        applied_annotations=frozenset(wanted.annotations),
    )


def _is_applied(wanted: Mapping[str, str], found: Mapping[str, str], applied: frozenset[str]) -> bool:
    return applied == wanted.keys() and all(found.get(key) == value for key, value in wanted.items())


def _applied_annotations(node: Node) -> frozenset[str]:
    """Those of the inventory; that which remembers the taints is written with these."""
    return node.applied_annotations - {TAINTS_ANNOTATION}


def _merged(
    found: Mapping[str, str], wanted: Mapping[str, str], applied: frozenset[str]
) -> Mapping[str, str]:
    return {key: value for key, value in found.items() if key not in applied} | dict(wanted)


# --------------------------------------------------------------------------------------------- taints


def _id(taint: Taint) -> str:
    """What a taint is known by."""
    return f"{taint.key}:{taint.effect}"


def _taints(node: Node, wanted: tuple[Taint, ...]) -> tuple[Taint, ...]:
    """All taints as they should be, in their order, new ones behind."""
    declared = {_id(taint): taint for taint in wanted}
    given_up = remembered(node.annotations) - declared.keys()
    kept = {_id(taint): taint for taint in node.taints if _id(taint) not in given_up}
    return tuple((kept | declared).values())


def remembered(annotations: Mapping[str, str]) -> frozenset[str]:
    """Which taints Metis has set, by their keys and effects; none where somebody else wrote into that."""
    text = annotations.get(TAINTS_ANNOTATION, "")
    try:
        found: Any = json.loads(text) if len(text) <= _MOST_REMEMBERED else None
    except (ValueError, RecursionError):
        return frozenset()
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        return frozenset()
    return frozenset(each for each in found if not each.startswith(_CONDITIONS))


def _as_text(taints: tuple[Taint, ...]) -> str | None:
    """What `remembered` reads."""
    return json.dumps(sorted(map(_id, taints))) if taints else None


# -------------------------------------------------------------------------------------------- changes

Became = Literal["set", "removed", "taken over", "left to others"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is otherwise now: a label, an annotation or a taint, and what became of it.

    `taken over` is what had its value already, and `left to others` what somebody else has set too.
    """

    kind: Literal["label", "annotation", "taint"]
    name: str
    became: Became

    def __str__(self) -> str:
        return one_line(f"{self.kind} {self.name} {self.became}")


def changes(before: Node, now: Node, wanted: Desired) -> tuple[Change, ...]:
    """What became of what is or was ours; what others change meanwhile is no part of it."""
    labels = _told(_labels(before), _labels(now), wanted.labels)
    annotations = _told(_annotations(before), _annotations(now), wanted.annotations)
    taints = _told(_held_taints(before), _held_taints(now), map(_id, wanted.taints))
    return (
        *(
            Change("label", key if value is None else f"{key}={value}", became)
            for key, value, became in labels
        ),
        *(Change("annotation", key, became) for key, _, became in annotations),
        *(Change("taint", value or key, became) for key, value, became in taints),
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """What a node has, and which of it is ours."""

    values: Mapping[str, str]
    ours: frozenset[str]


def _labels(node: Node) -> _Held:
    return _Held(node.labels, node.applied_labels)


def _annotations(node: Node) -> _Held:
    return _Held(node.annotations, _applied_annotations(node))


def _held_taints(node: Node) -> _Held:
    return _Held({_id(taint): str(taint) for taint in node.taints}, remembered(node.annotations))


def _told(before: _Held, now: _Held, wanted: Iterable[str]) -> Iterator[tuple[str, str | None, Became]]:
    """What became of each that is or was ours, with its value if it has one now."""
    for key in sorted({*wanted, *before.ours}):
        was, value = before.values.get(key), now.values.get(key)
        if was != value:
            yield key, value, "removed" if value is None else "set"
        elif value is not None and (key in now.ours) != (key in before.ours):
            yield key, value, "taken over" if key in now.ours else "left to others"
