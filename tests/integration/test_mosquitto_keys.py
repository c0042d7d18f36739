"""Public keys inside a real Mosquitto: a JWKS file of three kinds of keys, rotation by watching it, and algorithms that do not mix."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from paho.mqtt.enums import MQTTProtocolVersion

from broker.tokens import Key
from tests.integration.plugged import Plugged, plugged, replace, token, until
from tests.integration.visitor import V4, V5, Visitor

BOTH = pytest.mark.parametrize("version", [V4, V5], ids=["MQTT 3.1.1", "MQTT 5"])
REFUSED = 0x87


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key, for the issuer, and what stands of it in the JWKS file."""

    key: Key
    jwk: dict[str, Any]

    @property
    def pem(self) -> bytes:
        return bytes(self.key.verifying.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _pair(kid: str, algorithm: str) -> Pair:
    private: Any
    match algorithm:
        case "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
            jwk = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
        case "ES256":
            private = ec.generate_private_key(ec.SECP256R1())
            jwk = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        case _:
            private = rsa.generate_private_key(65537, 2048)
            jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return Pair(Key(kid, algorithm, private.public_key(), private), jwk | {"kid": kid, "alg": algorithm, "use": "sig"})


def _jwks(*pairs: Pair) -> str:
    return json.dumps({"keys": [pair.jwk for pair in pairs]})


_PAIRS = {algorithm: _pair(f"{algorithm}-1", algorithm) for algorithm in ("EdDSA", "ES256", "RS256")}


def _lines(directory: Path, algorithms: str) -> list[str]:
    return [f"plugin_opt_jwks_file {directory / 'jwks.json'}", f"plugin_opt_algorithms {algorithms}"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugged]:
    directory = tmp_path_factory.mktemp("mosquitto")
    (directory / "jwks.json").write_text(_jwks(*_PAIRS.values()))
    with plugged(directory, *_lines(directory, "HS256, EdDSA, ES256, RS256")) as running:
        yield running


def _code(server: Plugged, presented: str, version: MQTTProtocolVersion = V5) -> int:
    with Visitor(server.port, "acme:alice", "alice", presented, version=version) as visitor:
        return visitor.code


@BOTH
@pytest.mark.parametrize("algorithm", _PAIRS)
def test_a_token_of_a_public_key_is_let_in(server: Plugged, algorithm: str, version: MQTTProtocolVersion) -> None:
    assert _code(server, token("alice", key=_PAIRS[algorithm].key), version) == 0


@pytest.mark.parametrize("algorithm", _PAIRS)
def test_a_token_of_a_strangers_key_under_the_same_kid_is_refused(server: Plugged, algorithm: str) -> None:
    stranger = _pair(f"{algorithm}-1", algorithm)
    assert _code(server, token("alice", key=stranger.key)) == REFUSED


@pytest.mark.parametrize("algorithm", _PAIRS)
def test_the_text_of_a_public_key_is_no_secret_to_sign_with(server: Plugged, algorithm: str) -> None:
    pair = _PAIRS[algorithm]
    body = {"sub": "alice", "companyId": "acme", "exp": int(time.time()) + 60, "iat": int(time.time())}
    secrets = [pair.pem, pair.pem.strip(), json.dumps(pair.jwk).encode()]
    secrets += [base64.urlsafe_b64decode(pair.jwk[name] + "==") for name in ("x", "n") if name in pair.jwk]
    for secret in secrets:
        # By hand: PyJWT refuses to make such a token.
        parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT", "kid": pair.key.kid}, body)]
        signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        signature = base64.urlsafe_b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).rstrip(b"=")
        assert _code(server, b".".join((signed, signature)).decode()) == REFUSED


def test_a_header_cannot_choose_another_algorithm_than_its_keys(server: Plugged) -> None:
    claims = {"sub": "alice", "companyId": "acme", "exp": int(time.time()) + 60}
    for signing, named in (("EdDSA", "ES256"), ("ES256", "RS256"), ("RS256", "EdDSA")):
        presented = jwt.encode(claims, _PAIRS[signing].key.signing, signing, {"kid": _PAIRS[named].key.kid})
        assert _code(server, presented) == REFUSED


def test_an_algorithm_that_is_not_listed_is_refused_though_its_key_is_there(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(_jwks(*_PAIRS.values()))
    with plugged(tmp_path, *_lines(tmp_path, "EdDSA")) as server:
        assert _code(server, token("alice", key=_PAIRS["EdDSA"].key)) == 0
        assert _code(server, token("alice", key=_PAIRS["ES256"].key)) == REFUSED
        assert _code(server, token("alice")) == REFUSED, "HS256, with the secret of the secret file"


def _rewrite(server: Plugged, *pairs: Pair) -> None:
    """Replace the JWKS file, and return when Mosquitto has read it."""
    read = server.server.log.count("read the keys and revocations again")
    replace(server.files / "jwks.json", _jwks(*pairs))
    until(lambda: server.server.log.count("read the keys and revocations again") > read)


def test_a_key_is_rotated_by_its_kid_with_nobody_disturbed(tmp_path: Path) -> None:
    old, new = _pair("2026-10", "EdDSA"), _pair("2026-11", "EdDSA")
    (tmp_path / "jwks.json").write_text(_jwks(old))
    with plugged(tmp_path, *_lines(tmp_path, "EdDSA")) as server:
        with Visitor(server.port, "acme:bob", "bob", token("bob", key=old.key)) as early:
            assert _code(server, token("alice", key=new.key)) == REFUSED
            _rewrite(server, old, new)
            assert [_code(server, token("alice", key=pair.key)) for pair in (old, new)] == [0, 0]
            _rewrite(server, new)
            assert [_code(server, token("alice", key=pair.key)) for pair in (old, new)] == [REFUSED, 0]
            assert early.publish("company/acme/presence/bob")
        with Visitor(server.port, "acme:bob", "bob", token("bob", key=old.key)) as late:
            assert late.code == REFUSED


def _kept(server: Plugged) -> int:
    return server.server.log.count("kept the keys and revocations of before")


def test_a_broken_key_set_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(_jwks(_PAIRS["EdDSA"]))
    with plugged(tmp_path, *_lines(tmp_path, "EdDSA")) as server:
        for broken in ("{", '{"keys": []}', _jwks(_PAIRS["ES256"])):
            seen = _kept(server)
            replace(tmp_path / "jwks.json", broken)
            until(lambda: _kept(server) > seen)  # noqa: B023 it is asked before the next turn of the loop
            assert _code(server, token("alice", key=_PAIRS["EdDSA"].key)) == 0
