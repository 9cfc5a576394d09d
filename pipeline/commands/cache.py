"""`metis cache`: what is kept of what was fetched, who uses it, and how room is made."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ..amounts import counted, duration, seconds, sized
from ..errors import SeveralErrors, UsageError, one_line
from .options import Commands, common, lab_of, print_json

if TYPE_CHECKING:
    from ..cache.policy import Contents, Held, Limits
    from ..lab.cache import Needs, Pruned

HEADER = ("key", "size", "last used", "used by", "from")


@click.group(cls=Commands)
def cache() -> None:
    """Look after the goldens and other files that were fetched."""


# ----------------------------------------------------------------------------------------- looking


@cache.command(name="list")
@common
def list_(as_json: bool, **flags: str | None) -> None:
    """List what is in the cache, and which classes and nodes use it.

    Also where it came from, its size, when it was last used, and downloads that are not finished. Changes
    nothing.
    """
    from ..lab.cache import LabCache
    from ..tables import columns

    lab = lab_of(flags)
    about = LabCache(lab)
    there, needs = about.contents(), about.needs()
    if as_json:
        data = _data(there)
        for item in (*data["files"], *data["unfinished"]):
            users = _users(item["key"], needs)
            item["used_by"] = None if users is None else list(users)
        print_json({"cache": str(lab.store.root), **data})
    else:
        rows = [(*_cells(item), _named(item, needs), one_line(item.origin)) for item in there.files]
        rows += [(*_cells(item), _named(item, needs), "unfinished") for item in there.unfinished]
        for line in columns([HEADER, *rows] if rows else []):
            click.echo(line)
        click.echo(f"{lab.store.root}: {_counted(there)}")
    if needs.errors:
        click.echo("not all that the inventory uses can be told:", err=True)
        click.echo(str(SeveralErrors(needs.errors)), err=True)


def _users(key: str, needs: Needs) -> tuple[str, ...] | None:
    """Who uses what is under a key; None where nobody can tell."""
    return needs.users.get(key, None if needs.errors else ())


def _named(item: Held, needs: Needs) -> str:
    users = _users(item.key, needs)
    return "?" if users is None else ", ".join(users) or "nobody"


# ------------------------------------------------------------------------------------- making room


@cache.command()
@common
@click.option(
    "--older-than", metavar="AGE", help="What was not used for so long goes: 30d, 12h or 90m, for example."
)
@click.option(
    "--max-size",
    metavar="SIZE",
    help="What was used least recently goes until the rest is no larger: 20G or 500M, for example.",
)
@click.option("--unused", is_flag=True, help="All that the inventory does not need goes.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def prune(
    older_than: str | None,
    max_size: str | None,
    unused: bool,
    dry_run: bool,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Remove what can be fetched again, by age or by size.

    What a class or node of the inventory needs stays, and so does what somebody works with; what only
    another inventory needs does not. Downloads that nobody goes on with are removed too, after a day or
    what --older-than says. Nothing is asked.
    """
    from ..lab.cache import LabCache

    limits = _limits(older_than, max_size, unused=unused)
    lab = lab_of(flags)
    pruned = LabCache(lab).prune(limits, dry_run=dry_run)
    if as_json:
        print_json(
            {
                "cache": str(lab.store.root),
                "dry_run": dry_run,
                "removed": _data(pruned.gone),
                "in_use": [item.key for item in pruned.in_use],
                "left": pruned.left,
                "needed": pruned.needed,
            }
        )
    else:
        for item in (*pruned.gone.files, *pruned.gone.unfinished):
            click.echo("  ".join(filter(None, (*_cells(item), one_line(item.origin)))))
        does = "would be removed" if dry_run else "removed"
        click.echo(f"{does}: {_counted(pruned.gone)}; {sized(pruned.left)} left")
    _say_what_stays(pruned, limits)
    if pruned.errors:
        raise SeveralErrors(pruned.errors)


def _limits(older_than: str | None, max_size: str | None, *, unused: bool) -> Limits:
    from ..cache.policy import Limits
    from ..inventory.formats import size_in_bytes

    if unused and (older_than, max_size) != (None, None):
        raise UsageError("--unused is for all ages and sizes", "leave it out, or --older-than and --max-size")
    if not unused and (older_than, max_size) == (None, None):
        hint = "say --older-than 30d, --max-size 20G, or --unused for all that the inventory does not need"
        raise UsageError("nothing says what is to go", hint)
    try:
        age = None if older_than is None else seconds(older_than)
    except ValueError:
        raise UsageError(f"--older-than is {older_than!r}", "write it as 30d, 12h or 90m") from None
    try:
        return Limits(age, None if max_size is None else size_in_bytes(max_size), unused)
    except ValueError:
        raise UsageError(f"--max-size is {max_size!r}", "write it as 20G or 500M") from None


def _say_what_stays(pruned: Pruned, limits: Limits) -> None:
    for item in pruned.in_use:
        click.echo(f"{item.key[:12]} is in use, and stays", err=True)
    if limits.max_size is not None and pruned.left > limits.max_size:
        needed = f"the inventory needs {sized(pruned.needed)} of it"
        click.echo(f"{sized(pruned.left)} is more than {sized(limits.max_size)}: {needed}", err=True)


# --------------------------------------------------------------------------------------- verifying


@cache.command()
@common
def verify(as_json: bool, **flags: str | None) -> None:
    """Hash everything in the cache, and remove what is not what it was.

    Whoever needs it fetches it again. Ends with 4 if anything had rotted.
    """
    from ..lab.cache import LabCache

    lab = lab_of(flags)
    verified = LabCache(lab).verify()
    if as_json:
        print_json(
            {
                "cache": str(lab.store.root),
                "checked": len(verified.files),
                "size": sum(item.size for item in verified.files),
                "rotten": [
                    {**_item(each.held), "found": each.found, "removed": each.fault is None}
                    for each in verified.rotten
                ],
            }
        )
    elif not verified.errors:
        size = sized(sum(item.size for item in verified.files))
        click.echo(f"{lab.store.root}: {counted(len(verified.files), 'file')}, {size}: nothing has rotted")
    if verified.errors:
        raise SeveralErrors(verified.errors)


# --------------------------------------------------------------------------------- data and words


def _data(contents: Contents) -> dict[str, Any]:
    return {
        "files": [_item(item) for item in contents.files],
        "unfinished": [_item(item) for item in contents.unfinished],
        "size": contents.size,
    }


def _item(item: Held) -> dict[str, Any]:
    used = datetime.fromtimestamp(_past(item.used), UTC).isoformat(timespec="seconds")
    return {"key": item.key, "size": item.size, "last_used": used, "origin": item.origin or None}


def _past(moment: float) -> float:
    """A time that can be written as a date: what a wrong clock has left in the future is taken for now."""
    return min(max(moment, 0.0), time.time())


def _cells(item: Held) -> tuple[str, str, str]:
    return item.key[:12], sized(item.size), f"{duration(time.time() - _past(item.used))} ago"


def _counted(contents: Contents) -> str:
    files, unfinished = len(contents.files), len(contents.unfinished)
    parts = [
        counted(files, "file"),
        *([counted(unfinished, "unfinished download")] if unfinished else []),
    ]
    return f"{' and '.join(parts)}, {sized(contents.size)}"
