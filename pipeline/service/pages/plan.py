"""What a node is and what its image is made of: `metis config` and `metis plan`, asked when wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from .. import actions
from ..rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/nodes/{node}/plan")
async def show(request: Request, node: str) -> HTMLResponse:
    """What a build would do, and every entry that it would put into base and image."""
    service = request.app.state.service
    row = actions.known(service, node)
    asked = (service.asking.answer(word, "--node", row.node) for word in ("config", "plan"))
    config, plan = await asyncio.gather(*asked)
    return page(
        request,
        "plan.html",
        row=row,
        about=dict(about(config.data or {})),
        plan=plan.data[0] if plan.data else None,
        complaints=tuple(dict.fromkeys((*config.complaints, *plan.complaints))),
    )


def about(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What people ask first about a node, by the words for it; what it does not have is left out."""
    network, k3s = config.get("network") or {}, config.get("k3s") or {}
    yield from _said("Host name", config.get("hostname"))
    yield from _said("Role", k3s.get("role"))
    yield from _said("Address", "by DHCP" if network.get("dhcp") else network.get("address"))
    yield from _said("Interface", network.get("interface"))
    yield from _said("System", " ".join(str(config[name]) for name in ("os", "arch") if config.get(name)))
    yield from _said("Layers", ", ".join(map(str, config.get("layers") or ())))


def _said(name: str, value: object) -> Iterator[tuple[str, str]]:
    if value:
        yield name, str(value)
