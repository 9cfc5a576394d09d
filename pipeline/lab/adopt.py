"""The identity that a node already has, taken into a lab's secrets."""

from __future__ import annotations

from pathlib import Path

from ..adopt.source import parse
from ..steps import adoption, capture
from ..steps.adoption import Adoption
from .lab import Lab


def adopt(
    lab: Lab,
    name: str,
    source: str,
    *,
    replace: bool = False,
    renamed: bool = False,
    ssh_config: Path | None = None,
) -> Adoption:
    """Store the identity that a source, as an operator names it, has of a node; see `steps.adoption`."""
    lab.refuse_unknown(name)
    origin = parse(source)

    def root_label() -> str | None:
        return lab.live_composer.node(name).klass.labels.get("root")

    with lab.reporter.step(f"{name}: reading {origin}"):
        files = capture.capture(origin, capture.Tools(lab.injector, root_label, ssh_config))
    hosts = {node: about.hostname for node, about in lab.index.nodes.items()}
    return adoption.adopt(name, str(origin), files, lab.keyring, hosts, replace=replace, renamed=renamed)
