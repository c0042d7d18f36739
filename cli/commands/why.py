"""`fieldbeat why`: which messages and which rule made a user's present state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from cli import output, settings
from cli.commands.user import session_json
from cli.explaining import decisive, listening_sentence, rule_sentence, session_sentence
from cli.options import AsJson, Company, User
from cli.output import Column
from cli.quantities import age_text, time_text
from cli.reading import reading
from cli.wording import position_text, standing_text
from models import people, queries
from models.events import State, rfc3339
from models.facts import Session
from models.geojson import flags

_KINDS = "heartbeat", "will", "sign-off"
_COLUMNS = (
    Column("received"),
    Column("what"),
    Column("device"),
    Column("session"),
    Column("its own time"),
    Column("flags"),
)


def why(
    company: Company,
    user: User,
    last: Annotated[int, typer.Option(min=1, max=1000, help="Show this many of the last messages.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Explain a user's present state: the rule that made it, the leases it was made of, and the last messages."""
    chosen = settings.load()
    with reading(chosen) as look:
        user_id = look.user_id(company, user)
        state = look.state(user_id)
        sessions = queries.user_sessions(look.connection, user_id)
        messages = queries.recent_messages(look.connection, user_id, last)
        [member] = people.numbered(look.connection, [user_id])
        heard_by = queries.last_listened(look.connection)
    rule = rule_sentence(state, decisive(sessions, look.now, look.terms), look.terms)
    listening = listening_sentence(look.terms, look.now, heard_by)
    pending = member.person.announced.status is not state.status
    if as_json:
        reasons = [
            session_json(one, look.now, look.terms) | {"why": session_sentence(one, look.now, look.terms)}
            for one in sessions
        ]
        output.out_json(
            {
                "state": state.to_json(),
                "rule": rule,
                "announced": not pending,
                "listening": listening,
                "sessions": reasons,
                "messages": [_json(row) for row in messages],
            }
        )
        return
    for sentence in _sentences(state, rule, listening, look.now, pending=pending):
        output.out(output.printable(sentence))
    output.out("")
    _print_leases(sessions, [session_sentence(one, look.now, look.terms) for one in sessions])
    output.out("")
    output.out("The last messages:")
    output.table(_COLUMNS, [_row(row) for row in messages])


def _sentences(state: State, rule: str, listening: str, now: datetime, *, pending: bool) -> list[str]:
    since = "" if state.since is None else f" since {time_text(state.since)} ({age_text(state.since, now)})"
    said = [f"{state.user} of {state.company} is {standing_text(state)}{since}.", rule]
    if pending:
        said.append("This is true already and will be announced by the next sweep.")
    if state.fix is not None:
        when = time_text(state.fix.stamp.at)
        said.append(f"The position, {position_text(state.fix)}, is the newest by the device's time: {when}.")
    if state.message is not None:
        said.append(f"The message was set at {time_text(state.message_updated)}.")
    said.append(listening)
    return said


def _print_leases(sessions: Sequence[Session], sentences: Sequence[str]) -> None:
    output.out("The leases, newest session first:" if sessions else "There has been no session.")
    for session, sentence in zip(sessions, sentences, strict=True):
        name = f"session {session.id}" if session.id else "without session ids"
        output.out(output.printable(f"- {session.device}, {name}: {sentence}"))


def _json(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "type": _KINDS[row["kind"]],
        "device": row["device"],
        "session": row["token"] or None,
        "receivedAt": rfc3339(row["received_at"]),
        "at": rfc3339(row["at"]),
        "flags": list(flags(row["at"], row["received_at"])),
    }


def _row(row: Mapping[Any, Any]) -> tuple[str, ...]:
    at, received = row["at"], row["received_at"]
    return (
        time_text(received),
        _KINDS[row["kind"]],
        row["device"],
        row["token"] or "—",
        "—" if at == received else time_text(at),
        " ".join(flags(at, received)),
    )
