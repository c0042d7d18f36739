"""The settings: what is refused, what is hidden, what follows from what."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from cli.masking import show, without_password
from cli.settings import Loaded, Settings

SECRET = "a secret of more than thirty-two bytes"


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings()
    assert settings.database == "sqlite:///.fieldbeat/fieldbeat.db"
    assert settings.broker == "mqtt://127.0.0.1:1883"
    assert (settings.embedded_host, settings.embedded_port, settings.embedded_ws_port) == ("127.0.0.1", 1883, 8083)
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8080)
    assert (settings.stale_after, settings.offline_grace, settings.state_interval) == (900, 10, 5)
    assert (settings.sweep_interval, settings.republish_interval) == (5, 300)
    assert (settings.log_level, settings.log_format, settings.jwt_algorithms) == ("info", "text", ("HS256",))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stale_after", "0"),
        ("stale_after", "nan"),
        ("stale_after", "inf"),
        ("stale_after", "soon"),
        ("offline_grace", "-1"),
        ("sweep_interval", "0"),
        ("embedded_port", "65536"),
        ("embedded_port", "http"),
        ("broker_url", "http://here"),
        ("broker_url", "mqtt://"),
        ("broker_url", "mqtt://here:port"),
        ("database_url", "mysql://here"),
        ("database_url", "sqlite"),
        ("database_url", "sqlite://"),
        ("jwt_secret", "thirty-one bytes are too short."),
        ("jwt_keys", "/no/such/file"),
        ("jwt_algorithms", "none"),
        ("jwt_algorithms", ""),
        ("token_max_lifetime", "forever"),
        ("token_max_lifetime", "0d"),
        ("enrol", "maybe"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("embedded_hold_pubacks", "perhaps"),
    ],
)
def test_a_value_that_cannot_work_is_refused(field: str, value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({field: value})
    assert refused.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("offline_grace", "0"),
        ("stale_after", "0.5"),
        ("broker_url", "wss://broker.example/mqtt"),
        ("broker_url", "nats://[::1]:4222"),
        ("database_url", "postgresql+psycopg://me@db/fieldbeat"),
        ("log_level", "DEBUG"),
        ("jwt_algorithms", "HS256, RS256"),
    ],
)
def test_a_value_that_can_work_is_taken(field: str, value: str) -> None:
    assert getattr(Settings.model_validate({field: value}), field) is not None


def test_no_secret_is_in_what_is_shown_or_logged() -> None:
    settings = Settings(
        jwt_secret=SecretStr(SECRET),
        broker_token=SecretStr("a.b.token"),
        broker_url=SecretStr("mqtts://me:password@broker.example:8883"),
        database_url=SecretStr("postgresql+psycopg://me:password@db/fieldbeat"),
    )
    shown = str(show(Loaded(settings, dict.fromkeys(Settings.model_fields, "default"), ())))
    for text in (repr(settings), str(settings), shown):
        assert SECRET not in text
        assert "password" not in text
        assert "a.b.token" not in text
    assert "mqtts://me:***@broker.example:8883" in shown
    assert "postgresql+psycopg://me:***@db/fieldbeat" in shown


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.stale_after = 1.0


def test_the_data_directory_takes_the_database_and_the_secret_along() -> None:
    settings = Settings(data_dir=Path("/var/lib/fieldbeat"))
    assert settings.database == "sqlite:////var/lib/fieldbeat/fieldbeat.db"
    assert settings.secret_file == Path("/var/lib/fieldbeat/jwt-secret")


@pytest.mark.parametrize(("stale_after", "gap_s"), [(900, 10), (20, 10), (3, 1.5)])
def test_the_service_counts_as_deaf_before_a_lease_can_run_out(stale_after: float, gap_s: float) -> None:
    assert Settings(stale_after=stale_after).listening_gap_s == gap_s


def test_the_longest_life_of_a_token_is_a_duration() -> None:
    assert Settings(token_max_lifetime="12h").max_lifetime == timedelta(hours=12)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///.fieldbeat/fieldbeat.db", "sqlite:///.fieldbeat/fieldbeat.db"),
        ("postgresql+psycopg://me:p@ss@db:5432/f", "postgresql+psycopg://me:***@db:5432/f"),
        (
            "postgresql+psycopg:///f?host=/run&password=x&user=me",
            "postgresql+psycopg:///f?host=/run&password=***&user=me",
        ),
    ],
)
def test_a_password_is_starred_out_wherever_it_stands(url: str, shown: str) -> None:
    assert without_password(url) == shown
