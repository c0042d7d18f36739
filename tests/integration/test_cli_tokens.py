"""`fieldbeat token`: issue, inspect, revoke, and the secret that whichever command comes first generates."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.field import Command, Field, environment

ISSUE = "token", "issue", "--company", "acme", "--user", "alice"


@pytest.fixture
def fieldbeat(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


@pytest.fixture
def acme(tmp_path: Path) -> Field:
    return Field(tmp_path)


def claims_in(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def test_issue_prints_the_token_and_nothing_else(fieldbeat: Command) -> None:
    ended = fieldbeat(*ISSUE, "--role", "dashboard", "--device", "wall", "--expires", "12h")
    assert (ended.status, ended.err, ended.out.count("\n")) == (0, "", 1)
    claims = claims_in(ended.out)
    assert (claims["sub"], claims["companyId"], claims["role"], claims["device"]) == (
        "alice",
        "acme",
        "dashboard",
        "wall",
    )
    assert claims["exp"] - int(claims["iat"]) == 12 * 3600
    assert claims["jti"]


@pytest.mark.parametrize(
    "options",
    [
        "--company a/b --user u",
        "--company + --user u",
        "--company a --user x:y",
        "--company a --user u --device #",
        "--company a --user u --role boss",
        "--company a --user u --expires 401d",
        "--company a --user u --expires 0s",
        "--company a --user u --expires never",
        "--company a",
    ],
)
def test_what_no_token_may_say_is_wrong_use(options: str, fieldbeat: Command) -> None:
    ended = fieldbeat("token", "issue", *options.split())
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)


def test_the_generated_secret_is_for_its_owner_alone(fieldbeat: Command) -> None:
    fieldbeat(*ISSUE)
    secret = Path(".fieldbeat/jwt-secret")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700
    assert len(secret.read_text("ascii").strip()) >= 32
    assert [path.name for path in secret.parent.iterdir()] == ["jwt-secret"]


def test_of_several_first_commands_all_use_the_same_secret(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.main", *ISSUE]
    runs = [
        subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE)  # noqa: S603 our own command
        for _ in range(4)
    ]
    tokens = [run.communicate(timeout=60)[0].decode() for run in runs]
    kids = {json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "==="))["kid"] for token in tokens}
    assert len(kids) == 1
    assert os.listdir(tmp_path / ".fieldbeat") == ["jwt-secret"]  # noqa: PTH208 names are what is compared


def test_inspect_shows_claims_and_verdict(fieldbeat: Command, monkeypatch: pytest.MonkeyPatch, acme: Field) -> None:
    token = fieldbeat(*ISSUE).out.strip()
    seen = fieldbeat("token", "inspect", token, "--json")
    assert seen.status == 0
    assert (seen.json["accepted"], seen.json["claims"]["sub"]) == (True, "alice")
    assert seen.json["header"]["kid"]
    monkeypatch.setattr("sys.stdin", io.StringIO(token + "\n"))
    assert "accepted   yes" in fieldbeat("token", "inspect", "-").out
    assert acme.now


def test_inspect_says_why_a_token_is_not_accepted(fieldbeat: Command, acme: Field) -> None:
    token = fieldbeat(*ISSUE).out.strip()
    head, body, signature = token.split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims_in(token) | {"sub": "bob"}).encode()).decode().rstrip("=")
    forged = fieldbeat("token", "inspect", f"{head}.{other}.{signature}", "--json")
    assert (forged.status, forged.json["accepted"]) == (1, False)
    assert "InvalidSignature" in forged.json["refusedBecause"]
    for text in ("rubbish", "a.b.c", f"{head}.{body}", ".."):
        ended = fieldbeat("token", "inspect", text)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith("fieldbeat: that is no token")
    assert acme.now


def test_a_revoked_token_is_no_longer_accepted(fieldbeat: Command, acme: Field) -> None:
    token, other = (fieldbeat(*ISSUE).out.strip() for _ in range(2))
    assert fieldbeat("token", "revoke", token).status == 0
    assert fieldbeat("token", "inspect", token, "--json").json["refusedBecause"] == "revoked"
    assert fieldbeat("token", "inspect", other).status == 0
    assert fieldbeat("token", "revoke", "--jti", claims_in(other)["jti"]).status == 0
    assert fieldbeat("token", "inspect", other).status == 1
    assert acme.now


def test_revoking_a_user_ends_tokens_and_leases(fieldbeat: Command, acme: Field) -> None:
    acme.listen()
    acme.tell("alice", 5, device="phone", session="s1")
    token = fieldbeat(*ISSUE).out.strip()
    assert fieldbeat("token", "revoke", "--company", "acme", "--user", "alice").status == 0
    assert fieldbeat("token", "inspect", token).status == 1
    (state,) = fieldbeat("who", "--company", "acme", "--json").json
    assert (state["status"], state["reason"]) == ("offline", "token_revoked")
    assert "its token was revoked at" in fieldbeat("why", "--company", "acme", "--user", "alice").out
    assert fieldbeat("token", "inspect", fieldbeat(*ISSUE).out.strip()).status == 0


def test_revoking_a_devices_token_ends_its_lease(fieldbeat: Command, acme: Field) -> None:
    acme.tell("alice", 5, device="phone", session="s1")
    acme.tell("alice", 5, device="van", session="s2")
    token = fieldbeat(*ISSUE, "--device", "phone").out.strip()
    fieldbeat("token", "revoke", token)
    (state,) = fieldbeat("who", "--company", "acme", "--json").json
    assert {one["device"]: one["status"] for one in state["devices"]} == {"phone": "offline", "van": "online"}


@pytest.mark.parametrize("options", ["", "--company acme", "--user alice", "some.token --jti x", "--jti="])
def test_revoke_wants_to_know_exactly_what(options: str, fieldbeat: Command) -> None:
    ended = fieldbeat("token", "revoke", *options.split())
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)


def test_a_token_that_proves_nothing_needs_no_revocation(fieldbeat: Command, acme: Field) -> None:
    ended = fieldbeat("token", "revoke", "a.b.c")
    assert (ended.status, ended.out) == (1, "")
    assert "nothing to revoke" in ended.err
    assert acme.now


def jwks(*names: str, algorithm: str = "HS256") -> str:
    """Return a JWK Set of symmetric keys, each a secret of its own."""
    secret = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    return json.dumps({"keys": [{"kid": name, "kty": "oct", "alg": algorithm, "k": secret} for name in names]})


def test_keys_of_ones_own_are_used_and_no_secret_is_made(fieldbeat: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("keys.json").write_text(jwks("new", "old"), "utf-8")
    monkeypatch.setenv("FIELDBEAT_JWT_KEYS", "keys.json")
    token = fieldbeat(*ISSUE).out
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "==="))["kid"] == "new"
    assert not Path(".fieldbeat/jwt-secret").exists()


def test_keys_whose_algorithm_is_not_allowed_are_a_wrong_setting(
    fieldbeat: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("keys.json").write_text(jwks("new", algorithm="HS512"), "utf-8")
    monkeypatch.setenv("FIELDBEAT_JWT_KEYS", "keys.json")
    ended = fieldbeat(*ISSUE)
    assert (ended.status, ended.out) == (2, "")
    assert "FIELDBEAT_JWT_ALGORITHMS must name an algorithm of the keys" in ended.err
