"""Documents of secrets on their way from one source to another: nothing that differs is lost unasked.

A document is copied as it is, a node's own values apart from the shared ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import MetisError, RefusedError, SeveralErrors
from ..secret import Secret
from .putting import put
from .source import CLUSTER, SecretSource
from .twins import refuse_shared


@dataclass(frozen=True, slots=True)
class Step:
    """One owner's document: what is put, over which version, and the names that are the same already.

    `differing` are the names in `changes` that the target has with other values.
    """

    owner: str
    changes: Mapping[str, Secret]
    version: str
    same: tuple[str, ...]
    differing: tuple[str, ...]


def steps(
    origin: SecretSource, target: SecretSource, owners: Iterable[str], *, replace: bool
) -> tuple[Step, ...]:
    """What is to be copied, in the order of `owners`; nothing is written.

    Raises MetisError with all owners that cannot be read, or, without `replace`, that have other values.
    """
    found: list[Step] = []
    errors: list[MetisError] = []
    for owner in owners:
        try:
            found.append(_step(origin, target, owner))
        except MetisError as error:
            errors.append(error)
    if not replace:
        errors += [
            RefusedError(
                f"{target.place(step.owner)} has {', '.join(step.differing)} with other values",
                "say --replace if they are to be lost",
            )
            for step in found
            if step.differing
        ]
    if errors:
        raise SeveralErrors(errors)
    return tuple(found)


def carry_out(step: Step, target: SecretSource) -> None:
    """Put what a step has to put; the original may be removed on our word."""
    if step.changes:
        put(target, step.owner, step.changes, step.version)


def _step(origin: SecretSource, target: SecretSource, owner: str) -> Step:
    theirs, ours = origin.read(owner).values, target.read(owner)
    if owner == CLUSTER:
        refuse_shared(origin.place(owner), theirs)
    changes = {name: value for name, value in theirs.items() if ours.values.get(name) != value}
    return Step(
        owner,
        changes,
        ours.version,
        tuple(sorted(theirs.keys() - changes.keys())),
        tuple(sorted(ours.values.keys() & changes.keys())),
    )
