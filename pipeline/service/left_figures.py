"""Figures that others leave in a file, in the text format of Prometheus, read as strictly as can be. Pure.

A line is `PREFIX_NAME{label="value"} NUMBER`, where each writer has a prefix of its own; labels that all of a
writer's figures have may be left out and are added. What begins with # says nothing here. One line that is
anything else, and none of the file is believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import MetisError


@dataclass(frozen=True, slots=True)
class Writer:
    """Who leaves figures: how their names begin, and how many there may be, in a file of how many bytes."""

    name: str
    title: str
    prefix: str
    most: int
    largest: int
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


CI = Writer("ci", "the tests of Metis", "ariadne_ci_", most=200, largest=64 << 10, labels={"repo": "metis"})
NIGHT = Writer("night", "the last nightly run", "metis_nightly_", most=20_000, largest=2 << 20)
"""One figure for each node that failed."""
_LINE = re.compile(
    r"""(?P<name>[a-z0-9_]{1,80})
        (?:\{(?P<labels>[^{}]{0,400})\})?
        [ ]+(?P<value>[-+]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:e[-+]?[0-9]{1,2})?)""",
    re.X,
)
_LABEL = re.compile(r'([a-z][a-z0-9_]{0,40})="([A-Za-z0-9 ._:/@+-]{0,100})"')


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its name and labels."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Left:
    """What a writer's file has, nothing where it cannot be read."""

    figures: Sequence[Figure]
    is_readable: bool


def figures(data: bytes, writer: Writer) -> list[Figure]:
    """The figures of a file. Raises MetisError, which does not name the file and repeats nothing of it."""
    if len(data) > writer.largest:
        raise MetisError(f"has more than {writer.largest >> 10} KiB")
    if data and not data.endswith(b"\n"):
        raise MetisError("has a last line that does not end: it was not written to its end")
    try:
        lines = data.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise MetisError("has letters other than those of ASCII") from None
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Figure] = {}
    names: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        figure = _figure(text, writer)
        if figure is None:
            raise MetisError(f"has a line {number} that is no figure of {writer.title}")
        if names.setdefault(figure.name, tuple(figure.labels)) != tuple(figure.labels):
            raise MetisError(f"has other labels in line {number} than before")
        key = (figure.name, tuple(figure.labels.items()))
        if key in found:
            raise MetisError(f"has a figure twice, again in line {number}")
        found[key] = figure
    if len(found) > writer.most:
        raise MetisError(f"has more than {writer.most} figures")
    return list(found.values())


def _figure(text: str, writer: Writer) -> Figure | None:
    match = _LINE.fullmatch(text.removeprefix(writer.prefix)) if text.startswith(writer.prefix) else None
    if match is None:
        return None
    labels: dict[str, str] = {}
    for part in (match["labels"] or "").strip().removesuffix(",").split(",") if match["labels"] else ():
        label = _LABEL.fullmatch(part.strip())
        if label is None or label[1] in labels:
            return None
        labels[label[1]] = label[2]
    if any(labels.setdefault(name, value) != value for name, value in writer.labels.items()):
        return None
    in_order = MappingProxyType(dict(sorted(labels.items())))
    return Figure(writer.prefix + match["name"], in_order, float(match["value"]))
