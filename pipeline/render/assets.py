"""Scripts and units for a node, as they lie in `files/`, where editors and linters see what they are."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from ..model import Text


@cache
def asset(name: str) -> Text:
    """The text of `files/<name>`."""
    return Text(files("pipeline.render").joinpath("files", name).read_text("utf-8"))
