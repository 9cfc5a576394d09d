"""YAML as the renderers write it: block style, keys in the order given."""

from __future__ import annotations

import yaml

from ..model import Text, thaw

HEADER = "# Written by Metis; a change here is lost with the next card.\n"


def yaml_text(value: object) -> Text:
    """The value as a YAML document under a line that says who wrote it."""
    return Text(HEADER + yaml.safe_dump(thaw(value), sort_keys=False, allow_unicode=True))
