"""Key material and revocations on disk, read again when they change: keys rotate without SIGHUP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from broker.mosquitto import revocations
from broker.mosquitto.gate import Trust
from broker.mosquitto.options import Options
from broker.tokens import Key, Revocations, Verifier, keys_from_jwks
from models.errors import BadSetting

Stamp = tuple[tuple[int, int, int] | None, ...]


class Material:
    """The files that OPTIONS name."""

    def __init__(self, options: Options, clock: Callable[[], datetime]) -> None:
        self._options = options
        self._clock = clock
        self._seen: Stamp | None = None

    def changed(self) -> bool:
        """Whether a file differs from when this was last asked."""
        before, self._seen = self._seen, tuple(_stamp(path) for path in self._options.files)
        return before != self._seen

    def load(self) -> Trust:
        """Return what the files say; raise `BadSetting` when one is missing or wrong."""
        options = self._options
        keys: list[Key] = []
        if options.secret_file is not None:
            keys.append(Key.from_secret(_text(options.secret_file).strip()))
        if options.jwks_file is not None:
            keys.extend(keys_from_jwks(_text(options.jwks_file)))
        if not any(key.algorithm in options.algorithms for key in keys):
            raise BadSetting(f"no key is for any of the algorithms {', '.join(options.algorithms)}")
        revoked = Revocations()
        if options.revocations_file is not None:
            revoked = revocations.read(_text(options.revocations_file))
        return Trust(Verifier.of(keys, options.algorithms, options.max_lifetime, self._clock), revoked)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadSetting(f"{path} must be a text file that the broker's user can read: {error}") from None
