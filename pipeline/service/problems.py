"""What went wrong, said as whoever asked understands it: a page for people, RFC 9457 for programs."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ..errors import MetisError
from .answers import FOR_PROGRAMS, PROBLEM, problem
from .rendering import page


def install(app: FastAPI) -> None:
    """Have the application answer so."""
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(MetisError, _not_now)


def _said(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    if request.url.path.startswith(FOR_PROGRAMS):
        return JSONResponse(problem(status, detail), status, headers, PROBLEM)
    answer = page(request, "error.html", status, status=status, said=detail)
    answer.headers.update(headers or {})
    return answer


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _said(request, error.status_code, str(error.detail), error.headers)


def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return _said(request, HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(faults))


def _not_now(request: Request, error: Exception) -> Response:
    """What Metis itself could not do: the history cannot be used, `metis` gave no answer."""
    return _said(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "10"})
