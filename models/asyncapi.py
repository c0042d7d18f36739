"""The contract with devices and dashboards as an AsyncAPI 3 document, from the topics, payloads and events themselves."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from models import schemas
from models.payloads import MAX_BYTES
from models.schemas import Schema
from models.topics import ID, ROOT, SERVICE, Channel

_PURPOSES = {
    Channel.PRESENCE: "Heartbeats, last wills and sign-offs of devices, and the service's own notices of silence.",
    Channel.ACTIVITY: "What a user works on, as the devices say.",
    Channel.STATUS: "What a user lets others know, as the devices say.",
    Channel.STATE: "The merged state of a user, retained: subscribe and you have the roster.",
    Channel.EVENTS: "What changed, at least once each; `id` is stable.",
}
_SERVICE_CHANNEL = "service"


class Message(NamedTuple):
    """One kind of message: on which channel it is said, by whom, and what it is."""

    channel: str
    by_device: bool
    summary: str
    schema: Schema


def event_name(kind: str) -> str:
    """Return `UserOnline` for `user:online`."""
    return "".join(word.capitalize() for word in kind.split(":"))


def messages() -> dict[str, Message]:
    """Return every kind of message by its name."""
    sent = schemas.sent()
    events = {
        event_name(kind): Message(Channel.EVENTS, False, f"The event `{kind}`.", schema)
        for kind, schema in schemas.EVENTS.items()
    }
    return {
        "Presence": Message(Channel.PRESENCE, True, "A heartbeat, a last will or a sign-off.", sent["Presence"]),
        "Activity": Message(Channel.ACTIVITY, True, "What the user works on; a null project ends it.", sent["Activity"]),
        "StatusText": Message(Channel.STATUS, True, "The user's status text; a null message clears it.", sent["StatusText"]),
        "Notice": Message(Channel.PRESENCE, False, "What the will would have said, of a lease that ended by silence.", schemas.NOTICE),
        "State": Message(Channel.STATE, False, "The merged state of a user.", schemas.STATE),
        **events,
        "ServiceState": Message(_SERVICE_CHANNEL, False, "Whether the service is alive.", schemas.SERVICE),
    }  # fmt: skip


def document(version: str) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 description of VERSION. Operations are the service's: it receives what devices send."""
    kinds = messages()
    channels = {str(channel): _channel(channel) for channel in Channel}
    channels[_SERVICE_CHANNEL] = {
        "address": SERVICE,
        "description": "Whether the service itself is alive, retained; its last will says that it is not.",
    }
    for name, channel in channels.items():
        channel["messages"] = {
            kind: {"$ref": f"#/components/messages/{kind}"}
            for kind, message in kinds.items()
            if message.channel == name
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Fieldbeat",
            "version": version,
            "description": f"Presence for field crews over MQTT. JSON objects in UTF-8, QoS 1, at most {MAX_BYTES} bytes.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": _operations(kinds),
        "components": {
            "messages": {kind: _message(kind, message) for kind, message in kinds.items()},
            "schemas": {kind: copy.deepcopy(message.schema) for kind, message in kinds.items()},
            "parameters": {
                name: {"description": f"The id of the {name}: {ID.pattern}."} for name in ("company", "user")
            },
        },
    }


def _channel(channel: Channel) -> Schema:
    return {
        "address": f"{ROOT}/{{company}}/{channel}/{{user}}",
        "description": _PURPOSES[channel],
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in ("company", "user")},
        "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
    }


def _message(kind: str, message: Message) -> Schema:
    return {"name": kind, "summary": message.summary, "payload": {"$ref": f"#/components/schemas/{kind}"}}


def _operations(kinds: dict[str, Message]) -> Schema:
    """Return what the service does on each channel."""
    found: Schema = {}
    for kind, message in kinds.items():
        action = "receive" if message.by_device else "send"
        operation = found.setdefault(f"{action}-{message.channel}", _operation(action, message.channel))
        operation["messages"].append({"$ref": f"#/channels/{message.channel}/messages/{kind}"})
    return found


def _operation(action: str, channel: str) -> Schema:
    retained = channel in {Channel.STATE, _SERVICE_CHANNEL}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": "What devices say." if action == "receive" else "What the service announces.",
        "bindings": {"mqtt": {"qos": 1, "retain": retained, "bindingVersion": "0.2.0"}},
        "messages": [],
    }
