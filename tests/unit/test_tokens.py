"""Tokens: issued, verified, rotated, revoked, and refused for every flaw."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.access import Claims, Role
from broker.tokens import Key, Revocations, Verifier, issue, keys_from_jwks
from models.errors import BadSetting, TokenRefused

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SECRET = "a secret of the tests, long enough for HS256"
KEY = Key.from_secret(SECRET)
OTHER_KEY = Key.from_secret(SECRET[::-1])
MAX_LIFETIME = timedelta(days=365)
ALICE = Claims("acme", "alice", Role.DEVICE, NOW + timedelta(days=30), NOW, "j1", "tablet-7")
RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()


def verifier(*keys: Key, algorithms: tuple[str, ...] = ("HS256",), now: datetime = NOW) -> Verifier:
    return Verifier.of(keys or (KEY,), algorithms, MAX_LIFETIME, lambda: now)


def token(changes: dict[str, Any] | None = None, *, without: str = "", header: dict[str, Any] | None = None) -> str:
    payload: dict[str, Any] = {
        "sub": "alice",
        "companyId": "acme",
        "exp": NOW.timestamp() + 3600,
        "iat": NOW.timestamp(),
    }
    payload |= changes or {}
    payload.pop(without, None)
    return jwt.encode(payload, SECRET, algorithm="HS256", headers={"kid": KEY.kid} | (header or {}))


def jwk(private: Any, algorithm: str, kid: str, **more: str) -> dict[str, Any]:  # noqa: ANN401 three kinds of key
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(private, as_dict=True)
    return {**made, "kid": kid, **more}


def test_what_was_issued_is_what_is_verified() -> None:
    assert verifier().verify(issue(KEY, ALICE), "alice") == ALICE


def test_a_token_without_role_is_a_devices() -> None:
    assert verifier().verify(token()).role is Role.DEVICE


@pytest.mark.parametrize("role", list(Role))
def test_every_role_can_be_issued(role: Role) -> None:
    claims = Claims("acme", "alice", role, NOW + timedelta(hours=1), NOW, "j2")

    assert verifier().verify(issue(KEY, claims)) == claims


def test_a_token_gets_an_id_of_its_own() -> None:
    claims = Claims("acme", "alice", Role.DEVICE, NOW + timedelta(hours=1), NOW)

    first, second = (verifier().verify(issue(KEY, claims)).token_id for _ in range(2))

    assert first
    assert first != second


@pytest.mark.parametrize(
    "bad",
    [
        token(without="exp"),
        token(without="sub"),
        token(without="companyId"),
        token({"exp": NOW.timestamp() - 1}),
        token({"exp": NOW.timestamp()}),
        token({"exp": 1e18}),
        token({"exp": float("nan")}),
        token({"exp": float("inf")}),
        token({"exp": "2030"}),
        token({"exp": True}),
        token({"exp": None}),
        token({"exp": NOW.timestamp() + 366 * 86400}),
        token({"iat": 0}),
        token({"iat": NOW.timestamp() + 3600, "exp": NOW.timestamp() + 7200}),
        token({"iat": "yesterday"}),
        token({"nbf": NOW.timestamp() + 3600}),
        token({"sub": 5}),
        token({"sub": ""}),
        token({"sub": "+"}),
        token({"sub": "a/b"}),
        token({"sub": "a\0"}),
        token({"sub": "a" * 65}),
        token({"companyId": "#"}),
        token({"companyId": ["acme"]}),
        token({"companyId": None}),
        token({"device": "a b"}),
        token({"device": 7}),
        token({"role": "admin"}),
        token({"role": None}),
        token({"role": {}}),
        token({"jti": 5}),
        token({"aud": "another-service"}),
        token({"x": "x" * 10_000}),
        token(header={"kid": "unknown"}),
        token(header={"kid": "../../etc/passwd"}),
        token(header={"crit": ["nonsense"], "nonsense": 1}),
        token()[:-2],
        token()[:-2] + "AA",
        token().rpartition(".")[0] + ".",
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "\ud800",
        "x" * 1_000_000,
        issue(OTHER_KEY, ALICE),
        jwt.encode({"sub": "alice", "companyId": "acme", "exp": NOW.timestamp() + 60}, "", algorithm="none"),
    ],
)
def test_every_flaw_is_a_refusal(bad: str) -> None:
    with pytest.raises(TokenRefused, match=r"^token refused"):
        verifier().verify(bad)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.characters())
def test_no_change_of_a_token_is_accepted(where: int, letter: str) -> None:
    good = token()
    where %= len(good) - 2  # the last letter carries bits that do not count
    changed = good[:where] + letter + good[where + 1 :]

    if changed != good:
        with pytest.raises(TokenRefused):
            verifier().verify(changed)


def test_a_refusal_shows_neither_the_token_nor_the_key() -> None:
    bad = issue(OTHER_KEY, ALICE)

    with pytest.raises(TokenRefused) as caught:
        verifier().verify(bad)

    assert bad not in str(caught.value)
    assert SECRET not in repr(KEY)
    assert caught.value.__cause__ is None


def test_a_token_serves_only_its_own_user() -> None:
    with pytest.raises(TokenRefused, match="username"):
        verifier().verify(issue(KEY, ALICE), "bob")


def test_an_hmac_of_the_public_key_is_no_signature() -> None:
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    keys = keys_from_jwks(json.dumps({"keys": [jwk(RSA.public_key(), "RS256", "r1")]}))
    # PyJWT refuses to sign this way, so it is done by hand.
    unsigned = jwt.encode({"sub": "alice", "companyId": "acme", "exp": 9e9}, SECRET, "HS256", {"kid": "r1"}).rpartition(
        "."
    )[0]
    signature = jwt.get_algorithm_by_name("HS256").sign(unsigned.encode(), public)
    forged = f"{unsigned}.{jwt.utils.base64url_encode(signature).decode()}"

    with pytest.raises(TokenRefused, match="unknown key"):
        verifier(*keys, algorithms=("RS256", "HS256")).verify(forged)


@pytest.mark.parametrize(("private", "algorithm"), [(RSA, "RS256"), (CURVE, "ES256"), (EDWARDS, "EdDSA")])
def test_public_keys_verify_and_private_ones_sign(private: Any, algorithm: str) -> None:  # noqa: ANN401 three kinds of key
    (signing,) = keys_from_jwks(json.dumps({"keys": [jwk(private, algorithm, "k1")]}))
    (public,) = keys_from_jwks(json.dumps({"keys": [jwk(private.public_key(), algorithm, "k1")]}))
    made = issue(signing, ALICE)

    assert verifier(public, algorithms=(algorithm,)).verify(made) == ALICE
    with pytest.raises(TokenRefused):
        verifier(public, algorithms=("HS256",)).verify(made)
    with pytest.raises(BadSetting, match="no private part"):
        issue(public, ALICE)


def test_keys_are_rotated_by_their_id() -> None:
    old, new = issue(KEY, ALICE), issue(OTHER_KEY, ALICE)

    assert KEY.kid != OTHER_KEY.kid
    assert verifier(KEY, OTHER_KEY).verify(old) == ALICE
    assert verifier(KEY, OTHER_KEY).verify(new) == ALICE
    with pytest.raises(TokenRefused):
        verifier(OTHER_KEY).verify(old)


def test_a_token_without_key_id_is_tried_with_every_key() -> None:
    bare = jwt.encode({"sub": "alice", "companyId": "acme", "exp": NOW.timestamp() + 60}, SECRET, "HS256")

    assert verifier(OTHER_KEY, KEY).verify(bare).user == "alice"
    assert verifier(KEY, OTHER_KEY).verify(bare).user == "alice"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": 5}',
        '{"keys": [5]}',
        '{"keys": [{"kty": "oct"}]}',
        '{"keys": [{"kty": "oct", "k": "c2hvcnQ", "kid": "s"}]}',
        '{"keys": [{"kty": "oct", "k": "YSBzZWNyZXQgb2YgdGhlIHRlc3RzLCBsb25nIGVub3VnaCBmb3IgSFMyNTY"}]}',
        '{"keys": [{"kty": "strange", "kid": "x"}]}',
        '{"keys": [{"kty": "RSA", "kid": "x", "n": "!", "e": "AQAB"}]}',
    ],
)
def test_a_key_file_that_cannot_be_used_is_a_bad_setting(text: str) -> None:
    with pytest.raises(BadSetting):
        keys_from_jwks(text)


def test_a_short_secret_and_an_unknown_algorithm_are_bad_settings() -> None:
    with pytest.raises(BadSetting, match="32 bytes"):
        Key.from_secret("short")
    with pytest.raises(BadSetting, match="none"):
        verifier(algorithms=("HS256", "none"))


def test_a_token_is_revoked_by_its_id() -> None:
    assert Revocations(frozenset({"j1"})).cover(ALICE)
    assert not Revocations(frozenset({"j2"})).cover(ALICE)
    assert not Revocations().cover(ALICE)


@pytest.mark.parametrize(("revoked", "covered"), [(-1, False), (0, True), (1, True)])
def test_a_users_tokens_are_revoked_up_to_a_time(revoked: int, covered: bool) -> None:
    revocations = Revocations(users={("acme", "alice"): NOW + timedelta(seconds=revoked)})

    assert revocations.cover(ALICE) is covered


def test_a_token_of_unknown_age_falls_with_its_user_and_nobody_elses() -> None:
    ageless = Claims("acme", "alice", Role.DEVICE, NOW + timedelta(days=1))

    assert Revocations(users={("acme", "alice"): NOW}).cover(ageless)
    assert not Revocations(users={("acme", "bob"): NOW, ("other", "alice"): NOW}).cover(ageless)
    assert not Revocations(frozenset({""})).cover(ageless)
