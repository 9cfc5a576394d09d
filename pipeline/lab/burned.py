"""What is left of burns: a receipt of each among the artifacts, also of a failed one, and the history."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..machine import durable
from ..machine.progress import Reporter
from ..steps import receipts
from ..steps.artifacts import Artifacts
from ..steps.burn import Report
from .history import keep_burns


def keep(artifacts: Artifacts, reporter: Reporter, node: str, klass: str, reports: Sequence[Report]) -> None:
    """Keep what came of the cards that a node's image was burned to; `klass` is empty if nobody knows it."""
    image = receipts.to_data(artifacts.image(node))
    try:
        for report in reports:
            when = report.at.translate(str.maketrans("", "", "-:")).partition("+")[0]
            about = {"node": node, **report.to_data(), "image": image}
            _keep_receipt(artifacts, node, f"{when}Z", durable.as_json(about))
    finally:
        keep_burns(artifacts, reporter, node, klass, reports)


def _keep_receipt(artifacts: Artifacts, node: str, when: str, about: bytes) -> None:
    """Where no receipt of a burn of the same second is: also others may burn cards side by side."""
    names = (f"{when}-{number}" if number else when for number in itertools.count())
    places = (artifacts.burn(node, each) for each in names)
    next(place for place in places if durable.write_once(place, about))
