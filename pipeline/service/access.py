"""What pages ask the guard for: who asks, whether they may, and the token for a page's forms."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import HTTPException, Request

from .identity import Identity, Role


def who(request: Request) -> Identity:
    """Who asks; a dependency of FastAPI. Raises 500 where no guard has let the request in."""
    identity = getattr(request.state, "identity", None)
    if not isinstance(identity, Identity):
        raise HTTPException(500, "no guard stands before this service")
    return identity


def require(role: Role) -> Callable[[Request], Identity]:
    """A dependency of FastAPI that gives who asks, and answers 403 to who lacks a role."""

    def allowed(request: Request) -> Identity:
        identity = who(request)
        if not identity.may(role):
            raise HTTPException(403, f"this is for the role {role}")
        return identity

    return allowed


def remark(request: Request, text: str) -> None:
    """Have the line of the audit say more of the target than the address does; nothing secret."""
    said = getattr(request.state, "remark", "")
    request.state.remark = f"{said} {text}".strip()


def form_token(request: Request) -> str:
    """What a form sends in its field `csrf`, and a script in the header X-CSRF-Token."""
    return str(getattr(request.state, "csrf", ""))
