"""A trouble that lasts is told when it begins, when it changes and when it is over, not at every attempt in between."""

from __future__ import annotations

import logging


class Trouble:
    """One thing that can go wrong for a while. WHAT names it in its lines, which carry MORE keys if given."""

    def __init__(self, log: logging.Logger, what: str, action: str, **more: str) -> None:
        self._log = log
        self._what = what
        self._action = action
        self._more = more
        self._told: str | None = None

    def met(self, text: str) -> None:
        """Note that an attempt failed with TEXT."""
        if text != self._told:
            self._log.error("%s: %s", self._what, text, extra={"action": self._action, **self._more})
        self._told = text

    def over(self) -> None:
        """Note that an attempt succeeded."""
        if self._told is not None:
            self._log.info("%s works again", self._what, extra={"action": f"{self._action}_over", **self._more})
        self._told = None
