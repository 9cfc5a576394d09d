"""The port to a cluster by the real client: with the stand-in, and with that of METIS_TEST_KUBECONFIG.

Against a real cluster, Nodes of random names are made and removed again, and nothing else is touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kubernetes import client, config

from pipeline.cluster.client import connected
from pipeline.cluster.port import TAINTS_ANNOTATION, ChangedError, Cluster, Node, Taint
from tests.support import kube
from tests.support.apiserver import api_server

REAL = os.environ.get("METIS_TEST_KUBECONFIG", "")
MERGE = "application/merge-patch+json"
NOBODY = "192.0.2.99"
"""The address of Nodes that are none (RFC 5737)."""


class Bench:
    """A cluster as we see it, and as somebody else does who changes it meanwhile."""

    def __init__(self, kubeconfig: Path) -> None:
        cluster = connected({"KUBECONFIG": str(kubeconfig)})
        assert cluster is not None
        self.cluster: Cluster = cluster
        self.name = f"metis-test-{uuid4().hex[:12]}"
        settings = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=settings)
        self.somebody: Any = client.CoreV1Api(client.ApiClient(settings))

    def make(self, **about: Any) -> Node:
        self.somebody.create_node(bare(self.name, **about), field_manager="somebody")
        return self.now()

    def change(self, **metadata: Any) -> None:
        body = {"metadata": metadata}
        self.somebody.patch_node(self.name, body, field_manager="somebody", _content_type=MERGE)

    def remove(self) -> None:
        self.somebody.delete_node(self.name)

    def clean(self) -> None:
        with suppress(client.ApiException):
            self.remove()
        self.somebody.api_client.close()

    def now(self) -> Node:
        node = self.cluster.node(self.name)
        assert node is not None
        return node

    def surely(self, change: Callable[[Node], Node]) -> Node:
        """What a change comes to, once nobody else has changed the node meanwhile: controllers may."""
        for _ in range(20):
            with suppress(ChangedError):
                return change(self.now())
        raise AssertionError("the node is never left alone")


def bare(name: str, **about: Any) -> dict[str, Any]:
    """A Node with nothing that a real cluster would act on: no network of its pods, no labels of k3s."""
    made = kube.node(name, address=NOBODY, **about)
    kept = {key: dict(about.get(key) or {}) for key in ("labels", "annotations")}
    made["metadata"] = {"name": name, **kept}
    made["spec"] = {"unschedulable": True, "taints": made["spec"].get("taints", [])}
    return made


@pytest.fixture(params=["stand-in", *(["real"] if REAL else [])])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "real":
        made = Bench(Path(REAL))
        try:
            yield made
        finally:
            made.clean()
    else:
        with api_server() as server:
            made = Bench(server.kubeconfig(tmp_path))
            yield made
            made.clean()


def test_a_node_that_is_not_there_is_none(bench: Bench) -> None:
    assert bench.cluster.node(bench.name) is None


def test_a_node_is_as_it_was_made(bench: Bench) -> None:
    node = bench.make(labels={"hardware": "rpi4"}, annotations={"example.com/shelf": "7"})
    assert node.name == bench.name
    assert (node.labels["hardware"], node.annotations["example.com/shelf"]) == ("rpi4", "7")
    assert node.addresses == (NOBODY,)
    assert node.arch == "arm64"
    assert node.versions["k3s"] == "v1.31.4+k3s1"
    assert not node.applied_labels


def test_a_node_is_among_all_nodes_which_are_in_the_order_of_their_names(bench: Bench) -> None:
    bench.make()
    names = [node.name for node in bench.cluster.nodes()]
    assert bench.name in names
    assert names == sorted(names)


# ---------------------------------------------------------------------------------------------- apply


def test_what_is_applied_is_there_and_known_as_ours(bench: Bench) -> None:
    node = bench.cluster.apply(bench.make(), {"example.com/a": "1"}, {"example.com/b": "2"})
    assert (node.labels["example.com/a"], node.annotations["example.com/b"]) == ("1", "2")
    assert node.applied_labels == {"example.com/a"}
    assert node.applied_annotations == {"example.com/b"}
    assert bench.now().labels == node.labels


def test_what_is_not_applied_any_more_goes_and_what_others_have_set_stays(bench: Bench) -> None:
    node = bench.cluster.apply(
        bench.make(labels={"example.com/other": "x"}), {"example.com/a": "1"}, {"b": "2"}
    )
    node = bench.cluster.apply(node, {"example.com/c": "3"}, {})
    assert "example.com/a" not in node.labels
    assert "b" not in node.annotations
    assert (node.labels["example.com/c"], node.labels["example.com/other"]) == ("3", "x")
    assert node.applied_labels == {"example.com/c"}
    assert not node.applied_annotations


def test_what_others_have_set_otherwise_becomes_ours(bench: Bench) -> None:
    node = bench.cluster.apply(bench.make(labels={"example.com/a": "theirs"}), {"example.com/a": "ours"}, {})
    assert node.labels["example.com/a"] == "ours"
    assert node.applied_labels == {"example.com/a"}


def test_what_somebody_has_changed_since_is_not_ours_any_more(bench: Bench) -> None:
    bench.cluster.apply(bench.make(), {"example.com/a": "ours"}, {})
    bench.change(labels={"example.com/a": "theirs"})
    node = bench.now()
    assert not node.applied_labels
    assert bench.cluster.apply(node, {}, {}).labels["example.com/a"] == "theirs"


def test_nothing_is_applied_to_a_node_that_was_made_anew(bench: Bench) -> None:
    before = bench.make()
    bench.remove()
    bench.make()
    with pytest.raises(ChangedError, match=bench.name):
        bench.cluster.apply(before, {"example.com/a": "1"}, {})
    assert "example.com/a" not in bench.now().labels


def test_a_node_that_is_gone_is_not_made_by_applying_to_it(bench: Bench) -> None:
    before = bench.make()
    bench.remove()
    with pytest.raises(ChangedError):
        bench.cluster.apply(before, {"example.com/a": "1"}, {})
    assert bench.cluster.node(bench.name) is None


# --------------------------------------------------------------------------------------------- taints


def test_taints_are_replaced_together_with_what_is_remembered_of_them(bench: Bench) -> None:
    bench.make(taints=[Taint("example.com/old", "", "NoSchedule")])
    wanted = (Taint("example.com/a", "1", "NoSchedule"), Taint("example.com/b", "", "PreferNoSchedule"))
    node = bench.surely(
        lambda node: bench.cluster.replace_taints(node, wanted, "example.com/a,example.com/b")
    )
    assert [taint for taint in node.taints if taint.key.startswith("example.com")] == list(wanted)
    assert node.annotations[TAINTS_ANNOTATION] == "example.com/a,example.com/b"
    node = bench.surely(lambda node: bench.cluster.replace_taints(node, (), None))
    assert not [taint for taint in node.taints if taint.key.startswith("example.com")]
    assert TAINTS_ANNOTATION not in node.annotations


def test_what_a_taint_has_beside_stays(bench: Bench) -> None:
    made = bare(bench.name, taints=[Taint("example.com/a", "", "NoExecute")])
    made["spec"]["taints"][0]["timeAdded"] = "2026-11-29T01:00:00Z"
    bench.somebody.create_node(made)
    more = Taint("example.com/b", "", "NoSchedule")
    bench.surely(lambda node: bench.cluster.replace_taints(node, (*node.taints, more), None))
    taints = bench.somebody.read_node(bench.name).spec.taints
    assert [taint.time_added for taint in taints if taint.key == "example.com/a"] != [None]


def test_taints_of_a_node_that_has_changed_are_left_alone(bench: Bench) -> None:
    before = bench.make()
    bench.change(labels={"example.com/moved": "1"})
    with pytest.raises(ChangedError):
        bench.cluster.replace_taints(before, (Taint("example.com/a", "", "NoSchedule"),), "a")
    assert TAINTS_ANNOTATION not in bench.now().annotations


# ---------------------------------------------------------------------------------------------- member


def test_a_member_is_marked_for_removal(bench: Bench) -> None:
    bench.make()

    def mark(node: Node) -> Node:
        bench.cluster.mark_member_for_removal(node)
        return bench.now()

    assert bench.surely(mark).annotations["etcd.k3s.cattle.io/remove"] == "true"


@pytest.mark.parametrize("is_made_anew", [True, False])
def test_the_member_of_a_node_that_is_another_is_not_marked(bench: Bench, is_made_anew: bool) -> None:
    before = bench.make()
    bench.remove()
    if is_made_anew:
        bench.make()
    with pytest.raises(ChangedError):
        bench.cluster.mark_member_for_removal(before)
    now = bench.cluster.node(bench.name)
    assert now is None or "etcd.k3s.cattle.io/remove" not in now.annotations


# ----------------------------------------------------------------------------------------------- watch


def until(found: Iterator[Node | None], fits: Callable[[Node | None], bool]) -> Node | None:
    """The first state that fits; controllers of a real cluster make others between."""
    return next(node for node in found if fits(node))


def test_a_node_is_watched_from_what_it_is_through_each_change_to_its_end_and_beyond(bench: Bench) -> None:
    bench.make()
    watch = bench.cluster.watch(bench.name, 60)
    first = next(watch)
    assert first is not None
    bench.change(labels={"example.com/now": "1"})
    assert until(watch, lambda node: node is not None and node.labels.get("example.com/now") == "1")
    bench.remove()
    assert until(watch, lambda node: node is None) is None
    second = bench.make()
    assert until(watch, lambda node: node is not None and node.handle.uid == second.handle.uid)


def test_a_node_that_is_not_there_yet_is_waited_for(bench: Bench) -> None:
    watch = bench.cluster.watch(bench.name, 60)
    assert next(watch) is None
    bench.make()
    assert until(watch, lambda node: node is not None)


def test_a_watch_ends_when_its_time_is_up(bench: Bench) -> None:
    bench.make()
    assert None not in list(bench.cluster.watch(bench.name, 2))
