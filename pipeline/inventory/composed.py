"""The text of a YAML file as nodes that know where they stand in it, for edits that leave the rest alone.

`pin` replaces one value, `amend` sets several. What either refuses is said here, in the same words.
"""

from __future__ import annotations

from typing import Any

import yaml

from ..errors import MetisError
from ..wording import dotted
from .builder import Keys

_ALIAS = "*"
"""The style of a node that stands for an alias; no scalar has it."""


class _Loader(yaml.SafeLoader):
    """Leaves aliases where they stand; PyYAML gives the node of the anchor in their place."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            get_event: Any = self.get_event
            event = get_event()
            return yaml.ScalarNode("", event.anchor, event.start_mark, event.end_mark, style=_ALIAS)
        return super().compose_node(parent, index)


def composed(text: str, path: Keys) -> yaml.Node:
    """The top node of a document that `document.parse` takes, so within its limits.

    `path` is what messages are about. Raises MetisError for what others share.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:  # of names that are given twice it thinks otherwise than libyaml
        node = None
    if node is None:
        raise by_hand(path, "cannot be found")
    refuse_shared(node, text, path)
    return node


def values_of(node: yaml.Node, path: Keys) -> dict[str, yaml.Node]:
    """The nodes in a map by their keys; none where it is no map."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    if any(key.style == _ALIAS for key, _ in pairs):
        raise by_hand(path, "has a key that is an anchor, an alias or has a tag")
    return {key.value: value for key, value in pairs}


def refuse_shared(node: yaml.Node, text: str, path: Keys) -> None:
    """Raise for an anchor, for an alias and for a tag: others may change with it, or it may mean another."""
    if text[node.start_mark.index : node.start_mark.index + 1] in {"&", "!", "*"}:
        raise by_hand(path, "is an anchor, an alias or has a tag")


def refuse_block(node: yaml.Node, path: Keys) -> yaml.ScalarNode:
    """Give a scalar that can be replaced; raise for a map, a list and a block of lines."""
    if not isinstance(node, yaml.ScalarNode) or node.style in {"|", ">"}:
        raise by_hand(path, "is no value of one line")
    return node


def by_hand(path: Keys, what: str) -> MetisError:
    """What to say of a value that no edit can be sure of."""
    return MetisError(f"{dotted(path) or 'the document'} {what}", "edit it by hand")
