"""What one writes on the first day: paho, one ORM row and one commit for each message. `parts.py` starts it.

python -m benchmarks.row_at_a_time PORT DATABASE_URL, with the token in BENCHMARK_TOKEN
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlmodel import Field, Session, SQLModel, create_engine


class Position(SQLModel, table=True):
    """One row a heartbeat, with text keys."""

    __tablename__ = "script_position"
    id: int | None = Field(default=None, primary_key=True)
    company: str = Field(index=True)
    user: str = Field(index=True)
    device: str
    session: str
    seq: int
    at: datetime
    latitude: float
    longitude: float
    battery: float


def position(topic: str, payload: bytes | bytearray) -> Position:
    """Return the row of a message."""
    said = json.loads(payload)
    _, company, _, user = topic.split("/")
    said["at"] = datetime.fromisoformat(said["at"])
    return Position(company=company, user=user, **{name: said[name] for name in said if name in Position.model_fields})


def main(port: int, url: str) -> None:
    """Store what comes until somebody ends the process; paho acknowledges when the commit has returned."""
    engine = create_engine(url)
    SQLModel.metadata.tables["script_position"].create(engine, checkfirst=True)
    session = Session(engine)

    def subscribe(client: paho.Client, *_: object) -> None:
        client.subscribe("company/+/presence/+", 1)

    def store(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        session.add(position(message.topic, message.payload))
        session.commit()

    client = paho.Client(CallbackAPIVersion.VERSION2, "fieldbeat:script", clean_session=False)
    client.username_pw_set("script", os.environ["BENCHMARK_TOKEN"])
    client.on_connect = subscribe
    client.on_message = store
    client.connect("127.0.0.1", port)
    client.loop_forever()


if __name__ == "__main__" and len(sys.argv) == 3:
    main(int(sys.argv[1]), sys.argv[2])
