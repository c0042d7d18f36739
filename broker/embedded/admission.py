"""Whether a CONNECT is let in. Nothing of the broker changes before the answer is yes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from broker import access
from broker.access import Claims, Role
from broker.embedded.connect import IDENTIFIER_REJECTED, NOT_AUTHORIZED, SERVER_UNAVAILABLE, Connect
from broker.embedded.counters import Refusal
from broker.embedded.sessions import Session, owner_of
from models.errors import TokenRefused

Verify = Callable[[str, str], Claims]
"""(token, username) to what they prove; raises `TokenRefused`."""
IsRevoked = Callable[[Claims], bool]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A CONNECT that may go on, as whom, and under which client id."""

    claims: Claims
    client_id: str


def code(refusal: Refusal) -> int:
    """Return the return code of the CONNACK that says REFUSAL; who may not come in is not told why."""
    if refusal is Refusal.CLIENT_ID:
        return IDENTIFIER_REJECTED
    return SERVER_UNAVAILABLE if refusal is Refusal.TOO_MANY else NOT_AUTHORIZED


def admit(
    connect: Connect,
    max_client_id: int,
    verify: Verify,
    is_revoked: IsRevoked,
    find: Callable[[str], Session | None],
) -> Admitted | Refusal:
    """Judge CONNECT: the token first, then the client id, its session's owner, and the will."""
    if len(connect.client_id) > max_client_id or (not connect.client_id and not connect.clean_session):
        return Refusal.CLIENT_ID  # [MQTT-3.1.3-8]
    claims = _proven(connect, verify)
    if claims is None:
        return Refusal.CREDENTIALS
    if is_revoked(claims):
        return Refusal.REVOKED
    client_id = connect.client_id or _own_client_id(claims)
    session = find(client_id)
    if not access.may_connect(claims, client_id) or (session is not None and session.owner != owner_of(claims)):
        return Refusal.NOT_OWNER
    if connect.will is not None and not access.may_publish(claims, connect.will.topic):
        return Refusal.WILL
    return Admitted(claims, client_id)


def _proven(connect: Connect, verify: Verify) -> Claims | None:
    if connect.username is None or connect.password is None:
        return None
    try:
        return verify(connect.password.decode(), connect.username)
    except (TokenRefused, UnicodeDecodeError):
        return None


def _own_client_id(claims: Claims) -> str:
    """Return a new client id for a client that brought none [MQTT-3.1.3-6]."""
    name = f"auto-{secrets.token_hex(8)}"
    if claims.role is Role.SERVICE:
        return f"{access.SERVICE_PREFIX}{name}"
    return f"{claims.company}:{claims.user}:{name}"
