"""Who may read what: a company's token opens that company, and of the others nothing is to be seen, not even that they are there."""

from __future__ import annotations

import logging
from typing import Annotated, cast

from fastapi import Depends, HTTPException, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from broker.access import Claims, Role
from models import queries
from models.errors import TokenRefused
from models.topics import is_id
from web.parts import Parts

log = logging.getLogger(__name__)

_bearer = HTTPBearer(auto_error=False, description="A token of the company, of any role, or one of role `service`.")


def parts_of(request: Request) -> Parts:
    return cast("Parts", request.app.state.parts)


TheParts = Annotated[Parts, Depends(parts_of)]


def holder(parts: TheParts, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Claims:
    """Return what the token proves; every flaw gets the same refusal [RFC 6750 section 3.1]."""
    if given is not None:
        try:
            claims = parts.verify(given.credentials)
        except TokenRefused as error:
            log.info("%s", error, extra={"action": "http_refused"})
        else:
            if not parts.is_revoked(claims):
                return claims
    raise HTTPException(401, "a token of the company is needed", {"WWW-Authenticate": "Bearer"})


def not_found() -> HTTPException:
    """Return the one answer to everything that is not there, or not for the one who asks."""
    return HTTPException(404, "not found")


def company(parts: TheParts, claims: Annotated[Claims, Depends(holder)], company: Annotated[str, Path()]) -> str:
    """Return the company of the path, which the holder of the token may read; one's own is there before anybody of it was heard."""
    if company == claims.company:
        return company
    if claims.role is Role.SERVICE and is_id(company):
        with parts.looking() as look:
            if queries.company_exists(look.connection, company):
                return company
    raise not_found()


def user(_company: Annotated[str, Depends(company)], user: Annotated[str, Path()]) -> str:
    """Return the user of the path, whose id is one."""
    if not is_id(user):
        raise not_found()
    return user


TheCompany = Annotated[str, Depends(company)]
TheUser = Annotated[str, Depends(user)]
