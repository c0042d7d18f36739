"""The plug-in over time: expiry, revocation, rotation, reloads, restarts, and whose a session is."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from broker.access import Role
from broker.mosquitto.certificate import self_signed
from broker.tokens import Key, Revocations
from tests.integration.plugged import Plugged, plugged, replace, token, until
from tests.integration.visitor import V4, V5, Received, Visitor
from tests.servers import free_port

BOTH = pytest.mark.parametrize("version", [V4, V5], ids=["MQTT 3.1.1", "MQTT 5"])


def _reload(server: Plugged) -> None:
    before = server.server.log.count("Reloading config")
    server.server.hang_up()
    until(lambda: server.server.log.count("Reloading config") > before)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugged]:
    with plugged(tmp_path_factory.mktemp("mosquitto")) as running:
        yield running


def _watcher(server: Plugged) -> Visitor:
    return Visitor(server.port, "fieldbeat:watch", "watch", token("watch", Role.SERVICE))


def _dashboard(
    server: Plugged, user: str, client_id: str, *, company: str = "acme", version: MQTTProtocolVersion = V5
) -> Visitor:
    return Visitor(server.port, client_id, user, token(user, Role.DASHBOARD, company), version=version, keep=True)


@BOTH
@pytest.mark.parametrize("websocket", [False, True], ids=["TCP", "WebSocket"])
def test_a_connection_ends_at_its_tokens_end_and_its_will_is_published(
    server: Plugged, version: MQTTProtocolVersion, websocket: bool
) -> None:
    port = server.server.ws_port if websocket else server.port
    topic = "company/acme/presence/alice"
    with _watcher(server) as watcher:
        watcher.subscribe("company/#")
        brief = token("alice", ttl_s=2)
        with Visitor(
            port, "acme:alice", "alice", brief, version=version, websocket=websocket, will=(topic, "gone")
        ) as device:
            assert device.accepted
            assert watcher.received() == Received(topic, "gone")
            reason = device.ended()
            assert version == V4 or reason == 0x98  # MQTT 3.1.1 has no reasons


@BOTH
@pytest.mark.parametrize("websocket", [False, True], ids=["TCP", "WebSocket"])
def test_a_revoked_user_is_disconnected_with_its_will_and_does_not_come_back(
    server: Plugged, version: MQTTProtocolVersion, websocket: bool
) -> None:
    port = server.server.ws_port if websocket else server.port
    topic, held = "company/acme/presence/carol", token("carol")
    with _watcher(server) as watcher, Visitor(server.port, "acme:dave", "dave", token("dave")) as other:
        watcher.subscribe("company/#")
        with Visitor(
            port, "acme:carol", "carol", held, version=version, websocket=websocket, will=(topic, "gone")
        ) as device:
            server.revoke(Revocations(users={("acme", "carol"): datetime.now(UTC)}))
            assert watcher.received() == Received(topic, "gone")
            device.ended()
        with Visitor(port, "acme:carol", "carol", held, version=version, websocket=websocket) as again:
            assert again.code == 0x87
        assert other.publish("company/acme/presence/dave")
        server.revoke(Revocations())


def test_a_revoked_token_falls_alone(server: Plugged) -> None:
    with (
        Visitor(server.port, "acme:erin:1", "erin", token("erin", jti="one")) as first,
        Visitor(server.port, "acme:erin:2", "erin", token("erin", jti="two")) as second,
    ):
        server.revoke(Revocations(frozenset({"one"})))
        assert first.ended() == 0x98
        assert second.publish("company/acme/presence/erin")


def test_an_unreadable_revocations_file_changes_nothing(tmp_path: Path) -> None:
    with plugged(tmp_path) as server:
        server.revoke(Revocations(frozenset({"one"})))
        until(lambda: "read the keys and revocations again" in server.server.log)
        with Visitor(server.port, "acme:erin", "erin", token("erin", jti="two")) as visitor:
            replace(tmp_path / "revocations.json", "{broken")
            until(lambda: "kept the keys and revocations of before" in server.server.log)
            assert visitor.publish("company/acme/presence/erin")
        with Visitor(server.port, "acme:erin", "erin", token("erin", jti="one")) as visitor:
            assert not visitor.accepted


def test_a_new_secret_is_in_force_without_a_reload_and_the_old_sessions_stay(tmp_path: Path) -> None:
    fresh = Key.from_secret("n" * 40)
    with plugged(tmp_path) as server, Visitor(server.port, "acme:alice:1", "alice", token("alice")) as old:
        replace(tmp_path / "secret", "n" * 40)
        until(lambda: "read the keys and revocations again" in server.server.log)
        with Visitor(server.port, "acme:alice:2", "alice", token("alice", key=fresh)) as visitor:
            assert visitor.accepted
        with Visitor(server.port, "acme:alice:3", "alice", token("alice")) as visitor:
            assert not visitor.accepted
        assert old.publish("company/acme/presence/alice")


@BOTH
def test_a_reload_disturbs_no_session_live_offline_or_restored(tmp_path: Path, version: MQTTProtocolVersion) -> None:
    lines = ("persistence true", f"persistence_location {tmp_path}/", "persistent_client_expiration 1h")
    with plugged(tmp_path, *lines) as server, _dashboard(server, "boss", "restored", version=version) as visitor:
        assert visitor.subscribe("company/acme/#")
    with plugged(tmp_path, *lines) as server:
        with _dashboard(server, "boss", "offline", version=version) as visitor:
            assert visitor.subscribe("company/acme/#")
        with Visitor(server.port, "acme:alice", "alice", token("alice"), version=version) as device:
            for _ in range(3):
                _reload(server)
                device.subscribe("fieldbeat/service")  # answered after the reload; a signal during one is lost
            device.publish("company/acme/presence/alice", "still here")
        for client_id in ("offline", "restored"):
            with _dashboard(server, "boss", client_id, version=version) as visitor:
                assert visitor.resumed
                assert visitor.received() == Received("company/acme/presence/alice", "still here")


@BOTH
def test_nobody_takes_a_live_an_offline_or_a_restored_session_of_another(
    tmp_path: Path, version: MQTTProtocolVersion
) -> None:
    lines = ("persistence true", f"persistence_location {tmp_path}/")

    def spy_is_refused(server: Plugged) -> bool:
        with _dashboard(server, "spy", "screen", company="other", version=version) as spy:
            return not spy.accepted

    with plugged(tmp_path, *lines) as server:
        with _dashboard(server, "boss", "screen", version=version) as screen:
            assert screen.subscribe("company/acme/#")
            assert spy_is_refused(server)
        assert spy_is_refused(server)
    with plugged(tmp_path, *lines) as server:
        assert spy_is_refused(server)
        with Visitor(server.port, "acme:alice", "alice", token("alice")) as device:
            device.publish("company/acme/presence/alice", "queued")
        with _dashboard(server, "boss", "screen", version=version) as screen:
            assert screen.resumed
            assert screen.received() == Received("company/acme/presence/alice", "queued")


@BOTH
def test_a_client_id_is_free_again_when_its_session_is_over(server: Plugged, version: MQTTProtocolVersion) -> None:
    for company in ("acme", "other"):
        with Visitor(
            server.port, "shared-screen", "boss", token("boss", Role.DASHBOARD, company), version=version
        ) as visitor:
            assert visitor.accepted


def test_an_attempt_on_anothers_session_does_not_disturb_it(server: Plugged) -> None:
    with _dashboard(server, "boss", "quiet") as screen:
        assert screen.subscribe("company/acme/#")
        for name, presented in (("spy", token("spy", Role.DASHBOARD, "other")), ("boss", "no token")):
            with Visitor(server.port, "quiet", name, presented) as spy:
                assert not spy.accepted
        with Visitor(server.port, "acme:alice", "alice", token("alice")) as device:
            device.publish("company/acme/presence/alice", "undisturbed")
        assert screen.received() == Received("company/acme/presence/alice", "undisturbed")


@pytest.mark.parametrize("websocket", [False, True], ids=["TLS", "WebSocket over TLS"])
def test_tokens_work_over_tls(tmp_path: Path, websocket: bool) -> None:
    certificate, key = self_signed(("localhost",), datetime.now(UTC))
    (tmp_path / "server.crt").write_text(certificate)
    (tmp_path / "server.key").write_text(key)
    port = free_port()
    lines = [f"listener {port} 127.0.0.1", f"certfile {tmp_path}/server.crt", f"keyfile {tmp_path}/server.key"]
    lines += ["protocol websockets", "socket_domain ipv4"] if websocket else []
    with plugged(tmp_path, *lines):
        for version, (presented, accepted) in itertools.product(
            (V4, V5), ((token("alice"), True), ("no token", False))
        ):
            with Visitor(
                port,
                "acme:alice",
                "alice",
                presented,
                version=version,
                websocket=websocket,
                ca_file=tmp_path / "server.crt",
            ) as visitor:
                assert visitor.accepted is accepted


def test_the_certificate_has_each_name_of_its_machine_once_and_ends_in_a_year() -> None:
    now = datetime.now(UTC)
    certificate, _ = self_signed(("broker.example", "broker", "localhost"), now)
    assert "BEGIN CERTIFICATE" in certificate
    context = ssl.create_default_context(cadata=certificate)
    (loaded,) = context.get_ca_certs()
    names = [("DNS", name) for name in ("broker.example", "broker", "localhost")]
    assert loaded["subjectAltName"] == (*names, ("IP Address", "127.0.0.1"))
    assert ssl.cert_time_to_seconds(str(loaded["notAfter"])) == pytest.approx(
        (now + timedelta(days=365)).timestamp(), abs=2
    )
