"""What is revoked, kept at hand for a broker that asks at every message."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from broker.access import Claims
from broker.tokens import Revocations
from models.errors import FieldbeatError

log = logging.getLogger(__name__)

_EVERY_S = 0.5


class RevocationWatch:
    """Reads what is revoked again and again, in a thread of its own; while that fails, what was known stays known."""

    def __init__(self, read: Callable[[], Revocations]) -> None:
        self._read = read
        self._stop = threading.Event()
        self._known = read()

    def covers(self, claims: Claims) -> bool:
        return self._known.cover(claims)

    def run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self._known = self._read()
            except FieldbeatError as error:
                log.warning("%s", error, extra={"action": "revocations_unread"})

    def stop(self) -> None:
        self._stop.set()
