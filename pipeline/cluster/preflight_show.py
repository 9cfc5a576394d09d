"""What preflight found, as a table for people and as data for machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tables import columns
from .check import Check, plain


def to_text(found: Sequence[Check]) -> str:
    """A line for each check: its name, the verdict, what was found, what to do."""
    title = ("check", "", "found", "what to do")
    rows = [(check.name, check.verdict, plain(check.found), plain(check.advice)) for check in found]
    return "".join(f"{line}\n" for line in columns([title, *rows]))


def to_data(node: str, found: Sequence[Check]) -> dict[str, Any]:
    """The same as plain data; `mend` is what --fix would do."""
    return {
        "node": node,
        "refused": any(check.verdict == "refused" for check in found),
        "checks": [
            {
                "check": check.name,
                "verdict": check.verdict,
                "found": check.found,
                "advice": check.advice,
                "mend": str(check.mend) if check.mend else None,
            }
            for check in found
        ],
    }
