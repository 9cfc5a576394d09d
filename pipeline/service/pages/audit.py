"""Who did what: for admins alone, since it says from where people came."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from ...history import audit
from ...history.audit import OUTCOMES, Sought
from ..access import require
from ..queries import LONGEST, PAGE, Before, query
from ..rendering import page
from .history import AGES, earliest

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which lines to show: texts are parts of what a line says, empty values mean all."""

    who: str = ""
    what: str = ""
    target: str = ""
    outcome: str = ""
    since: str = ""

    def sought(self, now: datetime, before: int | None = None) -> Sought:
        """The same for the history: of what is no outcome or age there are all."""
        outcome = next((each for each in OUTCOMES if each == self.outcome), None)
        return Sought(self.who, self.what, self.target, outcome, earliest(self.since, now), before)

    def query(self, before: int | None = None) -> str:
        """The same lines, those that are older than one, as a query."""
        texts = {"who": self.who, "what": self.what, "target": self.target}
        return query(**texts, outcome=self.outcome, since=self.since, before=before)


@router.get("/history/audit", dependencies=[Depends(require("admin"))])
async def show(
    request: Request,
    who: str = "",
    what: str = "",
    target: str = "",
    outcome: str = "",
    since: str = "",
    before: Before = None,
) -> HTMLResponse:
    """What people asked for that changes something, the newest first."""
    history = request.app.state.service.history
    who, what, target = (each.strip()[:LONGEST] for each in (who, what, target))
    wish = Wish(who, what, target, outcome, since)
    found = await asyncio.to_thread(audit.acts, history, wish.sought(datetime.now(UTC), before), PAGE + 1)
    return page(
        request,
        "audit.html",
        acts=found[:PAGE],
        has_more=len(found) > PAGE,
        wish=wish,
        before=before,
        outcomes=OUTCOMES,
        ages=AGES,
    )
