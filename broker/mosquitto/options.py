"""The `plugin_opt_` lines of mosquitto.conf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from models.errors import BadSetting

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_KNOWN = ("secret_file", "jwks_file", "algorithms", "max_lifetime", "revocations_file")


@dataclass(frozen=True, slots=True)
class Options:
    """What the plug-in was told. At least one of the two key files is named."""

    secret_file: Path | None
    jwks_file: Path | None
    algorithms: tuple[str, ...]
    max_lifetime: timedelta
    revocations_file: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are watched."""
        return tuple(path for path in (self.secret_file, self.jwks_file, self.revocations_file) if path is not None)


def read(text: str) -> Options:
    """Return the options of TEXT, a `key=value` a line; raise `BadSetting` for one that nobody knows."""
    given = dict(line.split("=", 1) for line in text.splitlines())
    if unknown := set(given) - set(_KNOWN):
        known = ", ".join(f"plugin_opt_{name}" for name in (*_KNOWN, "python_path"))
        raise BadSetting(f"plugin_opt_{min(unknown)} is none of {known}")
    options = Options(
        secret_file=_path(given.get("secret_file")),
        jwks_file=_path(given.get("jwks_file")),
        algorithms=tuple(name.strip() for name in given.get("algorithms", "HS256").split(",")),
        max_lifetime=_duration(given.get("max_lifetime", "400d")),
        revocations_file=_path(given.get("revocations_file")),
    )
    if options.secret_file is None and options.jwks_file is None:
        raise BadSetting("plugin_opt_secret_file or plugin_opt_jwks_file must name a file with keys")
    return options


def _path(text: str | None) -> Path | None:
    if text is None:
        return None
    path = Path(text.strip())
    if not path.is_absolute():  # Mosquitto's working directory is nobody's choice
        raise BadSetting(f"the path {text!r} in a plugin_opt_ line must be absolute")
    return path


def _duration(text: str) -> timedelta:
    number, unit = text.strip()[:-1], text.strip()[-1:]
    if (
        unit not in _UNITS
        or not number.isascii()
        or not number.isdigit()
        or not 0 < int(number) * _UNITS[unit] < 10**10
    ):
        raise BadSetting(f"plugin_opt_max_lifetime {text!r} must be a whole number with s, m, h or d, such as 400d")
    return timedelta(seconds=int(number) * _UNITS[unit])
