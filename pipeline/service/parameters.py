"""Parameters that several routes take, bounded: no number is too large for the history or for JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

HIGHEST = 2**53 - 1
"""As JSON's numbers go everywhere (RFC 8259, section 6)."""

JobNumber = Annotated[int, Path(ge=1, le=HIGHEST, description="The job's number", examples=[7])]
EventNumber = Annotated[int, Path(ge=1, le=HIGHEST, description="The event's number", examples=[412])]
OfBuild = Annotated[int, Query(ge=1, le=HIGHEST, description="The build's number")]
Before = Annotated[int | None, Query(ge=1, le=HIGHEST, description="Only below this number")]
Age = Annotated[
    str | None,
    Query(
        pattern="^[1-9][0-9]{0,3}[mhd]$",
        description="Only not older than this",
        examples=["90m", "12h", "30d"],
    ),
]
"""As `amounts.seconds` reads it, and no longer than the calendar."""
PageNumber = Annotated[int, Query(ge=1, le=99_999, description="Pages count from 1")]
