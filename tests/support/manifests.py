"""What deploy/kubernetes gives a cluster, as Debian's kubectl renders it, and the checkers of it.

That kubectl (1.20) has the oldest kustomize that is still about: what it understands, all do. It is unpacked,
not installed, as a machine may have another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

from pipeline.machine import process
from tests.support.goldens import cached
from tests.support.lab import REPOSITORY

Object = Mapping[str, Any]
FOLDER = REPOSITORY / "deploy/kubernetes"
VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""Of Kubernetes: the one that the lab runs, and the newest whose schemas there are."""
_PACKAGE = "kubernetes-client"


def _closed(required: str, **properties: object) -> Object:
    """The schema of a map that has no other keys than these."""
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT, _LABELS = {"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}
_NAMES = {"type": "array", "items": _TEXT}
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
_ENDPOINT = _closed(
    "port",
    port=_TEXT,
    path=_TEXT,
    scheme={"enum": ["http", "https"]},
    interval=_DURATION,
    scrapeTimeout=_DURATION,
    authorization=_closed("credentials", type=_TEXT, credentials=_closed("name key", name=_TEXT, key=_TEXT)),
)
_ALERT = _closed(
    "alert expr", alert=_TEXT, expr=_TEXT, labels=_LABELS, annotations=_LABELS, **{"for": _DURATION}
)
_GROUP = _closed("name rules", name=_TEXT, rules={"type": "array", "minItems": 1, "items": _ALERT})
_SPECS = {
    "ServiceMonitor": _closed(
        "selector endpoints",
        selector=_closed("matchLabels", matchLabels=_LABELS),
        namespaceSelector=_closed("matchNames", matchNames=_NAMES),
        endpoints={"type": "array", "minItems": 1, "items": _ENDPOINT},
    ),
    "PrometheusRule": _closed("groups", groups={"type": "array", "minItems": 1, "items": _GROUP}),
}
_OPERATOR = {
    kind: _closed(
        "apiVersion kind metadata spec",
        apiVersion={"const": "monitoring.coreos.com/v1"},
        kind={"const": kind},
        metadata=_closed("name namespace", name=_TEXT, namespace=_TEXT, labels=_LABELS),
        spec=spec,
    )
    for kind, spec in _SPECS.items()
}
"""What is used here of the Prometheus Operator's kinds, by its API reference: no package has its schemas."""


def kustomizations() -> list[str]:
    """Each folder that kubectl may be given, relative to FOLDER."""
    return sorted(str(file.parent.relative_to(FOLDER)) for file in FOLDER.rglob("kustomization.yaml"))


@cache
def rendered(folder: str, below: Path = FOLDER) -> tuple[Object, ...]:
    """What a kustomization comes to. Raises ToolError where it cannot be built."""
    said = process.run([kubectl(), "kustomize", below / folder], timeout=60)
    return tuple(yaml.safe_load_all(said.out))


def name_of(item: Object) -> str:
    """An object in words."""
    return f"{item['kind']}/{item['metadata']['name']}"


def faults(item: Object) -> Iterator[str]:
    """What the schema of its kind has against an object, in each of VERSIONS."""
    if schema := _OPERATOR.get(item["kind"]):
        yield from (error.message for error in Draft202012Validator(schema).iter_errors(item))
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            yield f"{version}: there is no {item['apiVersion']} {item['kind']}"
        except kubernetes_validate.ValidationError as error:
            yield f"{version}: {error.message}"


def kubectl() -> Path:
    """Debian's."""
    return cached("kubectl", _PACKAGE, _unpack)


def _unpack(program: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process.run(["apt-get", "download", "-qq", _PACKAGE], cwd=folder, timeout=300)
        (package,) = folder.glob("*.deb")
        process.run(["dpkg-deb", "--extract", package, folder], timeout=60)
        program.write_bytes((folder / "usr/bin/kubectl").read_bytes())
        program.chmod(0o755)
