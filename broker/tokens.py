"""JWT to `Claims` and back: keys by `kid`, one refusal for every flaw, revocation [RFC 7519, RFC 8725]."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import jwt

from broker.access import Claims, Role
from models import topics
from models.errors import BadSetting, TokenRefused

SYMMETRIC = frozenset({"HS256", "HS384", "HS512"})
ASYMMETRIC = frozenset({"RS256", "ES256", "EdDSA"})
MIN_SECRET_BYTES = 32
"""An HMAC key is at least as long as its hash [RFC 7518 section 3.2]."""
MAX_TOKEN_CHARS = 8 * 1024
"""Longer tokens are refused unread: none of ours has a tenth of it."""

_LAST_TIME = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_BY_KEY_TYPE = {"oct": "HS256", "RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key: it verifies tokens of one algorithm, and signs them when its private part is here."""

    kid: str
    algorithm: str
    verifying: Any = field(repr=False)
    signing: Any = field(default=None, repr=False)

    @classmethod
    def from_secret(cls, secret: str) -> Self:
        """Return the HS256 key of SECRET; its kid is a digest, so that a new secret gets a new one."""
        data = secret.encode()
        if len(data) < MIN_SECRET_BYTES:
            raise BadSetting(f"the JWT secret must have at least {MIN_SECRET_BYTES} bytes")
        return cls(hashlib.sha256(b"fieldbeat kid:" + data).hexdigest()[:12], "HS256", data, data)


def keys_from_jwks(text: str) -> tuple[Key, ...]:
    """Return the keys of a JWK Set [RFC 7517]; every one needs a `kid`. Raise `BadSetting` for anything else."""
    try:
        entries = json.loads(text)["keys"]
        if not all(isinstance(entry, dict) and isinstance(entry.get("kid"), str) for entry in entries):
            raise ValueError("every key needs a kid")
        return tuple(_key_from_jwk(entry) for entry in entries)
    except (ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
        raise BadSetting(f"the JWKS file holds no usable key set: {error}") from None


def _key_from_jwk(entry: Mapping[str, Any]) -> Key:
    algorithm = entry.get("alg") or _BY_KEY_TYPE[entry["kty"]]
    material = jwt.PyJWK(dict(entry), algorithm).key
    if algorithm in SYMMETRIC:
        if len(material) < MIN_SECRET_BYTES:
            raise BadSetting(f"key {entry['kid']!r} must have at least {MIN_SECRET_BYTES} bytes")
        return Key(entry["kid"], algorithm, material, material)
    if "d" in entry:
        return Key(entry["kid"], algorithm, material.public_key(), material)
    return Key(entry["kid"], algorithm, material)


@dataclass(frozen=True, slots=True)
class Revocations:
    """What has been revoked: single tokens by `jti`, and all tokens that a user was issued up to a time."""

    token_ids: frozenset[str] = frozenset()
    users: Mapping[tuple[str, str], datetime] = field(default_factory=dict)

    def cover(self, claims: Claims) -> bool:
        """Whether CLAIMS are revoked. A token that does not say when it was issued falls with its user."""
        if claims.token_id in self.token_ids:
            return True
        until = self.users.get((claims.company, claims.user))
        return until is not None and (claims.issued_at is None or claims.issued_at <= until)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Turns a token into `Claims`, or refuses it."""

    keys: Mapping[str, Key]
    algorithms: frozenset[str]
    max_lifetime: timedelta
    clock: Callable[[], datetime]

    @classmethod
    def of(
        cls, keys: Iterable[Key], algorithms: Iterable[str], max_lifetime: timedelta, clock: Callable[[], datetime]
    ) -> Self:
        allowed = frozenset(algorithms)
        if unknown := allowed - SYMMETRIC - ASYMMETRIC:
            raise BadSetting(f"JWT algorithm {min(unknown)!r} is none of {', '.join(sorted(SYMMETRIC | ASYMMETRIC))}")
        return cls({key.kid: key for key in keys}, allowed, max_lifetime, clock)

    def verify(self, token: str, username: str | None = None) -> Claims:
        """Return what TOKEN proves. Raise `TokenRefused` for any flaw, also when it is not USERNAME's."""
        try:
            claims = self._claims(self._payload(token))
        except (jwt.PyJWTError, TokenRefused, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenRefused(f"token refused: {type(error).__name__}: {str(error)[:120]}") from None
        if username is not None and username != claims.user:
            raise TokenRefused("token refused: the username is not its subject")
        return claims

    def _payload(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenRefused("too long")
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in self.algorithms:
            raise TokenRefused("algorithm not allowed")
        kid = header.get("kid")
        candidates = [key for key in self.keys.values() if key.algorithm == algorithm and kid in (None, key.kid)]
        if not candidates:
            raise TokenRefused("unknown key")
        for key in candidates[:-1]:
            try:
                return self._decode(token, key)
            except jwt.InvalidSignatureError:
                continue
        return self._decode(token, candidates[-1])

    def _decode(self, token: str, key: Key) -> dict[str, Any]:
        # The clock is ours, so the times are checked in `_claims`.
        own_times = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        options: Any = {"require": ["exp", "sub", "companyId"], **own_times}
        return jwt.decode(token, key.verifying, algorithms=[key.algorithm], options=options)

    def _claims(self, payload: Mapping[str, Any]) -> Claims:
        now = self.clock()
        expires_at, issued_at, not_before = (_time(payload.get(name)) for name in ("exp", "iat", "nbf"))
        if expires_at is None or expires_at <= now:
            raise TokenRefused("expired")
        if any(time is not None and time > now + timedelta(minutes=2) for time in (issued_at, not_before)):
            raise TokenRefused("not valid yet")
        if expires_at - (issued_at or now) > self.max_lifetime:
            raise TokenRefused("lifetime over the maximum")
        token_id = payload.get("jti")
        if token_id is not None and not isinstance(token_id, str):
            raise TokenRefused("jti is no string")
        device = payload.get("device")
        return Claims(
            company=_id(payload["companyId"]),
            user=_id(payload["sub"]),
            role=Role(payload.get("role", "device")),
            expires_at=expires_at,
            issued_at=issued_at,
            token_id=token_id,
            device=None if device is None else _id(device),
        )


def _time(value: object) -> datetime | None:
    """Return the NumericDate VALUE [RFC 7519 section 2] as a time."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused("a time is no number")
    if not 0 <= value < _LAST_TIME:
        raise TokenRefused("a time outside the calendar")
    return datetime.fromtimestamp(value, UTC)


def _id(value: object) -> str:
    if not isinstance(value, str) or not topics.is_id(value):
        raise TokenRefused("an id outside the grammar")
    return value


def issue(key: Key, claims: Claims) -> str:
    """Return a token that says CLAIMS, signed with KEY, with a `jti` of its own unless CLAIMS name one."""
    if key.signing is None:
        raise BadSetting(f"key {key.kid!r} has no private part, so it cannot issue tokens")
    payload = {
        "sub": claims.user,
        "companyId": claims.company,
        "role": str(claims.role),
        "exp": int(claims.expires_at.timestamp()),
        "jti": claims.token_id or secrets.token_urlsafe(12),
    }
    if claims.issued_at is not None:
        payload["iat"] = round(claims.issued_at.timestamp(), 3)
    if claims.device is not None:
        payload["device"] = claims.device
    return jwt.encode(payload, key.signing, algorithm=key.algorithm, headers={"kid": key.kid})


def subject(token: str) -> str:
    """Return whose token it says it is, unverified: for the username that goes with it."""
    try:
        return _id(jwt.decode(token, options={"verify_signature": False}).get("sub"))
    except (jwt.PyJWTError, TokenRefused, ValueError):
        raise BadSetting("FIELDBEAT_BROKER_TOKEN is no token") from None
