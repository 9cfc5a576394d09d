"""The objects of the stand-in API server, and what requests do to them; refused in Kubernetes' words."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from tests.support import apiserver_fields as fields

Object = dict[str, Any]
KINDS = {"nodes": "Node", "secrets": "Secret", "configmaps": "ConfigMap", "events": "Event"}
RESOURCES = {kind: resource for resource, kind in KINDS.items()}
_SELECTABLE = {
    "nodes": {"metadata.name", "spec.unschedulable"},
    "secrets": {"metadata.name", "metadata.namespace", "type"},
    "configmaps": {"metadata.name", "metadata.namespace"},
    "events": {
        "metadata.name",
        "metadata.namespace",
        "reason",
        "type",
        *(f"involvedObject.{key}" for key in "kind namespace name uid apiVersion resourceVersion".split()),
    },
}
_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class RefusalError(Exception):
    """A request that fails; `status` is the object that says so."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = status(code, reason, message, **details)


def status(code: int, reason: str, message: str, **details: Any) -> Object:
    """A Status object of a failure."""
    said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return {**said, "reason": reason, **({"details": details} if details else {}), "code": code}


@dataclass(frozen=True)
class Place:
    """Where an object is, or objects are: the name is empty for all of a namespace, or of the cluster."""

    resource: str
    namespace: str
    name: str = ""


@dataclass(frozen=True)
class Event:
    """One change, as a watch tells of it."""

    version: int
    type: str
    place: Place
    object: Object


Selector = Mapping[str, str]


def selector_of(resource: str, text: str) -> Selector:
    """A fieldSelector of equalities."""
    found = {}
    for term in filter(None, text.split(",")):
        key, _, value = term.partition("=")
        if key not in _SELECTABLE[resource]:
            raise RefusalError(400, "BadRequest", f"field label not supported: {key}")
        found[key] = value.removeprefix("=")
    return found


def selects(selector: Selector, item: Object) -> bool:
    """Whether an object is one of those that are asked for."""
    return all(str(fields.at(item, tuple(key.split("."))) or "") == value for key, value in selector.items())


@dataclass
class Store:
    """All objects of a cluster. `changed` is notified of each change; hold it to look at several things."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    events: list[Event] = field(default_factory=list)
    oldest: int = 0
    """A watch from before this version is refused (410)."""
    _objects: dict[Place, Object] = field(default_factory=dict)
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1001))
    version: int = 1000

    def get(self, place: Place) -> Object:
        """A copy of one object."""
        try:
            return copy.deepcopy(self._objects[place])
        except KeyError:
            about = {"name": place.name, "kind": place.resource}
            message = f'{place.resource} "{place.name}" not found'
            raise RefusalError(404, "NotFound", message, **about) from None

    def matching(self, place: Place, selector: Selector) -> list[Object]:
        """Copies of the objects of a namespace, or of all, by namespace and name."""
        found = [
            (here.namespace, here.name, item)
            for here, item in self._objects.items()
            if here.resource == place.resource
            and place.namespace in {"", here.namespace}
            and selects(selector, item)
        ]
        return [copy.deepcopy(item) for _, _, item in sorted(found, key=lambda each: each[:2])]

    def listing(self, place: Place, selector: Selector, limit: int, token: str) -> Object:
        """A list, or a page of one; what changes between two pages may show in the second."""
        metadata: Object = {"resourceVersion": str(self.version)}
        items = self.matching(place, selector)
        if token:
            start = _start(token, self.oldest)
            items = [item for item in items if _key(item) > start]
        if 0 < limit < len(items):
            seen = {"v": "meta.k8s.io/v1", "rv": self.version, "start": _key(items[limit - 1])}
            metadata["continue"] = base64.urlsafe_b64encode(json.dumps(seen).encode()).decode()
            if not selector:
                metadata["remainingItemCount"] = len(items) - limit
            items = items[:limit]
        for item in items:  # only a single object says what it is
            item.pop("kind", None), item.pop("apiVersion", None)
        return {
            "kind": f"{KINDS[place.resource]}List",
            "apiVersion": "v1",
            "metadata": metadata,
            "items": items,
        }

    # ------------------------------------------------------------------------------------- changes

    def put(self, item: Object, manager: str, *, new: bool = False) -> Object:
        """Create or replace an object; with `new` it must not be there yet."""
        metadata = item["metadata"]
        place = Place(RESOURCES[item["kind"]], metadata.get("namespace", ""), metadata["name"])
        with self.changed:
            old = self._objects.get(place)
            if new and old is not None:
                about = {"name": place.name, "kind": place.resource}
                message = f'{place.resource} "{place.name}" already exists'
                raise RefusalError(409, "AlreadyExists", message, **about)
            made = copy.deepcopy(item)
            made["apiVersion"] = "v1"
            made["metadata"] = {"uid": str(uuid4()), "creationTimestamp": now(), **made["metadata"]}
            if old:
                kept = ("uid", "creationTimestamp", "resourceVersion")
                made["metadata"] |= {key: old["metadata"][key] for key in kept}
            fields.updated(old, made, manager, now())
            return self._keep(place, old, made)

    def merge(self, place: Place, patch: Object, manager: str) -> Object:
        """A merge patch; a uid or a resourceVersion in it must be the object's."""
        with self.changed:
            old = self.get(place)
            new = fields.merged(old, patch)
            _check(place, old, new)
            fields.updated(old, new, manager, now())
            return self._keep(place, old, new)

    def apply(self, place: Place, applied: Object, manager: str, *, force: bool) -> Object:
        """A server-side apply."""
        with self.changed:
            old = self._objects.get(place)
            stated = applied.get("metadata", {})
            if old is None:
                if uid := stated.get("uid"):
                    what = f"the provided object specified uid {uid}, and no existing object was found"
                    raise _conflict(place, f"uid mismatch: {what}")
                about = {"name": place.name, "namespace": place.namespace, "uid": str(uuid4())}
                new: Object = {"apiVersion": "v1", "kind": KINDS[place.resource], "metadata": about}
                new["metadata"]["creationTimestamp"] = now()
            else:
                new = copy.deepcopy(old)
                _check(place, old, fields.merged(old, {"metadata": stated}))
                if not force and (clashes := fields.conflicts(old, applied, manager)):
                    raise _apply_conflict(clashes)
            fields.apply_to(new, applied, manager, now())
            return self._keep(place, old, new)

    def delete(self, place: Place, preconditions: Mapping[str, str]) -> Object:
        """Delete an object which is the one that is meant."""
        with self.changed:
            old = self.get(place)["metadata"]
            for key, name, fate in (
                ("uid", "UID", "deleted and then recreated"),
                ("resourceVersion", "ResourceVersion", "modified"),
            ):
                wanted = preconditions.get(key)
                if wanted is not None and wanted != old[key]:
                    raise _conflict(
                        place,
                        f"the {name} in the precondition ({wanted}) does not match the {name} in record "
                        f"({old[key]}). The object might have been {fate}",
                    )
            self._tell("DELETED", place, self._objects.pop(place))
            about = {"name": place.name, "kind": place.resource, "uid": old["uid"]}
            return {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": about,
            }

    def compact(self) -> None:
        """Forget what was: watches can only go on from now."""
        with self.changed:
            self.oldest = next(self._versions)
            self.version = self.oldest

    def _keep(self, place: Place, old: Object | None, new: Object) -> Object:
        if old != new:
            self._objects[place] = new
            self._tell("MODIFIED" if old else "ADDED", place, new)
        return copy.deepcopy(new)

    def _tell(self, type_: str, place: Place, item: Object) -> None:
        self.version = next(self._versions)
        item["metadata"]["resourceVersion"] = str(self.version)
        self.events.append(Event(self.version, type_, place, copy.deepcopy(item)))
        self.changed.notify_all()


def now() -> str:
    """The time in the form of Kubernetes."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _key(item: Object) -> list[str]:
    return [item["metadata"].get("namespace", ""), item["metadata"]["name"]]


def _start(token: str, oldest: int) -> list[str]:
    try:
        seen = json.loads(base64.urlsafe_b64decode(token))
        start, version = list(seen["start"]), int(seen["rv"])
    except (ValueError, KeyError, TypeError):
        raise RefusalError(400, "BadRequest", "continue key is not valid: illegal base64 data") from None
    if version < oldest:
        raise RefusalError(
            410, "Expired", "The provided continue parameter is too old to display a consistent list result."
        )
    return start


def _check(place: Place, old: Object, new: Object) -> None:
    """What a patch may not change tells that another object, or another state of it, was meant."""
    before, after = old["metadata"], new["metadata"]
    if after.get("resourceVersion") != before["resourceVersion"]:
        raise _conflict(place, _MODIFIED)
    for key in ("uid", "name"):
        if after.get(key) != before[key]:
            what = f'Invalid value: "{after.get(key)}": field is immutable'
            cause = {"reason": "FieldValueInvalid", "message": what, "field": f"metadata.{key}"}
            kind = KINDS[place.resource]
            message = f'{kind} "{place.name}" is invalid: metadata.{key}: {what}'
            raise RefusalError(422, "Invalid", message, name=place.name, kind=kind, causes=[cause])


def _conflict(place: Place, why: str) -> RefusalError:
    message = f'Operation cannot be fulfilled on {place.resource} "{place.name}": {why}'
    return RefusalError(409, "Conflict", message, name=place.name, kind=place.resource)


def _apply_conflict(clashes: Mapping[str, list[fields.Path]]) -> RefusalError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}" using v1',
            "field": "".join(f".{step}" for step in path),
        }
        for manager, paths in clashes.items()
        for path in paths
    ]
    many = "conflict" if len(causes) == 1 else "conflicts"
    told = "\n".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    return RefusalError(409, "Conflict", f"Apply failed with {len(causes)} {many}: {told}", causes=causes)
