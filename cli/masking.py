"""How settings are shown: without their secrets."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from cli.settings import Loaded, Settings, variable

_PASSWORD = re.compile(r"(?<=[?&]password=)[^&]*")


class Shown(NamedTuple):
    """One setting as the operator may see it: secrets are masked."""

    name: str
    value: str | None
    origin: str
    meaning: str


def show(loaded: Loaded) -> list[Shown]:
    """Return every setting as the operator may see it."""
    return [
        Shown(variable(field), masked(loaded.settings, field), loaded.origins[field], info.description or "")
        for field, info in Settings.model_fields.items()
    ]


def masked(settings: Settings, field: str) -> str | None:
    """Return the value of FIELD as an operator may see it, None for none."""
    match field:
        case "database_url":
            return without_password(settings.database)
        case "broker_url":
            return without_password(settings.broker)
        case "jwt_algorithms":
            return ",".join(settings.jwt_algorithms)
    value = getattr(settings, field)
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_password(url: str) -> str:
    """Return URL with its password starred out, in whichever of its parts it stands."""
    shown, parts = _PASSWORD.sub("***", url), urlsplit(url)
    if parts.password is None:
        return shown
    userinfo, _, host = parts.netloc.rpartition("@")
    return shown.replace(parts.netloc, f"{userinfo.partition(':')[0]}:***@{host}", 1)
