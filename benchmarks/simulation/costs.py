"""What the model is fed with: costs that were measured, each with how."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from .night import Costs

FILE = Path(__file__).with_name("costs.json")


def measured(file: Path = FILE) -> Costs:
    """The costs of a file, which has a `value` and a word of `how` for each field of `Costs`."""
    found = json.loads(file.read_text())
    return Costs(**{field.name: float(found[field.name]["value"]) for field in fields(Costs)})
