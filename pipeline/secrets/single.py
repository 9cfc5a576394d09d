"""One secret that an operator gives, looked at before it is stored: what cannot be on a card is refused now.

A node's own is checked as that node's card needs it; a shared one as the cards of all who would use it do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import MetisError, SecretError, SeveralErrors, UsageError
from ..model import SecretRef
from ..secret import Secret
from .node_file import EXTRA, FIELDS, is_name
from .source import SecretSource
from .survey import unfit
from .twins import UNIQUE


def check_name(name: str, *, shared: bool) -> None:
    """Raise UsageError, which does not repeat the name, for one that no secret has or that is not shared."""
    if not is_name(name):
        # Who mixes up the words of a command may have put the value there.
        raise UsageError(
            f"no secret is called so: say {', '.join(FIELDS)} or {EXTRA}.WORD, of letters, digits, _ and -",
            "see `metis secrets status`; the value is asked for, or read with --stdin",
        )
    if shared and name in UNIQUE:
        raise UsageError(f"no two nodes may share {name}", "give it to one with --node")


def check_own(name: str, node: str, refs: Iterable[SecretRef], values: Mapping[str, Secret]) -> None:
    """Raise MetisError, without the value, where `values` has for `name` what no card could carry."""
    errors = list(unfit(name, refs, node, values))
    if errors:
        raise SeveralErrors(errors)


def check_shared(
    name: str, value: Secret, source: SecretSource, nodes: Mapping[str, Sequence[SecretRef]]
) -> tuple[str, ...]:
    """The nodes that would use a shared value, by their references; raises MetisError where one could not.

    Nodes that have a value of their own do not use it, and are not asked for before it matters.
    """
    using = []
    errors: list[MetisError] = []
    faulty: set[str] = set()
    for node, refs in nodes.items():
        forms = {ref.form for ref in refs if ref.name == name}
        if not forms or forms & faulty:
            continue
        found = list(unfit(name, refs, node, {name: value}))
        if found and name not in source.read(node).values:
            errors += found
            faulty |= forms
        elif not found:
            using.append(node)
    if errors:
        raise SecretError(
            f"the shared {name} does not fit all who would use it: {errors[0].message}", errors[0].hint
        )
    return tuple(using)
