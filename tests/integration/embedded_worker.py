"""A process to be killed: the embedded broker with a worker that appends each message to a file before it acknowledges.

python -m tests.integration.embedded_worker FILE
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

from broker.embedded import EmbeddedBroker, LocalLink, Options
from broker.link import Delivery
from broker.tokens import Key, Revocations, Verifier
from models import topics
from tests.integration.embedded_lab import SECRET, now


def store(file: int, batch: list[Delivery]) -> None:
    os.write(file, b"".join(each.payload + b"\n" for each in batch))
    for each in batch:
        each.ack()


def main(path: Path) -> None:
    verifier = Verifier.of([Key.from_secret(SECRET)], ["HS256"], timedelta(days=30), now)
    broker = EmbeddedBroker(Options(port=0, ws_port=None), verifier.verify, Revocations().cover)
    broker.start()
    link = LocalLink(broker)
    print(broker.addresses.tcp[1], flush=True)  # noqa: T201 the test reads it
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    batch: list[Delivery] = []
    for delivery in link.deliveries(topics.INGEST_FILTERS, 0.005):
        if delivery is not None:
            batch.append(delivery)
        if batch and (delivery is None or len(batch) >= 50):
            store(file, batch)
            batch = []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
