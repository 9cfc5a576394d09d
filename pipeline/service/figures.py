"""What the service tells Prometheus: each figure with its name, its help and its labels.

Names are as prometheus.io/docs/practices/naming has them: base units, counters end in _total, moments are
timestamps. Counters are counted in the history, so that they go on where they were when the service starts
anew. Labels have few values; only the newest snapshot is told by node, once for each of the inventory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from ..facts.finding import SEVERITIES
from ..history.events import BOUNDS, Durations, Tally
from ..history.records import OF_CLASSES, Kind, Verdict
from ..steps.image_state import STATES
from .board import Board
from .left_figures import Left, Writer

CAUSES: Mapping[int | None, str] = {
    0: "none",
    1: "failed",
    2: "inventory",
    3: "refused",
    4: "mismatch",
    5: "source",
    130: "interrupted",
    None: "cut_off",
}
"""What an exit code means, in a word."""
FAILURES = (*(CAUSES[code] for code in range(1, 6)), "other")
"""Why builds and burns fail. Each is told from the start, as increase() sees no counter come to be."""
Values = Mapping[tuple[str, ...], float]
"""Numbers by their labels."""
JobTally = tuple[str, str, int | None, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was looked at for one answer. Sizes in bytes, ages in seconds, None for what nobody knows."""

    version: str
    board: Board
    tallies: Sequence[Tally] = ()
    durations: Mapping[Kind, Durations] = field(default_factory=dict)
    jobs: Sequence[JobTally] = ()
    oldest_waiting: float = 0.0
    cache: tuple[int, int] | None = None
    listeners: int = 0
    left: Mapping[Writer, Left] = field(default_factory=dict)


def families(about: Figures) -> Iterator[Metric]:
    """The metrics in the order in which they are told."""
    yield _gauge("metis_info", "The version of Metis that runs", "version", {(about.version,): 1})
    yield from _work("build", "built", "Images that were built", about)
    yield from _work("burn", "burned", "Cards that were burned", about)
    for of_class in OF_CLASSES:
        causes = Counter[tuple[str, ...]](dict.fromkeys(((cause,) for cause in FAILURES), 0))
        for each in about.tallies:
            if each.kind == of_class:
                causes[CAUSES.get(each.code, "other"),] += each.events
        said = f"Tries to get or make a class's {of_class} that failed"
        yield _counter(f"metis_{of_class}_failures", said, "cause", causes)
    yield from _queue(about)
    yield from _nodes(about.board)
    if about.cache is not None:
        yield GaugeMetricFamily("metis_cache_bytes", "Size of what is in the cache", about.cache[0])
        yield GaugeMetricFamily("metis_cache_files", "Files in the cache", about.cache[1])
    yield GaugeMetricFamily("metis_event_listeners", "Browsers that listen to events", about.listeners)
    for writer, left in about.left.items():
        yield from _left(writer, left)


def _work(kind: Kind, good: Verdict, title: str, about: Figures) -> Iterator[Metric]:
    tallies = [each for each in about.tallies if each.kind == kind]
    ends = Counter[tuple[str, ...]]({(good, "none"): 0, **{("failed", cause): 0 for cause in FAILURES}})
    for each in tallies:
        ends[each.verdict, CAUSES.get(each.code, "other")] += each.events
    yield _counter(f"metis_{kind}s", f"{title}, and tries that failed", "verdict cause", ends)
    size = sum(each.size for each in tallies)
    words = "mapped in images" if kind == "build" else "written to cards"
    yield CounterMetricFamily(f"metis_{kind}_bytes", f"Bytes that were {words}", size)
    took = about.durations.get(kind, Durations((0,) * len(BOUNDS), 0, 0.0))
    buckets = [(str(float(bound)), within) for bound, within in zip(BOUNDS, took.within, strict=True)]
    said = f"{title}, by how long that took"
    yield HistogramMetricFamily(
        f"metis_{kind}_duration_seconds", said, [*buckets, ("+Inf", took.events)], took.seconds
    )


def _queue(about: Figures) -> Iterator[Metric]:
    standing: dict[tuple[str, ...], float] = {("waiting",): 0, ("running",): 0}
    ended = Counter[tuple[str, ...]]()
    for kind, state, code, count in about.jobs:
        if (state,) in standing:
            standing[state,] += count
        else:
            ended[kind, state, "none" if state == "cancelled" else CAUSES.get(code, "other")] += count
    yield _gauge("metis_jobs", "Jobs that wait or run", "state", standing)
    yield _counter("metis_jobs_ended", "Jobs that are over", "kind state cause", ended)
    said = "How long the job has waited that waits for longest, 0 without one"
    yield GaugeMetricFamily("metis_jobs_oldest_waiting_seconds", said, about.oldest_waiting)


def _nodes(board: Board) -> Iterator[Metric]:
    rows = board.rows.values()
    images = Counter[tuple[str, ...]](dict.fromkeys(product({row.klass for row in rows}, STATES), 0))
    images.update((row.klass, row.state) for row in rows)
    yield _gauge("metis_nodes", "Nodes of the inventory, by how their images are", "class image", images)
    silent = Counter[tuple[str, ...]]()
    for row in rows:
        silent[row.klass,] += row.is_silent
    yield _gauge("metis_nodes_silent", "Nodes whose sentinel was not heard of for long", "class", silent)
    heard: Values = {(row.node,): _moment(row.seen) for row in rows if row.seen}
    yield _gauge("metis_snapshot_timestamp_seconds", "When a node's newest snapshot was made", "node", heard)
    drift: Values = {
        (name, level): float(found["drift"].get(level, 0))
        for name, found in board.classes.items()
        for level in SEVERITIES
    }
    yield _gauge("metis_drift_findings", "Ways in which nodes drift", "class severity", drift)
    if board.at is not None:
        said = "When all nodes were looked at last"
        yield GaugeMetricFamily("metis_board_timestamp_seconds", said, _moment(board.at))
    said = "Lines of what could not be told at the last look"
    yield GaugeMetricFamily("metis_board_complaints", said, len(board.complaints))


def _left(writer: Writer, left: Left) -> Iterator[Metric]:
    said = f"Whether the figures of {writer.title} could be read, 1 or 0"
    yield GaugeMetricFamily(f"metis_{writer.name}_figures_readable", said, int(left.is_readable))
    in_order = sorted(left.figures, key=lambda each: each.name)
    for name, group in groupby(in_order, key=lambda each: each.name):
        same = list(group)
        values = {tuple(each.labels.values()): each.value for each in same}
        make = _counter if name.endswith("_total") else _gauge
        yield make(name, f"Left by {writer.title}", " ".join(same[0].labels), values)


def _gauge(name: str, said: str, labels: str, values: Values) -> Metric:
    return _filled(GaugeMetricFamily(name, said, labels=labels.split()), values)


def _counter(name: str, said: str, labels: str, values: Values) -> Metric:
    return _filled(CounterMetricFamily(name, said, labels=labels.split()), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
