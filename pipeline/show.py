"""A resolved node for people: as YAML, and with the place that each value came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from .model import DeclaredGolden, ResolvedNode, thaw
from .wording import masked

WIDEST = 48
"""Characters; a longer value, such as a key, makes its own line long and not all others."""


def node(resolved: ResolvedNode) -> dict[str, Any]:
    """A resolved node as plain data, in the order in which people ask."""
    klass = resolved.klass
    golden = klass.golden
    return {
        "node": resolved.name,
        "class": klass.name,
        "layers": [layer.name for layer in (*klass.layers, resolved.layer)],
        "arch": klass.arch,
        "os": klass.os,
        "image": _golden(golden) if golden else None,
        "partitions": {side: {"label": label} for side, label in klass.labels.items()},
        "overlays": [
            {"layer": item.layer, "side": item.side, "folder": item.folder}
            for layer in (*klass.layers, resolved.layer)
            for item in layer.overlays
        ],
        "files": [
            {
                "path": item.path,
                "source": masked(item.source),
                "sha256": item.sha256,
                "mode": f"{item.mode:04o}",
            }
            for item in klass.files
        ],
        **thaw(resolved.settings),
        "hostname": resolved.hostname,
    }


def _golden(golden: DeclaredGolden) -> dict[str, Any]:
    """A golden as declared, with what it is checked by where that was said."""
    about: dict[str, Any] = {"source": masked(golden.source), "sha256": golden.sha256}
    if golden.mirrors:
        about["mirrors"] = [masked(source) for source in golden.mirrors]
    if golden.sums:
        about["sums"] = masked(golden.sums)
    if golden.signature:
        source = masked(golden.signature.source) if golden.signature.source else None
        about["signature"] = {"source": source, "keyring": golden.signature.keyring}
    return {**about, "headroom": golden.headroom}


def as_yaml(data: Mapping[str, Any]) -> str:
    """Plain data as a YAML document."""
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True)


def origins(resolved: ResolvedNode) -> dict[str, Any]:
    """By dotted path: the value, and the file and line that it came from."""
    data = node(resolved)
    return {
        ".".join(path): {"value": _value(data, path), "origin": str(origin)}
        for path, origin in sorted(resolved.origins.items())
    }


def explained(resolved: ResolvedNode) -> str:
    """A line for each value: its path, the value, and where it came from."""
    rows = [(path, str(about["value"]), about["origin"]) for path, about in origins(resolved).items()]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    value_width = min(widths[1], WIDEST)
    return "".join(f"{path:{widths[0]}}  {value:{value_width}}  # {origin}\n" for path, value, origin in rows)


def _value(data: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - whatever the inventory has there
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data
