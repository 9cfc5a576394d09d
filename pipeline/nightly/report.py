"""What a nightly run says of itself: for people, for machines, and for node_exporter's textfile collector."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..amounts import mib
from ..errors import one_line
from ..golden.newer import Newer
from ..wording import masked

Result = Literal["built", "skipped", "failed"]
RESULTS: tuple[Result, ...] = ("built", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What came of a node's image: `reason` says why it failed, `keeps_last` that a whole one is still there.

    `seconds` are those of its own building and reading back, `bytes` what a burn of it writes; both are 0
    where nothing was built.
    """

    node: str
    result: Result
    seconds: float = 0.0
    bytes: int = 0
    reason: str = ""
    keeps_last: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A nightly run from its first step to its last.

    `started` is in UTC as ISO 8601 has it, `ended` and `last_success` in seconds since 1970. `faults` are
    failures that are no single node's; `diffs` what `--update` changed in the inventory; `pruned` how many
    files were removed from the cache, and their bytes.
    """

    started: str
    ended: float
    seconds: float
    nodes: Sequence[NodeReport] = ()
    newer: Sequence[Newer] = ()
    diffs: Sequence[str] = ()
    warnings: Sequence[str] = ()
    faults: Sequence[str] = ()
    pruned: tuple[int, int] = (0, 0)
    interrupted: bool = False
    earlier_success: float | None = None

    @property
    def failed(self) -> Sequence[str]:
        """The nodes that have no image of what the inventory says now."""
        return [each.node for each in self.nodes if each.result == "failed"]

    @property
    def succeeded(self) -> bool:
        """Whether nothing failed and nothing was cut off."""
        return not (self.failed or self.faults or self.interrupted)

    @property
    def last_success(self) -> float | None:
        """When a run last ended well: this one, or the one that was known of."""
        return self.ended if self.succeeded else self.earlier_success

    @property
    def counts(self) -> Mapping[Result, int]:
        """How many images there are of each result."""
        found = [each.result for each in self.nodes]
        return {result: found.count(result) for result in RESULTS}

    @property
    def bytes(self) -> int:
        """What the images that were built have to write to cards."""
        return sum(each.bytes for each in self.nodes)

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "started": self.started,
            "ended": self.ended,
            "seconds": round(self.seconds, 3),
            "succeeded": self.succeeded,
            "interrupted": self.interrupted,
            "last_success": self.last_success,
            "counts": dict(self.counts),
            "bytes": self.bytes,
            "nodes": [{**asdict(each), "seconds": round(each.seconds, 3)} for each in self.nodes],
            "newer": [{**asdict(each), "source": masked(each.source)} for each in self.newer],
            "diffs": list(self.diffs),
            "warnings": list(self.warnings),
            "faults": list(self.faults),
            "pruned": {"files": self.pruned[0], "bytes": self.pruned[1]},
        }

    def to_text(self) -> str:
        """A line that sums up, then one for each image that was built or failed, and what else was seen."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        counts = ", ".join(f"{result} {count}" for result, count in self.counts.items())
        cut = " (interrupted)" if self.interrupted else ""
        yield f"nightly {self.started}{cut}: {counts}; {self.seconds:.1f} s, {mib(self.bytes)} built"
        width = max((len(each.node) for each in self.nodes), default=0)
        for each in sorted(self.nodes, key=lambda each: RESULTS.index(each.result)):
            if each.result != "skipped":
                yield f"  {each.result:6}  {each.node:{width}}  {_said(each)}"
        for found in self.newer:
            yield (
                f"newer golden: class {found.class_name}: {masked(found.source)} is {found.published} now, "
                f"{found.pinned} is pinned"
            )
        if self.newer and not self.diffs:
            yield "  nothing of that was taken: `metis nightly --update` pins what is published now"
        for diff in self.diffs:
            yield from diff.splitlines()
        yield from (f"warning: {one_line(line)}" for line in self.warnings)
        yield from (f"failed: {one_line(line)}" for line in self.faults)
        if self.pruned[0]:
            yield f"pruned: {self.pruned[0]} files of the cache, {mib(self.pruned[1])}"

    def to_metrics(self) -> str:
        """The figures in the text format of Prometheus.

        Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
        """
        lines = itertools.chain.from_iterable(_metric(*each) for each in self._metrics())
        return "".join(f"{line}\n" for line in lines)

    def _metrics(self) -> Iterator[tuple[str, str, Mapping[str, float]]]:
        """The name, meaning and values of each metric; values by what stands between name and value."""
        yield (
            "images",
            "Images of the last nightly run by what came of them.",
            {_labels(result=result): count for result, count in self.counts.items()},
        )
        yield "seconds", "How long the last nightly run took.", {"": round(self.seconds, 3)}
        yield "bytes_written", "Bytes that hold data in the images that were built.", {"": self.bytes}
        yield "last_run_timestamp_seconds", "When the last nightly run ended.", {"": self.ended}
        if self.last_success is not None:
            yield (
                "last_success_timestamp_seconds",
                "When a nightly run last ended with every image up to date.",
                {"": self.last_success},
            )
        yield (
            "node_failed",
            "1 for each node whose image could not be made.",
            {_labels(node=node): 1 for node in self.failed},
        )
        yield "newer_goldens", "Classes whose golden is published anew.", {"": len(self.newer)}


def _said(each: NodeReport) -> str:
    if each.result == "built":
        return f"{each.seconds:.1f} s, {mib(each.bytes)}"
    last = "its last image is kept" if each.keeps_last else "it has no image"
    return f"{one_line(each.reason)} ({last})"


def _metric(name: str, about: str, values: Mapping[str, float]) -> Iterator[str]:
    if values:
        yield f"# HELP metis_nightly_{name} {about}"
        yield f"# TYPE metis_nightly_{name} gauge"
    for labels, value in values.items():
        yield f"metis_nightly_{name}{labels} {value:.15g}"


def _labels(**values: str) -> str:
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        for name, value in values.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
