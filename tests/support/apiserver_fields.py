"""Who has set which field of an object: metadata.managedFields, and what it makes of a patch. Pure.

As in Kubernetes' reference of server-side apply (kubernetes.io/docs/reference/using-api/server-side-apply),
with every list taken as one value: `spec.taints` of a Node is such a one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
Owner = tuple[str, str, str]
"""A manager, its operation (Apply or Update), and the subresource that it asked for."""
Owners = dict[Owner, set[Path]]

ITSELF = "."
"""The last step of a path to a map itself, beside those to what is in it."""
_SYSTEM = frozenset(
    "name namespace uid resourceVersion creationTimestamp generation managedFields selfLink".split()
)


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of an object's values that somebody can own."""
    if path in {("apiVersion",), ("kind",)} or (
        len(path) == 2 and path[0] == "metadata" and path[1] in _SYSTEM
    ):
        return
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif path:
        yield path


def at(value: Any, path: Path) -> Any:
    """What is at a path; None where nothing is."""
    for step in path:
        if step == ITSELF:
            return value
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def put_at(value: dict[str, Any], path: Path, leaf: Any) -> None:
    """Have a value at a path, or nothing there for None; maps that this empties go."""
    if len(path) == 1:
        if leaf is None:
            value.pop(path[0], None)
        else:
            value[path[0]] = leaf
        return
    inner = value.get(path[0])
    if not isinstance(inner, dict):
        if leaf is None:
            return
        inner = value[path[0]] = {}
    put_at(inner, path[1:], leaf)
    if leaf is None and not inner:
        del value[path[0]]


def merged(value: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396) done to a value."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for key, inner in patch.items():
        if inner is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), inner)
    return result


# ------------------------------------------------------------------------------------ managedFields


def owners_of(item: Mapping[str, Any]) -> Owners:
    """Who owns what, by an object's managedFields."""
    return {
        _owner(entry): set(_paths(entry["fieldsV1"])) for entry in item["metadata"].get("managedFields", ())
    }


def _owner(entry: Mapping[str, Any]) -> Owner:
    return entry["manager"], entry["operation"], entry.get("subresource", "")


def _paths(fields: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    for key, inner in fields.items():
        step = (*path, key if key == ITSELF else key.removeprefix("f:"))
        if inner:
            yield from _paths(inner, step)
        else:
            yield step


def with_owners(item: dict[str, Any], owners: Owners, now: str) -> None:
    """Write managedFields; the time of an entry that says what it said stays."""
    before = {_owner(entry): entry for entry in item["metadata"].get("managedFields", ())}
    entries = []
    for owner, paths in owners.items():
        here = {path for path in paths if at(item, path) is not None}
        if not here:
            continue
        fields = _fields(here)
        old = before.get(owner)
        manager, operation, subresource = owner
        entries.append(
            {
                "manager": manager,
                "operation": operation,
                **({"subresource": subresource} if subresource else {}),
                "apiVersion": "v1",
                "time": old["time"] if old and old["fieldsV1"] == fields else now,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            }
        )
    item["metadata"]["managedFields"] = entries


def _fields(paths: set[Path]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path in sorted(paths):
        inner = result
        for step in path:
            inner = inner.setdefault(step if step == ITSELF else f"f:{step}", {})
    return result


def updated(old: Mapping[str, Any] | None, new: dict[str, Any], manager: str, now: str) -> None:
    """Note in `new` that a manager has made it of `old`: what it changed is its own alone."""
    owners = owners_of(old) if old else {}
    changed = {path for path in leaves(new) if old is None or at(old, path) != at(new, path)}
    for path in list(changed):
        if (
            path[:2] in {("metadata", "labels"), ("metadata", "annotations")}
            and at(old or {}, path[:2]) is None
        ):
            changed.add((*path[:2], ITSELF))
    for paths in owners.values():
        paths -= changed
    if changed:
        owners.setdefault((manager, "Update", ""), set()).update(changed)
    new["metadata"]["managedFields"] = list(old["metadata"].get("managedFields", ())) if old else []
    with_owners(new, owners, now)


def conflicts(live: Mapping[str, Any], applied: Mapping[str, Any], manager: str) -> dict[str, list[Path]]:
    """What another manager has otherwise than it is applied, by the managers' names."""
    found: dict[str, list[Path]] = {}
    for owner, paths in owners_of(live).items():
        if owner != (manager, "Apply", ""):
            clash = [
                path for path in leaves(applied) if path in paths and at(live, path) != at(applied, path)
            ]
            if clash:
                found[owner[0]] = sorted(clash)
    return found


def apply_to(result: dict[str, Any], applied: Mapping[str, Any], manager: str, now: str) -> None:
    """Apply with force: what is applied is so, and what was and is not any more goes unless others own it."""
    owners = owners_of(result)
    mine = set(leaves(applied))
    for path in mine:
        if at(result, path) != at(applied, path):
            for paths in owners.values():
                paths.discard(path)
            put_at(result, path, at(applied, path))
    dropped = owners.pop((manager, "Apply", ""), set()) - mine
    for path in dropped:
        if not any(path in paths for paths in owners.values()):
            put_at(result, path, None)
    owners[manager, "Apply", ""] = mine
    with_owners(result, owners, now)
