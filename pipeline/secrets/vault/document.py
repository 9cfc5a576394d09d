"""A node's secrets as Vault has them: fields of a KV document, of which some may be other people's.

`extra` is a map, or a map as JSON in a string, as `vault kv put` leaves it. No message repeats a value, nor a
name that no secret may have: whatever stands in a wrong place may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...errors import SecretError
from ...secret import Secret
from ..node_file import EXTRA, FIELDS, is_name

Document = Mapping[str, Any]
_LOOK = "look there with `vault kv get`; it is not shown, as it may be secret"


def values_of(document: Document, place: str) -> dict[str, Secret]:
    """The secrets by name (`k3s_token`, `extra.machine_id`); fields that are none of ours are left out.

    `place` is what errors call the document.
    """
    found = {name: _secret(name, document[name], place) for name in FIELDS if name in document}
    for inner, text in _extra(document, place).items():
        name = f"{EXTRA}.{inner}"
        if not is_name(name):
            what = f"{place} has a name in {EXTRA} that no secret may have"
            raise SecretError(what, "it may have letters, digits, _ and -, and 64 of them at most")
        found[name] = _secret(name, text, place)
    _refuse_beside_extra(document, found, place)
    return found


def _refuse_beside_extra(document: Document, found: Mapping[str, Secret], place: str) -> None:
    """Raise SecretError for a part of the identity that would be passed over, and made anew."""
    from ..twins import UNIQUE

    for field in document:
        name = field if field.startswith(f"{EXTRA}.") else f"{EXTRA}.{field}"
        is_ours = name in UNIQUE or (field == name and is_name(name))
        if is_ours and name not in found:
            raise SecretError(
                f"{place} has {field} beside {EXTRA}, where nobody reads it", f"move it into {EXTRA}"
            )


def with_changes(document: Document, changes: Mapping[str, Secret], place: str) -> dict[str, Any]:
    """The document with secrets added or replaced; all else in it stays as it is."""
    inner = {
        name.removeprefix(f"{EXTRA}."): value.reveal()
        for name, value in changes.items()
        if name not in FIELDS
    }
    changed = dict(document)
    if inner:
        extra = {**_extra(document, place), **inner}
        changed[EXTRA] = json.dumps(extra) if isinstance(document.get(EXTRA), str) else extra
    return changed | {name: value.reveal() for name, value in changes.items() if name in FIELDS}


def _secret(name: str, value: object, place: str) -> Secret:
    if not isinstance(value, str):
        raise SecretError(f"{name} in {place} is no text", _LOOK)
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can name half of a pair of surrogates
        raise SecretError(f"{name} in {place} is no text of Unicode", _LOOK) from None
    return Secret(value)


def _extra(document: Document, place: str) -> dict[str, Any]:
    extra = document.get(EXTRA)
    if isinstance(extra, str) and extra.strip():
        try:
            extra = json.loads(extra, object_pairs_hook=_each_once)
        except (ValueError, RecursionError):
            extra = ()
    if extra is None or extra == "" or (isinstance(extra, str) and not extra.strip()):
        return {}
    if not isinstance(extra, dict):
        raise SecretError(f"{EXTRA} in {place} is neither a map of names and texts nor one as JSON", _LOOK)
    return extra


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found
