"""`fieldbeat token`: issue, inspect, revoke."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from broker.access import Claims, Role
from broker.tokens import Revocations
from broker.tokens import issue as sign
from cli import output, settings, wiring
from cli.options import AsJson, Company, checked, duration
from cli.quantities import duration_text, time_text
from cli.settings import Settings
from models import queries
from models.errors import BadSetting, TokenRefused

_PARTS = 3
_TIMES = ("iat", "nbf", "exp")
_LONGEST_TIME = datetime.max.replace(tzinfo=UTC).timestamp()

TokenText = Annotated[str, typer.Argument(metavar="TOKEN", help="The token, or - to read it from standard input.")]


def issue(
    company: Company,
    user: Annotated[str, typer.Option(help="Whose token it is.", callback=checked)],
    role: Annotated[Role, typer.Option(help="What it is for.")] = Role.DEVICE,
    device: Annotated[str | None, typer.Option(help="The device it is for.", callback=checked)] = None,
    expires: Annotated[str, typer.Option(help="For how long it holds, in s, m, h or d.")] = "30d",
) -> None:
    """Print a new token, and nothing else.

    The user connects with their id as the username and the token as the password.
    """
    chosen = settings.load()
    life = duration("--expires", expires)
    if life > chosen.max_lifetime:
        raise BadSetting(f"--expires must be at most FIELDBEAT_TOKEN_MAX_LIFETIME, {chosen.token_max_lifetime}")
    now = wiring.now()
    output.out(sign(wiring.issuing_key(chosen), Claims(company, user, role, now + life, now, device=device)))


def inspect(token: TokenText, as_json: AsJson = False) -> None:
    """Show what a token says, and whether it is accepted: exit status 1 if it is not."""
    chosen = settings.load()
    text = _read(token)
    header, payload = _parts(text)
    trouble = _trouble(chosen, text)
    if as_json:
        output.out_json({"header": header, "claims": payload, "accepted": trouble is None, "refusedBecause": trouble})
    else:
        output.facts(_lines(header, payload, trouble, wiring.now()))
    if trouble is not None:
        raise typer.Exit(1)


def revoke(
    token: Annotated[str | None, typer.Argument(metavar="TOKEN", help="The token; - reads standard input.")] = None,
    jti: Annotated[str | None, typer.Option(help="The id of the token to revoke.")] = None,
    company: Annotated[str | None, typer.Option(help="The company of the user.", callback=checked)] = None,
    user: Annotated[
        str | None, typer.Option(help="Revoke all tokens issued to this user so far.", callback=checked)
    ] = None,
) -> None:
    """Revoke one token, by itself or by its id, or with --company and --user all that a user was issued so far.

    Connections that were opened with it end, and so do the leases it held.
    """
    chosen = settings.load()
    if (company is None) != (user is None):
        raise BadSetting("--company and --user come together")
    if sum((token is not None, jti is not None or user is not None)) != 1:
        raise BadSetting("name what to revoke: TOKEN, or --jti, or --company and --user")
    at = wiring.now()
    if token is not None:
        claims = _revocable(chosen, _read(token))
        _revoke_token(chosen, claims.token_id or "", claims.company, claims.user, claims.device, at)
    elif jti is not None:
        _revoke_token(chosen, jti, company or "", user or "", None, at)
    else:
        opened = wiring.ready_engine(chosen)
        wiring.store(chosen, opened).revoke_user(company or "", user or "", at)
        output.out(f"revoked all tokens that {user} of {company} was issued up to {time_text(at)}")


def _revoke_token(chosen: Settings, token_id: str, company: str, user: str, device: str | None, at: datetime) -> None:
    if not token_id:
        raise BadSetting("--jti must name a token")
    wiring.store(chosen, wiring.ready_engine(chosen)).revoke_token(token_id, company, user, device, at)
    output.out(f"revoked the token {token_id}")


def _revocable(chosen: Settings, text: str) -> Claims:
    """Return what the token TEXT proves; one that proves nothing needs no revocation."""
    try:
        claims = wiring.verifier(chosen).verify(text)
    except TokenRefused as refused:
        raise TokenRefused(f"nothing to revoke: {refused}") from None
    if claims.token_id is None:
        raise TokenRefused(
            "the token has no jti: revoke all of the user's with "
            f"`fieldbeat token revoke --company {claims.company} --user {claims.user}`"
        )
    return claims


def _read(token: str) -> str:
    return (sys.stdin.read() if token == "-" else token).strip()  # noqa: S105 a dash is no token


def _parts(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of the token TEXT, unproven; raise `TokenRefused` if it is no JWT."""
    pieces = text.split(".")
    try:
        header, payload = (
            json.loads(base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4))) for piece in pieces[:2]
        )
    except (ValueError, binascii.Error, RecursionError):
        header = payload = None
    if len(pieces) != _PARTS or not isinstance(header, dict) or not isinstance(payload, dict):
        raise TokenRefused("that is no token: a JWT has three parts with points between them")
    return header, payload


def _trouble(chosen: Settings, text: str) -> str | None:
    """Return why the token TEXT is not accepted, None when it is."""
    try:
        claims = wiring.verifier(chosen).verify(text)
    except TokenRefused as refused:
        return str(refused)
    with wiring.ready_engine(chosen).connect() as connection:
        revoked = Revocations(*queries.revocations(connection)).cover(claims)
    return "revoked" if revoked else None


def _lines(
    header: dict[str, Any], payload: dict[str, Any], trouble: str | None, now: datetime
) -> list[tuple[str, str]]:
    said = [(name, str(payload[name])) for name in payload if name not in _TIMES]
    times = [(name, _time(payload[name], now)) for name in _TIMES if name in payload]
    verdict = "yes" if trouble is None else f"no: {trouble}"
    return [
        ("accepted", verdict),
        ("kid", str(header.get("kid", "—"))),
        ("alg", str(header.get("alg", "—"))),
        *said,
        *times,
    ]


def _time(value: object, now: datetime) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LONGEST_TIME:
        return str(value)
    time = datetime.fromtimestamp(value, UTC)
    distance = duration_text(abs((time - now).total_seconds()))
    return f"{time_text(time)} ({f'in {distance}' if time > now else f'{distance} ago'})"
