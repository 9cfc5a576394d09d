"""A history in words for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..amounts import sized
from ..errors import one_line
from ..tables import columns
from .difference import Change, Difference, Other
from .records import Build, Event

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
INDENT = "  "
NOT_KEPT = "nobody can tell: a manifest was not kept, or is one of another Metis"


def events_text(events: Sequence[Event]) -> str:
    """A line for each event."""
    heads = ("id", "at", "node", "what", "took", "size", "why")
    rows = [
        (
            str(each.id),
            each.at,
            each.node or f"class {each.klass}",
            each.verdict if each.verdict != "failed" else f"{each.kind} failed",
            f"{each.seconds:.1f} s" if each.seconds else "-",
            sized(each.size) if each.size else "-",
            each.why or "-",
        )
        for each in events
    ]
    return _lines(columns([heads, *(tuple(map(one_line, row)) for row in rows)]))


def difference_text(found: Difference) -> str:
    """What differs, part by part."""
    return _lines(_parts(found))


def _parts(found: Difference) -> Iterator[str]:
    for word, build in (("from", found.before), ("to", found.after)):
        yield one_line(f"{word} {_build(build)}")
    yield "made of:"
    yield from _others(found.made_of)
    for title, changes in (("in the base", found.base), ("in the image", found.image)):
        yield f"{title}:"
        if changes is None:
            yield f"{INDENT}{NOT_KEPT}"
        elif not changes:
            yield f"{INDENT}nothing differs"
        for change in changes or ():
            yield from (f"{INDENT}{line}" for line in _change(change))
    if found.before.event.image == found.after.event.image != "":
        yield "it is the same image"


def _build(build: Build) -> str:
    about = build.event
    image = f"image {about.image[:12]}" if about.image else "it failed"
    return f"build {about.id} of {about.node}, {about.at}: {image}"


def _others(others: Sequence[Other]) -> Iterator[str]:
    for each in others:
        yield f"{INDENT}{one_line(f'{each.name}: {each.before} -> {each.after}')}"
    if not others:
        yield f"{INDENT}nothing differs"


def _change(change: Change) -> Iterator[str]:
    yield one_line(f"{_SIGNS[change.what]} {change.kind} {change.on} {change.path} ({change.layer})")
    yield from (_others(change.others) if change.others else ())
    yield from (f"{INDENT}{line}" for line in change.lines)


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
