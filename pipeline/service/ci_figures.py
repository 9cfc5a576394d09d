"""Figures that the tests of Metis leave, in the text format of Prometheus, read as strictly as can be. Pure.

A line is `ariadne_ci_NAME{label="value"} NUMBER`; the label `repo="metis"` may be left out and is added. What
begins with # says nothing here. One line that is anything else, and none of the file is believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import MetisError

LARGEST = 64 << 10
MOST = 200
REPO = "metis"
_LINE = re.compile(
    r"""(?P<name>ariadne_ci_[a-z0-9_]{1,80})
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


def figures(data: bytes) -> list[Figure]:
    """The figures of a file. Raises MetisError, which does not name the file and repeats nothing of it."""
    if len(data) > LARGEST:
        raise MetisError(f"has more than {LARGEST >> 10} KiB")
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
        figure = _figure(text)
        if figure is None:
            raise MetisError(f"has a line {number} that is no figure of CI")
        if names.setdefault(figure.name, tuple(figure.labels)) != tuple(figure.labels):
            raise MetisError(f"has other labels in line {number} than before")
        key = (figure.name, tuple(figure.labels.items()))
        if key in found:
            raise MetisError(f"has a figure twice, again in line {number}")
        found[key] = figure
    if len(found) > MOST:
        raise MetisError(f"has more than {MOST} figures")
    return list(found.values())


def _figure(text: str) -> Figure | None:
    match = _LINE.fullmatch(text)
    if match is None:
        return None
    labels: dict[str, str] = {}
    for part in (match["labels"] or "").strip().removesuffix(",").split(",") if match["labels"] else ():
        label = _LABEL.fullmatch(part.strip())
        if label is None or label[1] in labels:
            return None
        labels[label[1]] = label[2]
    if labels.setdefault("repo", REPO) != REPO:
        return None
    return Figure(match["name"], MappingProxyType(dict(sorted(labels.items()))), float(match["value"]))
