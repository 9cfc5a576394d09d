"""YAML as the renderers write it: block style, keys in the order given."""

from __future__ import annotations

import re

import yaml

from ..model import Text, thaw

HEADER = "# Written by Metis; a change here is lost with the next card.\n"


class _Dumper(yaml.SafeDumper):
    """Quotes also texts that only others take for something else: k3s (Go's yaml.v2), and YAML 1.2."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^([-+]?\.?[0-9][0-9_.]*[eE][-+]?[0-9]+|0o[0-7]+)$"),
    list("-+.0123456789"),
)


def yaml_text(value: object) -> Text:
    """The value as a YAML document under a line that says who wrote it."""
    return Text(HEADER + yaml.dump(thaw(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True))
