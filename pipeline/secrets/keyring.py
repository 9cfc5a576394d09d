"""What a lab's nodes have of secrets: each node's own values, over those that all nodes share.

An image holds what its manifest names, so that it depends on these values alone: see `used`. Whether they
may have changed is told by the versions of the documents that they come from, which costs no reading.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MetisError, RefusedError, SeveralErrors, SourceError
from ..machine.once import shared_property
from ..model import Reveal, SecretRef
from ..secret import Secret
from .source import CLUSTER, ConflictError, SecretSource, Stored
from .used import UsedSecrets

if TYPE_CHECKING:
    from .twins import Twins

# What knows forms and keys is imported where it is used: most runs find nothing to do.

TRIES = 20
"""Each conflict means that somebody else got on: more of them is no race any more."""


@dataclass(frozen=True, slots=True)
class NodeSecrets:
    """The secrets of one node: its own document, and what it shares with all."""

    own: Stored
    shared: Stored

    @property
    def values(self) -> Mapping[str, Secret]:
        """All values by name; a node's own wins."""
        return {**self.shared.values, **self.own.values}


@dataclass(frozen=True, slots=True)
class Revealed:
    """The secrets of one node as they were read for one image.

    `used` decides about the image; `versions` says for people which documents they came from. `made` names
    what was missing of the identity, and was made and stored for this image.
    """

    reveal: Reveal
    used: Mapping[str, str]
    versions: Mapping[str, str]
    made: tuple[str, ...] = ()


class Keyring:
    """Reads what nodes need from one source; safe to use from threads."""

    def __init__(self, source: SecretSource, nodes: Iterable[str], used: UsedSecrets) -> None:
        self.source = source
        self._used = used
        self._nodes = tuple(nodes)
        self._expected: tuple[str, ...] = ()
        self._seen: dict[str, str | None] = {}
        self._out_of_reach: SourceError | None = None
        self._looking = threading.Lock()

    # ------------------------------------------------------------------------------------- looking

    def expect(self, nodes: Iterable[str]) -> None:
        """Say which nodes this run will ask for: they are then looked at together."""
        self._expected = tuple(nodes)

    def seen(self, node: str) -> str:
        """One word for the versions of all that a node may use, as they were when this run first looked.

        After `revealed` it is how they were at the latest before they were read for the image. Raises
        SourceError where nobody can tell.
        """
        with self._looking:
            if self._out_of_reach:
                raise self._out_of_reach
            if node not in self._seen or CLUSTER not in self._seen:
                self._look({CLUSTER, node, *self._expected} - self._seen.keys())
            versions = [self._seen[CLUSTER], self._seen[node]]
        if None in versions:
            raise SourceError(f"the version of {self.source.place(node)} cannot be told")
        return "+".join(map(str, (self.source.name, *versions)))

    def _look(self, owners: Collection[str]) -> None:
        try:
            found = self.source.versions(owners)
        except SourceError as error:
            self._out_of_reach = error
            raise
        self._seen |= {owner: found.get(owner) for owner in owners}

    def _version(self, owner: str) -> str | None:
        with suppress(SourceError):
            return self.source.versions([owner]).get(owner)
        return None

    # ------------------------------------------------------------------------------------- reading

    def read(self, node: str) -> NodeSecrets:
        """What a node has now; what all share, as this run first read it."""
        shared = self._shared
        return NodeSecrets(self.source.read(node), shared)

    @shared_property
    def _shared(self) -> Stored:
        """Looked at before it is read: what changes in between is seen by the next run."""
        if CLUSTER not in self._seen:
            self._seen[CLUSTER] = self._version(CLUSTER)
        from .twins import refuse_shared

        shared = self.source.read(CLUSTER)
        refuse_shared(self.source.place(CLUSTER), shared.values)
        return shared

    def used(self, node: str, refs: Sequence[SecretRef]) -> Mapping[str, str]:
        """What decides, of secrets, about an image that was made with these references; see `used`."""
        from . import identity

        values = self.read(node).values
        return self._used_of(identity.names(node, refs, values), values)

    def _used_of(self, names: Collection[str], values: Mapping[str, Secret]) -> Mapping[str, str]:
        return {self.source.name: self._used.digest(names, values)}

    def revealed(
        self, node: str, refs: Sequence[SecretRef], before: Mapping[str, str] | None = None
    ) -> Revealed:
        """What a node's references stand for; what is missing of its identity is made and stored first.

        `before` are the versions of the node's last image. Raises RefusedError where a new identity would be
        made although there was one, and MetisError where a secret is missing, not what it must be, or
        another node's too.
        """
        made = self._complete(node, refs, before)
        self._seen[node] = self._version(node)
        return self._revealed(node, refs, made)

    def revealed_as_they_are(self, node: str, refs: Sequence[SecretRef]) -> Revealed:
        """The same, but nothing is made: who carries out what another run has begun finds all there."""
        return self._revealed(node, refs, ())

    def _revealed(self, node: str, refs: Sequence[SecretRef], made: tuple[str, ...]) -> Revealed:
        from . import forms, identity

        found = self.read(node)
        values = found.values
        texts = forms.reveal_all(refs, node, values)
        names = identity.names(node, refs, values)
        faults = [fault for name in names if (fault := self.twin(node, name, values))]
        if faults:
            raise SeveralErrors(faults)
        return Revealed(texts.__getitem__, self._used_of(names, values), self._versions(names, found), made)

    def _complete(
        self, node: str, refs: Sequence[SecretRef], before: Mapping[str, str] | None
    ) -> tuple[str, ...]:
        """Make what is missing of a node's identity, unless something is that an operator must give.

        Gives the names of what was made here, and not by somebody who was faster.
        """
        from . import identity

        stored: tuple[str, ...] = ()
        for _ in range(TRIES):
            found = self.read(node)
            absent = identity.missing(node, refs, found.values)
            if lost := self.lost(node, absent, found.own, before):
                raise lost
            unknown = [name for name in absent if name not in identity.MAKERS]
            if unknown:
                raise identity.no_such(unknown, node, self.source)
            if not absent:
                return stored
            with suppress(ConflictError):
                made = {name: Secret(identity.MAKERS[name]()) for name in absent}
                self.source.put(node, made, found.own.version)
                stored += absent
        raise SourceError(f"the secrets of {node} change all the time", "run again")

    def lost(
        self, node: str, absent: Collection[str], own: Stored, before: Mapping[str, str] | None
    ) -> RefusedError | None:
        """What is wrong where a whole identity is gone, not yet to be made; `before` as for `revealed`."""
        from .twins import UNIQUE

        if not UNIQUE & set(absent) or UNIQUE & own.values.keys():
            return None
        kept = self.source.known(node)
        has_copy = any(self.twin(node, name, kept) is None for name in UNIQUE & kept.keys())
        if not (before and before.get("node")) and not has_copy:
            return None
        return RefusedError(
            f"{node} had an identity, and there is none in {self.source.place(node)}",
            "see that it is the right place, and mounted; `metis secrets copy` or `metis adopt` brings it "
            "there, and a new one is made where no receipt and no sealed copy of the node is left",
        )

    def _versions(self, names: Collection[str], found: NodeSecrets) -> Mapping[str, str]:
        shares = any(name in found.shared.values and name not in found.own.values for name in names)
        own = {"source": self.source.name, "node": found.own.version}
        return {**own, "cluster": found.shared.version} if shares else own

    def as_they_are(self, node: str) -> Reveal:
        """Reveals the secrets of a node as they are: nothing is made.

        What is missing raises SecretError; where the source is out of reach, it is asked once.
        """
        from . import forms

        found: list[Mapping[str, Secret] | MetisError] = []

        def reveal(ref: SecretRef) -> bytes:
            if not found:
                try:
                    found.append(self.read(node).values)
                except MetisError as error:
                    found.append(error)
            if isinstance(found[0], MetisError):
                raise found[0]
            return forms.reveal(ref, node, found[0])

        return reveal

    def twin(self, node: str, name: str, values: Mapping[str, Secret]) -> MetisError | None:
        """What is wrong where another node has the same value of what is one node's alone."""
        return self._twins.fault(node, name, values[name]) if name in values else None

    @shared_property
    def _twins(self) -> Twins:
        from .twins import Twins

        return Twins(self.source, self._nodes)
