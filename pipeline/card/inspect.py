"""What is on a card, or in an image, now: its partitions, the node that it is of, the record of its burn.

Nothing is mounted and nothing written: debugfs(8) reads the file system from outside, and replays no journal.
A card may come from anywhere: of what it says little is read, and all of it is made fit for a terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MetisError, one_line, reason_of
from ..raw import blkid, disk, ext, record

_LARGEST_NODE = 1 << 20
_LARGEST_RECORD = 1 << 16
_LONGEST = 80
"""Characters of a word that is shown in a line."""
_LARGEST_NUMBER = 1 << 53
"""Numbers beyond it are not the same in every JSON reader (RFC 8259, 6)."""
_DEEPEST = 16
_NAMED = 4
"""So many partitions are told of in a line."""
_PROBED = 1 << 20


@dataclass(frozen=True, slots=True)
class OnCard:
    """What was found. `scheme` is the kind of partition table, empty where there is none that can be read.

    `filesystem` and `label` are those of a card that is one file system without partitions. `node` is what
    the node's image says of itself, `record` is what its burn left. `problem` says why more is not known.
    """

    scheme: str = ""
    partitions: tuple[disk.Partition, ...] = ()
    filesystem: str = ""
    label: str = ""
    node: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None
    problem: str = ""

    @property
    def subject(self) -> str:
        """The node that it is of by its own words, empty where it is of none."""
        about = self.node if self.record is None else self.record
        return "" if about is None else _word(about, "node")

    @property
    def summary(self) -> str:
        """All of it in one line."""
        if self.record is not None:
            burned = f"burned {_word(self.record, 'at')[:10]} from image {_word(self.record, 'image')[:12]}"
            return f"{self.subject}, {burned}"
        if self.node is not None:
            return f"{self.subject}, without a record of its burn"
        if self.partitions:
            return _held(self.partitions)
        if self.filesystem:
            return _labelled(self.filesystem, self.label)
        return one_line(self.problem)

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "summary": self.summary,
            "scheme": self.scheme or None,
            "partitions": [_partition(each) for each in self.partitions],
            "filesystem": self.filesystem or None,
            "label": self.label or None,
            "node": self.node,
            "record": self.record,
            "problem": self.problem or None,
        }


def inspect(path: Path) -> OnCard:
    """What is on a card or in an image; a stranger's card, or one that fails, is told of in `problem`."""
    try:
        with path.open("rb") as file:
            start = file.read(_PROBED)
        if not start.strip(b"\0"):
            return OnCard(problem="empty")
        return _without_table(path) or _with_table(path)
    except OSError as error:
        return OnCard(problem=f"cannot be read: {reason_of(error)}")
    except disk.NoTableError:
        return OnCard(problem="no partition table")
    except MetisError as error:
        return OnCard(problem=one_line(error.message))
    except (KeyError, TypeError, ValueError, AssertionError):  # what sfdisk says of a table made to mislead
        return OnCard(problem="its partition table makes no sense")


def _with_table(path: Path) -> OnCard:
    layout = disk.read(path)
    for each in sorted(layout.partitions, key=lambda each: -each.size):
        node = _object(_file(path, each, record.NODE, _LARGEST_NODE), _json)
        burned = _object(_file(path, each, record.PATH, _LARGEST_RECORD), record.parse)
        if node or burned:
            return OnCard(layout.scheme, layout.partitions, node=node, record=burned)
    return OnCard(layout.scheme, layout.partitions, problem="no node of Metis")


def _without_table(path: Path) -> OnCard | None:
    """A card that is one file system from its first byte on, as cameras and sticks have it."""
    known = blkid.probed(path)
    if "ID_FS_TYPE" not in known or "ID_PART_TABLE_TYPE" in known:
        return None
    return OnCard(filesystem=_short(known["ID_FS_TYPE"]), label=_short(known.get("ID_FS_LABEL", "")))


def _file(path: Path, partition: disk.Partition, name: str, limit: int) -> bytes:
    """A small file of an ext file system; nothing where there is none, or it is larger."""
    # -c leaves the bitmaps, which are all over a card, unread; it is read-only by that, too.
    try:
        said = ext.ask(["debugfs", "-c", "-R", f"cat {name}"], path, partition, limit=limit + _PROBED)
    except MetisError:
        return b""
    return said.out if said is not None and len(said.out) <= limit else b""


def _json(data: bytes) -> object:
    return json.loads(data.decode(), parse_constant=_refuse)


def _refuse(word: str) -> None:
    raise ValueError(word)


def _object(data: bytes, parse: Callable[[bytes], object]) -> Mapping[str, Any] | None:
    """A JSON object with everything in it fit to be shown, None for anything else."""
    try:
        value = parse(data)
        return _shown(value, _DEEPEST) if isinstance(value, Mapping) else None
    except (ValueError, RecursionError):
        return None


def _shown(value: object, depth: int) -> Any:  # noqa: ANN401 - what JSON holds
    """JSON's values with their texts in one line each; raises ValueError for what nests too deep."""
    if depth == 0:
        raise ValueError("too deep")
    if isinstance(value, Mapping):
        return {one_line(str(name)): _shown(each, depth - 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_shown(each, depth - 1) for each in value]
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int | float) and not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER:
        raise ValueError("too large")
    return value


def _word(about: Mapping[str, Any], name: str) -> str:
    value = about.get(name)
    return (_short(value) if isinstance(value, str) else "") or "?"


def _short(text: str) -> str:
    return one_line(text, _LONGEST)


def _labelled(filesystem: str, label: str | None) -> str:
    shown = _short(re.sub(r"\x00.*", "", label or ""))
    return f"{_short(filesystem)}, label {shown}" if shown else _short(filesystem)


def _held(partitions: Sequence[disk.Partition]) -> str:
    """What a stranger's partitions hold, the largest Linux file system before anything else."""
    linux = [each for each in partitions if each.filesystem in ext.KINDS]
    if linux:
        return _labelled("Linux", max(linux, key=lambda each: each.size).label)
    held = [_labelled(each.filesystem, each.label) for each in partitions if each.filesystem]
    return "; ".join(held[:_NAMED]) or f"{len(partitions)} partitions, nothing known in them"


def _partition(each: disk.Partition) -> dict[str, Any]:
    return {
        "number": each.number,
        "start": each.start,
        "size": each.size,
        "filesystem": each.filesystem,
        "label": None if each.label is None else _short(each.label),
    }
