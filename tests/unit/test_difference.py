"""What is written onto a node's object, and what stays: what others have set, and what is as wanted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster.desired import Desired, desired, name_in_cluster
from pipeline.cluster.difference import after, changes, remembered, writes
from pipeline.cluster.port import TAINTS_ANNOTATION, Handle, Node, Taint
from tests.support.rendering import node_of

NODE = Node(
    name="titan-13",
    handle=Handle("uid", "1"),
    created=datetime(2026, 11, 1, tzinfo=UTC),
    ready="True",
    since=None,
    heard=None,
    reason="",
    addresses=(),
    labels={},
    annotations={},
    taints=(),
    versions={},
    arch="arm64",
    machine_id="",
)
STORAGE = Taint("dedicated", "storage", "NoSchedule")
OF_OTHERS = Taint("node.kubernetes.io/unreachable", "", "NoExecute")
OURS = {TAINTS_ANNOTATION: '["dedicated:NoSchedule"]'}
NOTHING = Desired({}, {}, ())


def has(**parts: object) -> Node:
    return replace(NODE, **parts)  # type: ignore[arg-type]


def wants(labels: dict[str, str] | None = None, *taints: Taint, **annotations: str) -> Desired:
    return Desired(labels or {}, annotations, taints)


LABELS = {"role": "a"}
CASES = {
    "nothing wanted, nothing there": (NODE, NOTHING, []),
    "what others have": (has(labels=LABELS, annotations=LABELS, taints=(OF_OTHERS,)), NOTHING, []),
    "a new label": (NODE, wants(LABELS), ["label role=a set"]),
    "an empty label": (NODE, wants({"role": ""}), ["label role= set"]),
    "a label of another value": (has(labels={"role": "b"}), wants(LABELS), ["label role=a set"]),
    "a label that somebody else has set so": (has(labels=LABELS), wants(LABELS), ["label role=a taken over"]),
    "a label that is as wanted": (has(labels=LABELS, applied_labels=frozenset(LABELS)), wants(LABELS), []),
    "a label that was ours": (
        has(labels={**LABELS, "x": "y"}, applied_labels=frozenset(LABELS)),
        NOTHING,
        ["label role removed"],
    ),
    "an annotation": (NODE, wants(None, rack="7"), ["annotation rack set"]),
    "an annotation that was ours": (
        has(annotations={"rack": "7", "x": "y"}, applied_annotations=frozenset({"rack"})),
        NOTHING,
        ["annotation rack removed"],
    ),
    "a new taint beside one of others": (
        has(taints=(OF_OTHERS,)),
        wants(None, STORAGE),
        ["taint dedicated=storage:NoSchedule set"],
    ),
    "a taint that the card brought": (
        has(taints=(STORAGE,)),
        wants(None, STORAGE),
        ["taint dedicated=storage:NoSchedule taken over"],
    ),
    "a taint of another value": (
        has(taints=(replace(STORAGE, value="x"),), annotations=OURS),
        wants(None, STORAGE),
        ["taint dedicated=storage:NoSchedule set"],
    ),
    "a taint that is as wanted": (has(taints=(STORAGE,), annotations=OURS), wants(None, STORAGE), []),
    "a taint that was ours": (
        has(taints=(STORAGE, OF_OTHERS), annotations=OURS),
        NOTHING,
        ["taint dedicated:NoSchedule removed"],
    ),
    "a taint of the same key and another effect stays": (
        has(taints=(STORAGE, replace(STORAGE, effect="NoExecute")), annotations=OURS),
        NOTHING,
        ["taint dedicated:NoSchedule removed"],
    ),
    "a taint that was ours and is gone already": (has(annotations=OURS), NOTHING, []),
}


@pytest.mark.parametrize(("node", "wanted", "lines"), CASES.values(), ids=CASES.keys())
def test_what_changes_is_said_a_line_each(node: Node, wanted: Desired, lines: list[str]) -> None:
    assert [str(change) for change in changes(node, after(node, wanted), wanted)] == lines


@pytest.mark.parametrize(
    ("node", "wanted", "applies", "taints"),
    [
        (NODE, NOTHING, False, None),
        (NODE, wants(LABELS), True, None),
        (has(labels=LABELS), wants(LABELS), True, None),
        (NODE, wants(None, STORAGE), False, (STORAGE,)),
        (has(annotations=OURS), NOTHING, False, ()),
        (has(annotations=OURS, applied_annotations=frozenset(OURS)), wants(None), False, ()),
        (has(taints=(STORAGE,)), wants(LABELS, STORAGE), True, (STORAGE,)),
    ],
)
def test_only_what_differs_is_written(
    node: Node, wanted: Desired, applies: bool, taints: tuple[Taint, ...] | None
) -> None:
    found = writes(node, wanted)
    assert (found.applies, found.taints, bool(found)) == (applies, taints, applies or taints is not None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "7",
        '{"dedicated:NoSchedule": 1}',
        '["dedicated:NoSchedule", 7]',
        "[" * 100_000,
        "9" * 10_000,
        json.dumps(["dedicated:NoSchedule"] * 10_000),
        json.dumps(["node.kubernetes.io/unreachable:NoExecute"]),
        "\ud800",
    ],
    ids=range(11),
)
def test_an_annotation_that_others_wrote_into_makes_no_taint_ours(text: str) -> None:
    node = has(taints=(STORAGE, OF_OTHERS), annotations={TAINTS_ANNOTATION: text})
    assert remembered(node.annotations) == frozenset()
    assert after(node, NOTHING).taints == node.taints
    assert TAINTS_ANNOTATION not in after(node, NOTHING).annotations


# ----------------------------------------------------------------------------------------- properties


def known_by(taint: Taint) -> str:
    return f"{taint.key}:{taint.effect}"


KEYS = st.sampled_from(["a", "b", "c", "node.kubernetes.io/x"])
TEXTS = st.dictionaries(KEYS, st.sampled_from(["", "1", "2"]))
TAINTS = st.lists(
    st.builds(Taint, KEYS, st.sampled_from(["", "1"]), st.sampled_from(["NoSchedule", "NoExecute"])),
    unique_by=known_by,
).map(tuple)
IDS = st.sampled_from([f"{key}:{effect}" for key in "abc" for effect in ("NoSchedule", "NoExecute")])
REMEMBERED = st.none() | st.lists(IDS).map(json.dumps) | st.text()
DESIRED = st.builds(
    Desired,
    TEXTS,
    TEXTS,
    TAINTS.map(lambda taints: tuple(t for t in taints if not t.key.startswith("node."))),
)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    labels, annotations = draw(TEXTS), draw(TEXTS)
    memory = draw(REMEMBERED)
    return has(
        labels=labels,
        annotations=annotations | ({} if memory is None else {TAINTS_ANNOTATION: memory}),
        taints=draw(TAINTS),
        applied_labels=frozenset(key for key in labels if draw(st.booleans())),
        applied_annotations=frozenset(key for key in annotations if draw(st.booleans())),
    )


@given(nodes(), DESIRED)
def test_what_was_written_once_needs_nothing_more(node: Node, wanted: Desired) -> None:
    written = after(node, wanted)
    assert not writes(written, wanted)
    assert after(written, wanted) == written
    assert changes(written, written, wanted) == ()


@given(nodes(), DESIRED)
def test_all_that_is_wanted_is_there_afterwards(node: Node, wanted: Desired) -> None:
    written = after(node, wanted)
    assert wanted.labels.items() <= written.labels.items()
    assert wanted.annotations.items() <= written.annotations.items()
    assert set(wanted.taints) <= set(written.taints)


@given(nodes(), DESIRED)
def test_what_others_have_set_stays(node: Node, wanted: Desired) -> None:
    written = after(node, wanted)
    ours = remembered(node.annotations) | {known_by(taint) for taint in wanted.taints}
    for key in node.labels.keys() - node.applied_labels - wanted.labels.keys():
        assert written.labels[key] == node.labels[key]
    for key in node.annotations.keys() - node.applied_annotations - {*wanted.annotations, TAINTS_ANNOTATION}:
        assert written.annotations[key] == node.annotations[key]
    foreign = [taint for taint in node.taints if known_by(taint) not in ours]
    assert [taint for taint in written.taints if known_by(taint) not in ours] == foreign


@given(nodes(), DESIRED)
def test_what_was_wanted_once_is_gone_when_it_is_wanted_no_more(node: Node, wanted: Desired) -> None:
    left = after(after(node, wanted), NOTHING)
    assert not wanted.labels.keys() & left.labels.keys()
    assert not wanted.annotations.keys() & left.annotations.keys()
    assert not set(wanted.taints) & set(left.taints)
    assert TAINTS_ANNOTATION not in left.annotations


@given(nodes(), DESIRED)
def test_there_is_one_taint_of_a_key_and_effect(node: Node, wanted: Desired) -> None:
    ids = [*map(known_by, after(node, wanted).taints)]
    assert len(ids) == len(set(ids))


@given(nodes(), DESIRED)
def test_where_nothing_is_written_nothing_changes(node: Node, wanted: Desired) -> None:
    if not writes(node, wanted):
        assert after(node, wanted) == node


# ------------------------------------------------------------------------------------ from an inventory

DISK = "uuid: 0a1b2c3d-0000-4000-8000-123456789abc, path: /mnt/longhorn"
OTHER = "uuid: 0a1b2c3d-0000-4000-8000-123456789abd, path: /mnt/more"
TAGS = {"node.longhorn.io/default-node-tags": '["storage", "a.b"]'}
DISKS = {
    "node.longhorn.io/default-disks-config": '[{"path": "/mnt/longhorn", "allowScheduling": true, '
    '"tags": ["hdd"]}, {"path": "/mnt/more", "allowScheduling": true, "tags": []}]'
}
CREATE = "node.longhorn.io/create-default-disk"


@pytest.mark.parametrize(
    ("k3s", "longhorn", "expected"),
    [
        ("role: none", "", NOTHING),
        (
            "role: none, api_labels: {role: a}, annotations: {rack: '7'}, "
            "taints: ['dedicated=storage:NoSchedule', 'spare:NoExecute']",
            "",
            wants(LABELS, STORAGE, Taint("spare", "", "NoExecute"), rack="7"),
        ),
        ("role: none, labels: {hardware: rpi4}", "", NOTHING),
        ("role: none", "tags: [storage, a.b]", Desired({}, TAGS, ())),
        ("role: none", "tags: []", NOTHING),
        (f"role: none, labels: {{{CREATE}: 'true'}}", f"disks: [{{{DISK}}}]", NOTHING),
        (
            f"role: none, labels: {{{CREATE}: config}}",
            f"disks: [{{{DISK}, tags: [hdd]}}, {{{OTHER}}}]",
            Desired({}, DISKS, ()),
        ),
        (
            f"role: none, api_labels: {{{CREATE}: Config}}",
            f"tags: [storage, a.b], disks: [{{{DISK}, tags: [hdd]}}, {{{OTHER}}}]",
            Desired({CREATE: "Config"}, {**TAGS, **DISKS}, ()),
        ),
    ],
)
def test_what_the_inventory_wants_of_a_node(k3s: str, longhorn: str, expected: Desired) -> None:
    disks = f"longhorn: {{{longhorn}{'' if 'disks' in longhorn else f', disks: [{{{DISK}}}]'}}}\n"
    node = node_of(f"class: pi\nk3s: {{{k3s}}}\n{disks if longhorn else ''}")
    assert desired(node) == expected


def test_kubernetes_names_a_node_in_lower_case() -> None:
    assert name_in_cluster(node_of("class: pi\nhostname: Titan-13\n")) == "titan-13"


def test_a_stranger_writes_nothing_onto_the_terminal() -> None:
    hostile = Taint("a\x1b[2J\nb", "", "NoSchedule")
    node = has(taints=(hostile,), annotations={TAINTS_ANNOTATION: json.dumps(["a\x1b[2J\nb:NoSchedule"])})
    (change,) = changes(node, after(node, NOTHING), NOTHING)
    assert str(change) == "taint a\\x1b[2J b:NoSchedule removed"
