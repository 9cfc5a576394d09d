"""What an API server is asked, by the path, the query and the body of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from tests.support.apiserver_objects import Place, Selector, selector_of

_PATHS = re.compile(r"/api/v1(?:/namespaces/([^/]+))?/(nodes|secrets|configmaps|events)(?:/([^/]+))?")


@dataclass
class Request:
    """What was asked. `verb` is Kubernetes' (get, list, watch, patch …), `body` as it was decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    verb: str
    resource: str
    namespace: str
    name: str
    body: Any = None
    content_type: str = ""
    user: str = ""
    changed: bool = field(default=False, compare=False)

    @property
    def place(self) -> Place:
        return Place(self.resource, self.namespace, self.name)

    @property
    def selector(self) -> Selector:
        return selector_of(self.resource, self.query.get("fieldSelector", ""))

    @property
    def subject(self) -> str:
        """What faults are matched by."""
        return f"{self.verb} {self.resource}/{self.name}" if self.resource else f"{self.verb} {self.path}"


def parsed(method: str, target: str, content_type: str, body: bytes) -> Request:
    """A request; what is for no resource that is known has none."""
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    found = _PATHS.fullmatch(parts.path)
    namespace, resource, name = (unquote(part or "") for part in (found.groups() if found else ("", "", "")))
    verbs = {
        "GET": "get" if name else "list",
        "PATCH": "patch",
        "DELETE": "delete",
        "POST": "create",
        "PUT": "update",
    }
    verb = verbs[method] if resource else method.lower()
    if verb == "list" and query.get("watch") in {"true", "1"}:
        verb = "watch"
    content_type = content_type.partition(";")[0].strip()
    decoded = yaml.safe_load(body) if "yaml" in content_type else json.loads(body) if body else None
    return Request(method, parts.path, query, verb, resource, namespace, name, decoded, content_type)
