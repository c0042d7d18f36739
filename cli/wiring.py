"""The only chooser of parts: which engine, keys, link and broker the settings ask for."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from broker import tokens
from broker.access import Claims, Role
from broker.tokens import Key, Revocations, Verifier
from cli.settings import Settings
from models.errors import BadSetting, StoreFailed
from models.standing import Terms

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.embedded import EmbeddedBroker
    from broker.link import Link
    from broker.mqtt_link import MqttLink
    from broker.revocation_watch import RevocationWatch
    from ingest.jobs import Jobs
    from ingest.metrics import Metrics
    from ingest.outbox import Outbox
    from ingest.store import Store
    from ingest.worker import Worker

SERVICE_NAME = "fieldbeat"
_SERVICE_TOKEN_LIFETIME = timedelta(hours=12)
_DEMO_TOKEN_LIFETIME = timedelta(hours=1)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SECRET_BYTES = 48


def now() -> datetime:
    """The one clock."""
    return datetime.now(UTC)


def version() -> str:
    return installed_version("fieldbeat")


def holder() -> str:
    """Return a name for this process among those that share a database."""
    return f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"


def data_dir(settings: Settings) -> Path:
    """Return the data directory, made for this user alone when it is not there."""
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"FIELDBEAT_DATA_DIR: {error.filename} cannot be made: {error.strerror}") from None
    return settings.data_dir


def secret(settings: Settings) -> str:
    """Return the JWT secret: the configured one, else the generated one, made by whichever command comes first."""
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    path = settings.secret_file
    if not path.exists():
        data_dir(settings)
        mine = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(_SECRET_BYTES))
        # A link never replaces: of several commands at once the first one's secret stays.
        with contextlib.suppress(FileExistsError):
            os.link(mine, path)
        mine.unlink()
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise BadSetting(f"the JWT secret {path} cannot be read: {error.strerror}") from None


def keys(settings: Settings) -> tuple[Key, ...]:
    """Return the keys that tokens are verified with; the first that can sign is the one that issues."""
    found: tuple[Key, ...] = ()
    if settings.jwt_keys is not None:
        try:
            found = tokens.keys_from_jwks(settings.jwt_keys.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"FIELDBEAT_JWT_KEYS: {settings.jwt_keys} cannot be read: {error}") from None
        if not any(key.algorithm in settings.jwt_algorithms for key in found):
            named = ", ".join(sorted({key.algorithm for key in found}))
            raise BadSetting(
                f"FIELDBEAT_JWT_ALGORITHMS must name an algorithm of the keys in FIELDBEAT_JWT_KEYS: {named}"
            )
    if settings.jwt_secret is not None or (not found and "HS256" in settings.jwt_algorithms):
        found = (*found, Key.from_secret(secret(settings)))
    return found


def verifier(settings: Settings) -> Verifier:
    return Verifier.of(keys(settings), settings.jwt_algorithms, settings.max_lifetime, now)


def issuing_key(settings: Settings) -> Key:
    """Return the key that signs new tokens."""
    for key in keys(settings):
        if key.signing is not None and key.algorithm in settings.jwt_algorithms:
            return key
    raise BadSetting("FIELDBEAT_JWT_KEYS holds public keys only: tokens are issued where the private keys are")


def service_token(settings: Settings) -> str:
    """Return a token of role service: the configured one, else a new one."""
    if settings.broker_token is not None:
        return settings.broker_token.get_secret_value()
    lifetime = min(_SERVICE_TOKEN_LIFETIME, settings.max_lifetime)
    claims = Claims(SERVICE_NAME, SERVICE_NAME, Role.SERVICE, now() + lifetime, issued_at=now())
    return tokens.issue(issuing_key(settings), claims)


def demo_token(settings: Settings, company: str) -> Callable[[], str] | None:
    """Return what makes tokens to look at a virtual fleet with; None where others than this machine reach the page."""
    if settings.http_host not in _LOOPBACK:
        return None
    key, lifetime = issuing_key(settings), min(_DEMO_TOKEN_LIFETIME, settings.max_lifetime)

    def issue() -> str:
        issued = now()
        return tokens.issue(key, Claims(company, "visitor", Role.DASHBOARD, issued + lifetime, issued_at=issued))

    return issue


def service_username(settings: Settings) -> str:
    """Return the username that goes with `service_token`: its subject."""
    if settings.broker_token is None:
        return SERVICE_NAME
    return tokens.subject(settings.broker_token.get_secret_value())


def terms(settings: Settings) -> Terms:
    return Terms(timedelta(seconds=settings.stale_after), timedelta(seconds=settings.offline_grace))


def engine(settings: Settings) -> Engine:
    """Return the engine of the database, whatever state its schema is in."""
    from ingest import database

    if settings.database_url is None:
        data_dir(settings)
    return database.open_engine(settings.database)


def ready_engine(settings: Settings) -> Engine:
    """Return the engine of a database whose schema is up to date; a new or a local one is brought up to date."""
    from ingest import database

    made = engine(settings)
    at = database.schema_revision(made)
    if at is not None and at > database.REVISION:
        raise StoreFailed(
            f"the database's schema is at {at}, newer than this version's {database.REVISION}: use the newer version"
        )
    if at != database.REVISION:
        if at is not None and made.dialect.name != "sqlite":
            raise StoreFailed(
                f"the database's schema is at {at}, and this version needs {database.REVISION}: run `fieldbeat db upgrade`"
            )
        database.upgrade(made)
    return made


def store(settings: Settings, on: Engine) -> Store:
    from ingest.store import Store

    return Store(on, terms(settings), enrol=settings.enrol == "open", listening_gap_s=settings.listening_gap_s)


def revocations(on: Engine) -> Revocations:
    """Return what is revoked now."""
    from ingest.dialect import Dialect
    from models import queries

    with Dialect(on).reading() as connection:
        return Revocations(*queries.revocations(connection))


def revocation_watch(settings: Settings, on: Engine) -> RevocationWatch:
    """Return what keeps revocations at hand, and in the file that Mosquitto's plug-in reads where there is one."""
    from broker.mosquitto.revocations import publish
    from broker.revocation_watch import RevocationWatch

    path = settings.revocations_file
    return RevocationWatch(lambda: revocations(on), None if path is None else lambda revoked: publish(path, revoked))


def link(
    settings: Settings,
    client_id: str,
    *,
    persistent: bool,
    will: tuple[str, bytes] | None = None,
    share: str | None = None,
) -> MqttLink:
    """Return a link to the configured broker; it connects by itself, and again whenever it is lost."""
    from broker.mqtt_link import MqttLink, Options

    return MqttLink(
        Options(
            url=settings.broker,
            client_id=client_id,
            token=lambda: service_token(settings),
            username=service_username(settings),
            persistent=persistent,
            will=will,
            share=share,
        )
    )


def embedded_broker(settings: Settings, is_revoked: Callable[[Claims], bool]) -> EmbeddedBroker:
    from broker.embedded import EmbeddedBroker, Options

    options = Options(
        host=settings.embedded_host,
        port=settings.embedded_port,
        ws_port=settings.embedded_ws_port,
        hold_pubacks=settings.embedded_hold_pubacks,
    )
    return EmbeddedBroker(options, verifier(settings).verify, is_revoked)


def outbox(settings: Settings, of: Store, over: Link, name: str) -> Outbox:
    from ingest.outbox import Outbox

    return Outbox(of, over, name, version(), settings.state_interval, now)


def worker(of: Store, over: Link, told: Outbox, metrics: Metrics) -> Worker:
    from ingest.worker import Worker

    return Worker(over, of, told, metrics, now)


def jobs(settings: Settings, on: Engine, of: Store, told: Outbox, metrics: Metrics, name: str) -> Jobs:
    from ingest.jobs import Intervals, Jobs

    intervals = Intervals(
        sweep_s=settings.sweep_interval,
        republish_s=settings.republish_interval,
        retention_days=settings.retention_days,
    )
    return Jobs(on, of, told, metrics, intervals, name, now)
