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
    """Reads what is revoked again and again, in a thread of its own; while that fails, what was known stays known.

    TELL is called with what is revoked at the beginning and whenever it changes.
    """

    def __init__(self, read: Callable[[], Revocations], tell: Callable[[Revocations], None] | None = None) -> None:
        self._read = read
        self._tell = tell
        self._stop = threading.Event()
        self._told: Revocations | None = None
        self._known = read()

    def covers(self, claims: Claims) -> bool:
        return self._known.cover(claims)

    def run(self) -> None:
        """Keep up to date until stopped."""
        self._tell_others()
        while not self._stop.wait(_EVERY_S):
            try:
                self._known = self._read()
            except FieldbeatError as error:
                log.warning("%s", error, extra={"action": "revocations_unread"})
            self._tell_others()

    def _tell_others(self) -> None:
        if self._tell is None or self._known == self._told:
            return
        try:
            self._tell(self._known)
        except OSError as error:
            log.warning("the revocations cannot be passed on: %s", error, extra={"action": "revocations_untold"})
        else:
            self._told = self._known

    def stop(self) -> None:
        self._stop.set()
