"""The plug-in's gate with a broker that only writes down what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from broker.access import Claims, Role
from broker.mosquitto.gate import NEXT_LOOK_S, RETRY_KICK_S, Gate, Trust, Visit
from broker.mosquitto.sessions import Owner
from broker.tokens import Key, Revocations, Verifier, issue

_NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_KEY = Key.from_secret("k" * 40)
_VERIFIER = Verifier.of([_KEY], ["HS256"], timedelta(days=90), lambda: _NOON)


@dataclass
class _Broker:
    """Mosquitto's part: KEPT are the client ids that it knows, SLOW those whose connection outlives a kick a while."""

    kept: set[str] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)
    kicked: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def rename(self, pointer: int, username: str) -> bool:
        self.names[pointer] = username
        return True

    def kick(self, client_id: str) -> bool:
        self.kicked.append(client_id)
        return client_id in self.kept

    def log(self, text: str) -> None:
        self.logged.append(text)


def _gate(revocations: Revocations | None = None) -> tuple[Gate, _Broker]:
    broker = _Broker()
    return Gate(Trust(_VERIFIER, revocations or Revocations()), broker), broker


def _token(
    user: str, role: Role = Role.DASHBOARD, company: str = "acme", ttl_s: int = 60, jti: str | None = None
) -> str:
    return issue(_KEY, Claims(company, user, role, _NOON + timedelta(seconds=ttl_s), _NOON, jti))


def _visit(client_id: str, user: str, token: str, pointer: int = 1) -> Visit:
    return Visit(pointer, client_id, user, token, "127.0.0.1")


def _after(seconds: float) -> datetime:
    return _NOON + timedelta(seconds=seconds)


def test_a_good_token_gets_in_under_a_name_that_says_who_it_is() -> None:
    gate, broker = _gate()
    assert gate.admit(_visit("acme:alice", "alice", _token("alice", Role.DEVICE)))
    assert broker.names == {1: "device|acme|alice"}


def test_a_refusal_is_logged_with_its_reason_and_without_the_token() -> None:
    gate, broker = _gate()
    token = _token("alice", Role.DEVICE)
    assert not gate.admit(_visit("acme:bob", "alice", token))
    assert not gate.admit(_visit("acme:alice", "bob", token))
    assert not gate.admit(_visit("acme:alice", "alice", token[:-4]))
    assert len(broker.logged) == 3
    assert not any(token[:-4] in line for line in broker.logged)
    assert not broker.names


def test_a_revoked_token_and_a_revoked_user_are_refused() -> None:
    gate, _ = _gate(Revocations(frozenset({"j1"}), {("acme", "bob"): _NOON}))
    assert not gate.admit(_visit("d1", "alice", _token("alice", jti="j1")))
    assert not gate.admit(_visit("d2", "bob", _token("bob")))
    assert gate.admit(_visit("d3", "alice", _token("alice", jti="j2")))


def test_a_connection_ends_when_its_token_expires_and_not_before() -> None:
    gate, broker = _gate()
    gate.admit(_visit("d", "boss", _token("boss", ttl_s=60)))
    gate.tick(_after(59))
    assert broker.kicked == []
    gate.tick(_after(60))
    assert broker.kicked == ["d"]


def test_a_kick_that_took_no_effect_yet_is_repeated() -> None:
    gate, broker = _gate()
    broker.kept.add("d")
    gate.admit(_visit("d", "boss", _token("boss")))
    gate.tick(_after(60))
    gate.tick(_after(61))
    assert broker.kicked == ["d"]
    gate.tick(_after(60 + RETRY_KICK_S))
    assert broker.kicked == ["d", "d"]


def test_a_takeover_by_its_owner_moves_the_end_to_that_of_the_newer_token() -> None:
    gate, broker = _gate()
    gate.admit(_visit("d", "boss", _token("boss", ttl_s=5), pointer=1))
    assert gate.admit(_visit("d", "boss", _token("boss", ttl_s=60), pointer=2))
    gate.disconnected("d", 1, _after(1))  # Mosquitto ends the old connection after it admitted the new one
    gate.tick(_after(10))
    assert broker.kicked == []
    gate.tick(_after(60))
    assert broker.kicked == ["d"]


def test_a_live_client_id_is_its_owners_alone() -> None:
    gate, broker = _gate()
    gate.admit(_visit("screen", "boss", _token("boss")))
    assert not gate.admit(_visit("screen", "spy", _token("spy", company="other"), pointer=2))
    assert not gate.admit(_visit("screen", "colleague", _token("colleague"), pointer=2))
    assert broker.kicked == []


def test_a_device_and_a_dashboard_of_one_user_do_not_take_each_others_session() -> None:
    gate, _ = _gate()
    gate.admit(_visit("acme:alice", "alice", _token("alice", Role.DEVICE)))
    assert not gate.admit(_visit("acme:alice", "alice", _token("alice", Role.DASHBOARD), pointer=2))


def test_the_services_are_one_party() -> None:
    gate, _ = _gate()
    gate.admit(_visit("fieldbeat:ingest", "old", _token("old", Role.SERVICE)))
    assert gate.admit(_visit("fieldbeat:ingest", "new", _token("new", Role.SERVICE, company="ops"), pointer=2))


def test_a_kept_session_stays_its_owners_and_a_forgotten_one_is_free_again() -> None:
    gate, broker = _gate()
    broker.kept.add("screen")
    gate.admit(_visit("screen", "boss", _token("boss")))
    gate.disconnected("screen", 1, _after(1))
    spy = _visit("screen", "spy", _token("spy", company="other"), pointer=2)
    assert not gate.admit(spy)
    broker.kept.clear()
    assert gate.admit(spy)


def test_sessions_that_mosquitto_forgot_are_forgotten() -> None:
    gate, broker = _gate()
    broker.kept.add("kept")
    for pointer, client_id in enumerate(("kept", "brief")):
        gate.admit(_visit(client_id, "boss", _token("boss"), pointer))
        gate.disconnected(client_id, pointer, _NOON)
    gate.tick(_after(1))
    assert sorted(broker.kicked) == ["brief", "kept"]
    gate.tick(_after(60))
    gate.tick(_after(1 + NEXT_LOOK_S))
    assert sorted(broker.kicked) == ["brief", "kept", "kept"]


def test_a_revocation_ends_the_connections_that_it_covers() -> None:
    gate, broker = _gate()
    for pointer, user in enumerate(("alice", "bob")):
        gate.admit(_visit(user, user, _token(user), pointer))
    gate.trust(Trust(_VERIFIER, Revocations(users={("acme", "bob"): _NOON})), _after(1))
    assert broker.kicked == ["bob"]


def test_a_session_stays_when_mosquitto_asks_again() -> None:
    gate, _ = _gate()
    token = _token("boss")
    gate.admit(_visit("d", "boss", token))
    assert gate.recheck(_visit("d", "dashboard|acme|boss", token))
    gate.disconnected("d", 1, _after(1))
    assert gate.recheck(_visit("d", "dashboard|acme|boss", token))


def test_a_new_connection_cannot_pass_for_one_that_is_asked_about_again() -> None:
    gate, _ = _gate()
    gate.admit(_visit("d", "boss", _token("boss")))
    assert not gate.recheck(_visit("d", "dashboard|acme|boss", _token("boss", ttl_s=50)))
    assert not gate.recheck(_visit("d", "dashboard|acme|boss", _token("boss"), pointer=2))
    assert not gate.recheck(_visit("e", "dashboard|acme|boss", _token("boss"), pointer=3))
    assert not gate.recheck(Visit(4, "f", "service|acme|boss", None, "127.0.0.1"))


def test_the_owner_of_a_restored_session_is_learned_from_its_name() -> None:
    gate, broker = _gate()
    assert gate.recheck(Visit(1, "screen", "dashboard|acme|boss", None, None))
    assert not gate.admit(_visit("screen", "spy", _token("spy", company="other"), pointer=2))
    assert broker.kicked == []  # to ask Mosquitto about it would end it
    assert gate.admit(_visit("screen", "boss", _token("boss"), pointer=3))


def test_a_restored_session_of_before_the_plugin_is_refused() -> None:
    gate, _ = _gate()
    assert not gate.recheck(Visit(1, "screen", "boss", None, None))


def test_an_owner_is_read_back_from_its_username() -> None:
    owner = Owner(Role.DEVICE, "acme", "alice")
    assert Owner.parse(owner.username) == owner
    assert Owner.parse("device|acme") is None
    assert Owner.parse("root|acme|alice") is None
