"""The revocations file: what the service knows to be revoked, for brokers that cannot ask its database.

It is JSON, to be replaced as a whole (write a new file, then rename it over the old one):

    {"tokens": ["<jti>", …], "users": [{"company": "acme", "user": "alice", "until": "2026-11-22T10:00:00Z"}, …]}

A token falls when its `jti` is listed, or when its user is listed and it was issued at or before `until`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from broker.tokens import Revocations
from models import topics
from models.errors import BadSetting, BadTopic


def read(text: str) -> Revocations:
    """Return what TEXT revokes; raise `BadSetting` for anything that is not exactly of the shape above."""
    try:
        document = json.loads(text)
        if set(document) != {"tokens", "users"} or not all(isinstance(jti, str) for jti in document["tokens"]):
            raise BadSetting('the revocations file must be {"tokens": […], "users": […]}')
        users = [(_user(entry), _time(entry["until"])) for entry in document["users"]]
    except (ValueError, KeyError, TypeError, BadTopic) as error:
        raise BadSetting(f"the revocations file cannot be read: {type(error).__name__}: {error}") from None
    latest: dict[tuple[str, str], datetime] = {}
    for user, until in users:
        latest[user] = max(until, latest.get(user, until))
    return Revocations(frozenset(document["tokens"]), latest)


def write(revocations: Revocations) -> str:
    """Return the file's text for REVOCATIONS, the same for equal ones."""
    users = [
        {"company": company, "user": user, "until": until.astimezone(UTC).isoformat()}
        for (company, user), until in sorted(revocations.users.items())
    ]
    return json.dumps({"tokens": sorted(revocations.token_ids), "users": users}, indent=1) + "\n"


def publish(path: Path, revocations: Revocations) -> None:
    """Replace the file PATH as a whole, readable for the broker, whatever the umask is: it holds no secret."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(write(revocations), encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(path)


def _user(entry: dict[str, str]) -> tuple[str, str]:
    return topics.checked_id(entry["company"], "company"), topics.checked_id(entry["user"], "user")


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return time
