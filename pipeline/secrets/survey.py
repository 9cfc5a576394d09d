"""What there is of the secrets that a node needs, for who asks before a build; nothing is made by asking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..errors import MetisError, SourceError
from ..model import SecretRef
from ..plan import SecretState
from . import identity
from .forms import SALT, reveal
from .secret import Secret
from .source import SecretSource

_ANY_SALT = Secret("." * 16)


def survey(source: SecretSource, node: str, refs: Sequence[SecretRef]) -> tuple[SecretState, ...]:
    """The state of each secret of a node, in the order of `refs`, each name once."""
    try:
        values = source.read(node).values
    except SourceError as error:
        return tuple(SecretState(name, "not checked", str(error)) for name in _names(refs))
    except MetisError as error:
        return tuple(SecretState(name, "not checked", str(error), error) for name in _names(refs))
    missing = identity.missing(node, refs, values)
    names = [*_names(refs), *(name for name in missing if name == SALT)]
    return tuple(_state(name, refs, source, node, values, name in missing) for name in names)


def _names(refs: Sequence[SecretRef]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ref.name for ref in refs))


def _state(
    name: str,
    refs: Sequence[SecretRef],
    source: SecretSource,
    node: str,
    values: Mapping[str, Secret],
    is_missing: bool,
) -> SecretState:
    if name in values:
        error = next(_unfit([ref for ref in refs if ref.name == name], node, values), None)
        return SecretState(name, "malformed", str(error), error) if error else SecretState(name, "there")
    if not is_missing:
        return SecretState(name, "none", "the node does without")
    if name in identity.MAKERS:
        return SecretState(name, "will be made", f"kept in {source.place(node)}")
    error = identity.no_such([name], node, source)
    return SecretState(name, "missing", str(error), error)


def _unfit(refs: Sequence[SecretRef], node: str, values: Mapping[str, Secret]) -> Iterator[MetisError]:
    """The errors of all forms that one secret is to have; a salt that is still to be made is none."""
    for ref in refs:
        try:
            reveal(ref, node, {SALT: _ANY_SALT, **values})
        except MetisError as error:
            yield error
