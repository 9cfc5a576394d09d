"""What there is of the secrets that a node needs, for who asks before a build; nothing is made by asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import MetisError, SourceError
from ..model import SecretRef
from ..secret import Secret, SecretState
from . import identity
from .forms import reveal
from .keyring import Keyring, NodeSecrets
from .password import SALT

TO_BE_MADE = "will be made"
_ANY_SALT = Secret("." * 16)


def survey(
    keyring: Keyring, node: str, refs: Sequence[SecretRef], before: Mapping[str, str] | None = None
) -> tuple[SecretState, ...]:
    """The state of each secret of a node, in the order of `refs`, each name once.

    `before` are the versions of the node's last image: a lost identity is not made anew.
    """
    try:
        found = keyring.read(node)
    except MetisError as error:
        return not_checked(refs, error)
    return states(keyring, node, refs, found, before)


def not_checked(refs: Sequence[SecretRef], error: MetisError) -> tuple[SecretState, ...]:
    """The states where nothing could be read; a source out of reach says nothing against the secrets."""
    fault = None if isinstance(error, SourceError) else error
    return tuple(SecretState(name, "not checked", str(error), fault) for name in _names(refs))


def states(
    keyring: Keyring,
    node: str,
    refs: Sequence[SecretRef],
    found: NodeSecrets,
    before: Mapping[str, str] | None = None,
) -> tuple[SecretState, ...]:
    """The same for what was read already."""
    values = found.values
    missing = identity.missing(node, refs, values)
    names = [*_names(refs), *(name for name in missing if name == SALT)]
    lost = keyring.lost(node, missing, found.own, before)
    said = (_state(name, refs, keyring, node, values, name in missing) for name in names)
    return tuple(
        replace(state, state="missing", detail=str(lost), fault=lost)
        if lost and state.state == TO_BE_MADE
        else state
        for state in said
    )


def _names(refs: Sequence[SecretRef]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ref.name for ref in refs))


def _state(
    name: str,
    refs: Sequence[SecretRef],
    keyring: Keyring,
    node: str,
    values: Mapping[str, Secret],
    is_missing: bool,
) -> SecretState:
    if name in values:
        error = next(unfit(name, refs, node, values), None)
        if error:
            return SecretState(name, "malformed", str(error), error)
        if twin := keyring.twin(node, name, values):
            return SecretState(name, "shared", str(twin), twin)
        own = [ref for ref in refs if ref.name == name]
        return SecretState(name, "there", " ".join(_remarks(own, values[name])))
    if not is_missing:
        return SecretState(name, "none", "the node does without")
    if name in identity.MAKERS:
        return SecretState(name, TO_BE_MADE, f"kept in {keyring.source.place(node)}")
    error = identity.no_such([name], node, keyring.source)
    return SecretState(name, "missing", str(error), error)


def unfit(
    name: str, refs: Iterable[SecretRef], node: str, values: Mapping[str, Secret]
) -> Iterator[MetisError]:
    """The errors of all forms that one secret is to have; a salt that is still to be made is none."""
    for ref in refs:
        if ref.name != name:
            continue
        try:
            reveal(ref, node, {SALT: _ANY_SALT, **values})
        except MetisError as error:
            yield error


def _remarks(refs: Sequence[SecretRef], value: Secret) -> Iterator[str]:
    """What an operator should know of a secret with which the node works (docs.k3s.io/cli/token)."""
    if any(ref.form == "k3s-token" for ref in refs):
        credentials = value.reveal().partition("::")[2]
        if credentials.startswith("server:"):
            yield "a server's token: with it an agent's card opens the whole cluster, agent-token does not"
        elif ":" not in credentials:
            yield "a bootstrap token: it runs out, so the card is of use for as long only"
