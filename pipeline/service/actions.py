"""What people and programs may have done, looked at before it is queued: pages and the API ask here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import HTTPException, Request

from ..errors import RefusedError
from ..history.exports import Export
from ..history.jobs import Job, Wanted
from . import imager, preflights
from .access import remark
from .board import Row
from .identity import Identity
from .kinds import SKIPS_PREFLIGHT
from .service import Service

WITHOUT_PREFLIGHT = "without preflight"
"""What the audit says of a burn before which no cluster was asked."""


def known(service: Service, node: str) -> Row:
    """A node of the inventory. Raises HTTPException: 404, or 503 while nobody knows which nodes there are."""
    board = service.board
    if row := board.rows.get(node):
        return row
    if not board.rows:
        why = board.complaints[0] if board.complaints else "the service has just been started"
        raise HTTPException(503, f"the nodes are not known: {why}", {"Retry-After": "5"})
    raise HTTPException(404, f"the inventory has no node {node}")


async def build(service: Service, node: str, who: str) -> Job:
    """Have a node's image built. Raises HTTPException as `known` does."""
    return await service.ask_for(Wanted("image", known(service, node).node, who))


@dataclass(frozen=True, slots=True)
class WantedBurn:
    """A node and the `id` of the card (`cards.Plugged`) that it is to be burned to, all of which is lost.

    `confirm` is the node's name once more. With `skips_preflight` the cluster is not asked first.
    """

    node: str
    confirm: str
    card: str
    skips_preflight: bool = False


async def burn(request: Request, wanted: WantedBurn, identity: Identity) -> Job:
    """Have a node burned.

    Raises HTTPException: as `known` does, 422 where the name that confirms it is another, 409 where no card
    has the id or where another burn has the card, and as `_check_skipping` does.
    """
    service: Service = request.app.state.service
    node = known(service, wanted.node).node
    if wanted.skips_preflight:
        remark(request, WITHOUT_PREFLIGHT)
        _check_skipping(service, identity)
    if wanted.confirm != node:
        raise HTTPException(422, "the name that confirms the burn is another node's")
    chosen = next((each for each in await service.cards() if each.id == wanted.card), None)
    if chosen is None:
        raise HTTPException(409, "this card is not plugged in any more: look again which are")
    options: dict[str, Any] = {"card": chosen.card.path, "seen": chosen.identity}
    if wanted.skips_preflight:
        options[SKIPS_PREFLIGHT] = True
    try:
        return await service.ask_for(Wanted("burn", node, identity.label, options))
    except RefusedError as error:
        raise HTTPException(409, str(error)) from None


def may_skip(service: Service, identity: Identity) -> bool:
    """Whether a burn by somebody may leave the preflight out: who is an admin, where there would be one."""
    return identity.may("admin") and preflights.can_ask(service.environment)


def _check_skipping(service: Service, identity: Identity) -> None:
    """Raises HTTPException: 403 for who is no admin, 409 where no cluster would be asked."""
    if not identity.may("admin"):
        raise HTTPException(403, "to burn without asking the cluster is for the role admin")
    if not may_skip(service, identity):
        raise HTTPException(409, "no cluster is named here, so none is asked: burn without saying so")


async def export(service: Service, node: str, who: str) -> Job:
    """Have a node's image packed for Raspberry Pi Imager. Raises HTTPException as `known` does."""
    return await service.ask_for(Wanted("export", known(service, node).node, who))


def link(request: Request, name: str) -> imager.Link:
    """A new link to an open export, with which an earlier one ends. Raises HTTPException 410 for one that is
    over.
    """
    found = imager.link_of(request, name)
    if found is None:
        raise _over()
    return found


def revoke(service: Service, name: str, now: datetime) -> Export:
    """End an export, with what is fetched of it. Raises HTTPException 410 for one that is over."""
    found = service.exports.revoke(name, now)
    if found is None:
        raise _over()
    return found


def _over() -> HTTPException:
    return HTTPException(410, "this export is over: make another one")


async def preflight(service: Service, node: str) -> preflights.Preflight:
    """Ask the cluster whether it would let a node in. Raises HTTPException: as `known` does, 404 where the
    service knows no cluster.
    """
    row = known(service, node)
    if not preflights.can_ask(service.environment):
        raise HTTPException(404, "no cluster is named here: start the service with KUBECONFIG set")
    return preflights.preflight(await service.asking.answer("preflight", "--node", row.node))


async def job(service: Service, number: int) -> Job:
    """A job. Raises HTTPException 404 for none."""
    found = await service.job(number)
    if found is None:
        raise HTTPException(404, f"no job {number}")
    return found


async def cancel(service: Service, number: int) -> Job:
    """Take a job back, or have it stop. Raises HTTPException: 404 for none, 409 for one that is over."""
    cancelled = await service.cancel(number)
    if cancelled is None:
        over = await job(service, number)
        raise HTTPException(409, f"job {over.id} is over")
    return cancelled
