"""Who may do what, as Kubernetes' RBAC judges it: rules only ever allow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attempt:
    """One request as an authorizer sees it; without a namespace it is for the whole cluster.

    `name` is empty for a list or a watch, unless its fieldSelector is for one metadata.name.
    """

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    group: str = ""


@dataclass(frozen=True)
class Grant:
    """A rule of a role, and the namespace that it holds in; None for everywhere."""

    rule: Mapping[str, Any]
    namespace: str | None


def grants_of(documents: Iterable[Mapping[str, Any]]) -> tuple[Grant, ...]:
    """The rules of all roles, each where a binding in the same documents has it, for whomever.

    A ClusterRole that is bound nowhere here holds everywhere, a Role in its own namespace.
    """
    objects = [each for document in documents if document for each in document.get("items", [document])]
    scopes: dict[tuple[str, str], list[str | None]] = {}
    for each in objects:
        if each["kind"] in {"ClusterRoleBinding", "RoleBinding"}:
            where = None if each["kind"] == "ClusterRoleBinding" else _namespace(each)
            scopes.setdefault((each["roleRef"]["kind"], each["roleRef"]["name"]), []).append(where)
    return tuple(_grants(objects, scopes))


def _grants(
    objects: Iterable[Mapping[str, Any]], scopes: Mapping[tuple[str, str], list[str | None]]
) -> Iterator[Grant]:
    for role in objects:
        if role["kind"] == "Role":
            bound: list[str | None] = [_namespace(role)]
        elif role["kind"] == "ClusterRole":
            bound = scopes.get(("ClusterRole", role["metadata"]["name"]), [None])
        else:
            continue
        for where in bound:
            yield from (Grant(rule, where) for rule in role.get("rules") or ())


def _namespace(item: Mapping[str, Any]) -> str:
    return str(item["metadata"].get("namespace", "default"))


def allows(grants: Iterable[Grant], attempt: Attempt) -> bool:
    """Whether any rule fits; a rule with resourceNames never fits an attempt without a name."""
    return any(_fits(grant, attempt) for grant in grants)


def _fits(grant: Grant, attempt: Attempt) -> bool:
    rule = grant.rule
    names = rule.get("resourceNames") or ()
    return (
        grant.namespace in {None, attempt.namespace}
        and bool({"*", attempt.verb} & set(rule.get("verbs") or ()))
        and bool({"*", attempt.group} & set(rule.get("apiGroups") or ()))
        and bool({"*", attempt.resource} & set(rule.get("resources") or ()))
        and (not names or attempt.name in names)
    )
