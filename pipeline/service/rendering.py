"""Pages out of templates: all that is put into one is escaped, and none has a script or a style in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from ..amounts import sized
from .access import form_token, who
from .kinds import title_of, waits_for
from .words import ago, exact, left, took

HERE = Path(__file__).parent
STATIC = HERE / "static"
TEMPLATES = HERE / "templates"
SLOT = 15
"""Seconds of such a moment."""


@cache
def templates() -> Environment:
    """The templates, read once."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = sized
    environment.filters["title_of"] = title_of
    environment.filters["held_by"] = waits_for
    environment.filters["time"] = exact
    environment.filters["ago"] = lambda text: _ago(text, slot())
    environment.filters["took"] = took
    environment.filters["left"] = left
    environment.globals["drawn"] = environment.get_template("charts.html").module
    environment.globals["parts"] = environment.get_template("parts.html").module  # also in a block alone
    return environment


def macro(template: str, name: str) -> Callable[..., Markup]:
    """A macro, for what is made once and shown on several pages."""
    found: Callable[..., Markup] = getattr(templates().get_template(template).module, name)
    return found


def slot() -> int:
    """The number of the moment in which nobody sees that a time is longer ago."""
    return int(time.time()) // SLOT


def page(request: Request, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:  # noqa: ANN401
    """A template with values; where htmx asks for a part of the page, the part that it names alone."""
    template = templates().get_template(name)
    service = request.app.state.service
    given = {"request": request, "who": who(request), "csrf": form_token(request), "service": service}
    context = {**given, "heard": getattr(request.state, "heard", service.events.at), **values}
    part = request.headers.get("HX-Target", "")
    is_part = request.headers.get("HX-Request") == "true" and part in template.blocks
    if is_part:
        html = "".join(template.blocks[part](template.new_context(context)))
    else:
        html = template.render(context)
    return HTMLResponse(html, status, headers={"Vary": "HX-Request, HX-Target"})


def _printable(value: object) -> object:
    """A stranger's words as they can be sent and shown: half a surrogate cannot be, and others mislead."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in value)


@lru_cache(maxsize=10_000)
def _ago(text: str | None, slot: int) -> Markup:
    """How long ago a time was, with the time itself: made once for all that show it within a while."""
    words = _printable(ago(text, datetime.fromtimestamp(slot * SLOT, UTC)))
    if not text:
        return escape(words)
    at = escape(_printable(text))
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(at, exact(at), words)
