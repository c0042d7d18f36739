"""The settings, and the only reader of the environment."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cli.quantities import parse_duration
from models.errors import BadSetting

PREFIX = "FIELDBEAT_"
DOTENV = Path(".env")
TOML = Path("fieldbeat.toml")
DEFAULT = "default"
_MIN_SECRET_BYTES = 32  # [RFC 7518 section 3.2]
_BROKER_SCHEMES = ("mqtt", "mqtts", "ws", "wss", "nats")
_MAX_LISTENING_GAP_S = 10.0
_MAX_S = 1e9  # some 31 years; more, and times run over the end of the calendar

_HOLES, _ARCHIVE = ("{z}", "{x}", "{y}"), ".pmtiles"

Seconds = Annotated[float, Field(gt=0, le=_MAX_S)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """What the operator decides; `load` reads it. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    data_dir: Path = Field(default=Path(".fieldbeat"), description="a directory")
    database_url: SecretStr | None = Field(
        default=None, description="sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
    )
    broker_url: SecretStr = Field(
        default=SecretStr("mqtt://127.0.0.1:1883"),
        description="mqtt://HOST:PORT, or the same with mqtts, ws, wss or nats",
    )
    broker_token: SecretStr | None = Field(default=None, description="a token of role service")
    embedded_host: str = Field(default="127.0.0.1", description="an address to listen on")
    embedded_port: Port = Field(default=1883, description="a port, 0 to 65535")
    embedded_ws_port: Port = Field(default=8083, description="a port, 0 to 65535")
    embedded_hold_pubacks: bool = Field(default=True, description="true or false")
    http_host: str = Field(default="127.0.0.1", description="an address to listen on")
    http_port: Port = Field(default=8080, description="a port, 0 to 65535")
    metrics_port: Port | None = Field(default=None, description="a port, 0 to 65535")
    ws_url: str | None = Field(default=None, description="what browsers connect to: ws://HOST[:PORT]/PATH or wss://…")
    tile_url: str | None = Field(
        default=None,
        description="https://HOST/PATH or http://… with {z}, {x} and {y}, or ending in .pmtiles; or a PMTiles file that can be read",
    )
    tile_attribution: str = Field(default="", max_length=200, description="plain text: whose tiles they are")
    jwt_secret: SecretStr | None = Field(default=None, description=f"a secret of at least {_MIN_SECRET_BYTES} bytes")
    jwt_keys: Path | None = Field(default=None, description="a JWKS file that can be read")
    jwt_algorithms: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("HS256",), description="algorithms separated by commas, of HS256, HS384, HS512, RS256, ES256, EdDSA"
    )
    retention_days: Annotated[float, Field(gt=0, le=1e5)] | None = Field(default=None, description="days, over 0")
    revocations_file: Path | None = Field(default=None, description="a file that Mosquitto's plug-in reads")
    token_max_lifetime: str = Field(default="400d", description="a time such as 400d, 12h, 30m or 90s")
    enrol: Literal["open", "closed"] = Field(default="open", description="open or closed")
    stale_after: Seconds = Field(default=900.0, description="seconds, over 0")
    offline_grace: Annotated[float, Field(ge=0, le=_MAX_S)] = Field(default=10.0, description="seconds, 0 or more")
    state_interval: Seconds = Field(default=5.0, description="seconds, over 0")
    sweep_interval: Seconds = Field(default=5.0, description="seconds, over 0")
    republish_interval: Seconds = Field(default=300.0, description="seconds, over 0")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )
    log_format: Literal["text", "json"] = Field(default="text", description="text or json")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 the parameters are pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what is handed in: `load` reads the sources, and remembers which said what."""
        return (init_settings,)

    @field_validator("log_level", "log_format", "enrol", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("jwt_algorithms", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("jwt_algorithms")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or set(value) - {"HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"}:
            raise ValueError("no such algorithm")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < _MIN_SECRET_BYTES:
            raise ValueError("too short")
        return value

    @field_validator("jwt_keys")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not os.access(value, os.R_OK):
            raise ValueError("no such file")
        return value

    @field_validator("ws_url")
    @classmethod
    def _websocket(cls, value: str | None) -> str | None:
        if value is not None and not _is_for_a_page(value, "ws", "wss"):
            raise ValueError("no such URL")
        return value

    @field_validator("tile_url")
    @classmethod
    def _tiles(cls, value: str | None) -> str | None:
        if value is None:
            return None
        is_archive = urlsplit(value).path.endswith(_ARCHIVE)
        if "://" not in value:
            if not (is_archive and os.access(value, os.R_OK)):
                raise ValueError("no such file")
        elif not _is_for_a_page(value, "http", "https") or not (is_archive or all(hole in value for hole in _HOLES)):
            raise ValueError("no such URL")
        return value

    @field_validator("token_max_lifetime")
    @classmethod
    def _lasting(cls, value: str) -> str:
        parse_duration(value)
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in _BROKER_SCHEMES or not parts.hostname or parts.port == 0:
            raise ValueError("no broker")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        scheme, found, rest = ("sqlite", "://", "/") if value is None else value.get_secret_value().partition("://")
        if not found or (scheme != "postgresql+psycopg" and not (scheme == "sqlite" and rest.startswith("/"))):
            raise ValueError("no database")
        return value

    @property
    def database(self) -> str:
        """The URL of the database, with its password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'fieldbeat.db'}"

    @property
    def broker(self) -> str:
        """The URL of the broker, with its password."""
        return self.broker_url.get_secret_value()

    @property
    def tile_file(self) -> Path | None:
        """The PMTiles file that `tile_url` is the path of, if it is none of somewhere else."""
        return None if self.tile_url is None or "://" in self.tile_url else Path(self.tile_url).absolute()

    @property
    def secret_file(self) -> Path:
        """Where the generated JWT secret is kept."""
        return self.data_dir / "jwt-secret"

    @property
    def max_lifetime(self) -> timedelta:
        return parse_duration(self.token_max_lifetime)

    @property
    def listening_gap_s(self) -> float:
        """After how many seconds without a sign of life the service counts as deaf."""
        return min(_MAX_LISTENING_GAP_S, self.stale_after / 2)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, which source gave which of them, and what was odd about the sources."""

    settings: Settings
    origins: dict[str, str]
    warnings: tuple[str, ...]


def load() -> Settings:
    """Return the settings in force; raise `BadSetting`, which names the one that is wrong."""
    return load_with_origins().settings


def load_with_origins() -> Loaded:
    """Return the settings in force and where each came from: the environment before `.env` before `fieldbeat.toml`."""
    sources = {
        "environment": EnvSettingsSource(Settings)(),
        str(DOTENV): _from_dotenv(DOTENV),
        str(TOML): _from_toml(TOML),
    }
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, DEFAULT)
    for origin, found in sources.items():
        for field, value in found.items():
            if field in Settings.model_fields and field not in values:
                values[field], origins[field] = value, origin
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise BadSetting(_explain(error, origins)) from None
    return Loaded(settings, origins, tuple(_strangers([*os.environ, *sources[str(DOTENV)]])))


def wants_traceback() -> bool:
    """Whether the operator asked for the details of unexpected errors; never fails."""
    try:
        return load().log_level == "debug"
    except (BadSetting, OSError):
        return False


def notify_socket() -> str:
    """Return where systemd listens for how we are, "" where it did not start us [sd_notify(3)]."""
    return os.environ.get("NOTIFY_SOCKET", "")


def variable(field: str) -> str:
    """Return the name of FIELD in the environment."""
    return PREFIX + field.upper()


def _from_dotenv(path: Path) -> dict[str, Any]:
    try:
        return DotEnvSettingsSource(Settings, env_file=path)()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} cannot be read: {error}") from None


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} cannot be read: {error}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{path} is no TOML: {error}") from None
    found: dict[str, Any] = {}
    for key, value in data.items():
        field = key.lower().removeprefix(PREFIX.lower())
        if field not in Settings.model_fields:
            raise BadSetting(f"{path}: {key} is no setting{_near(field)}")
        found[field] = value
    return found


def _is_for_a_page(url: str, *schemes: str) -> bool:
    """Whether URL is one of SCHEMES. Its host stands in the page's policy, so that nothing else may."""
    return urlsplit(url).scheme in schemes and bool(re.fullmatch(r"\w+://[\w.{}:\[\]-]+(/[!-~]*)?", url, re.ASCII))


def _near(field: str) -> str:
    close = difflib.get_close_matches(field, Settings.model_fields, n=1)
    return f"; did you mean {variable(close[0])}?" if close else ""


def _strangers(names: list[str]) -> list[str]:
    """Return a line for every one of NAMES that looks like a setting and is none."""
    found = []
    for name in sorted({name.upper() for name in names}):
        field = name.lower().removeprefix(PREFIX.lower())
        if name.startswith(PREFIX) and field not in Settings.model_fields:
            found.append(f"the variable {name} is no setting of Fieldbeat{_near(field)}")
    return found


def _explain(error: ValidationError, origins: dict[str, str]) -> str:
    field = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
    return f"{variable(field)} (from {origins[field]}) must be {Settings.model_fields[field].description}"
