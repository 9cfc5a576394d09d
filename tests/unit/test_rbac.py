"""Who may do what by the roles of some YAML: the stand-in API server judges by it (kubernetes.io: RBAC)."""

from __future__ import annotations

import pytest
import yaml

from tests.support.rbac import Attempt, allows, grants_of

ROLES = """
kind: ClusterRole
metadata: {name: reads}
rules:
  - {apiGroups: [""], resources: [nodes], verbs: [get, list, watch]}
  - {apiGroups: [""], resources: [secrets], resourceNames: [one], verbs: [get, list, delete]}
---
kind: ClusterRole
metadata: {name: bound}
rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]
---
kind: RoleBinding
metadata: {name: bound, namespace: kube-system}
roleRef: {kind: ClusterRole, name: bound}
---
kind: Role
metadata: {name: own, namespace: default}
rules: [{apiGroups: [""], resources: [events], verbs: [list]}]
---
kind: ServiceAccount
metadata: {name: metis}
"""


@pytest.mark.parametrize(
    ("attempt", "may"),
    [
        (Attempt("get", "nodes", name="a"), True),
        (Attempt("list", "nodes"), True),
        (Attempt("patch", "nodes", name="a"), False),
        (Attempt("delete", "nodes", name="a"), False),
        (Attempt("get", "nodes", name="a", group="metrics.k8s.io"), False),
        (Attempt("get", "nodes/status", name="a"), False),
        (Attempt("get", "secrets", "kube-system", "one"), True),
        (Attempt("get", "secrets", "kube-system", "two"), False),
        (Attempt("delete", "secrets", "kube-system", "one"), True),
        (Attempt("list", "secrets", "kube-system"), False),
        (Attempt("list", "secrets", "kube-system", "one"), True),
        (Attempt("get", "configmaps", "kube-system", "x"), True),
        (Attempt("get", "configmaps", "default", "x"), False),
        (Attempt("list", "configmaps"), False),
        (Attempt("list", "events", "default"), True),
        (Attempt("list", "events"), False),
        (Attempt("list", "events", "kube-system"), False),
    ],
    ids=str,
)
def test_an_attempt_is_allowed_by_a_rule_that_fits_it_and_by_nothing_else(
    attempt: Attempt, may: bool
) -> None:
    assert allows(grants_of(yaml.safe_load_all(ROLES)), attempt) is may


def test_nothing_is_allowed_without_a_role() -> None:
    assert not allows(grants_of([]), Attempt("get", "nodes", name="a"))


def test_roles_in_a_list_count_too() -> None:
    (role, *_) = yaml.safe_load_all(ROLES)
    listed = {"kind": "List", "items": [role]}
    assert allows(grants_of([listed, None]), Attempt("watch", "nodes"))  # type: ignore[list-item]
