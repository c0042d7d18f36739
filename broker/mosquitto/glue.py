"""Between the C shim and the gate: C strings to Python ones and back. It runs inside Mosquitto's process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, SupportsInt

from broker.mosquitto import options
from broker.mosquitto.gate import Gate, Visit
from broker.mosquitto.material import Material
from models.errors import BadSetting

ALLOW = 0x5AFE
DENY = 1
"""The shim's words: only ALLOW lets anybody in."""
LOG_NOTICE, LOG_ERR = 2, 8
"""mosquitto.h: MOSQ_LOG_*"""


class Ffi(Protocol):
    """What we use of cffi's `ffi` in the compiled plug-in. C values are objects here."""

    NULL: object

    def string(self, pointer: object, /) -> bytes: ...
    def cast(self, kind: str, value: object, /) -> SupportsInt: ...
    def def_extern(self, *, name: str, error: int | None) -> Callable[[Callable[..., int | None]], object]: ...


class Lib(Protocol):
    """What we use of its `lib`."""

    def fieldbeat_log(self, level: int, text: bytes, /) -> None: ...
    def mosquitto_set_username(self, client: object, username: bytes, /) -> int: ...
    def mosquitto_kick_client_by_clientid(self, client_id: bytes, with_will: bool, /) -> int: ...


def attach(ffi: Ffi, lib: Lib) -> None:
    """Give the shim of the compiled plug-in its Python half."""
    plugin = _Plugin(_Mosquitto(ffi, lib))
    for name in ("start", "connect", "disconnect", "tick"):
        ffi.def_extern(name=f"fieldbeat_{name}", error=DENY if name in ("start", "connect") else None)(
            getattr(plugin, name),
        )


class _Mosquitto:
    """The gate's `Broker`. A connection's pointer is an integer outside of this class."""

    def __init__(self, ffi: Ffi, lib: Lib) -> None:
        self._ffi = ffi
        self._lib = lib

    def text(self, pointer: object) -> str | None:
        return None if pointer == self._ffi.NULL else self._ffi.string(pointer).decode("utf-8", "surrogateescape")

    def number(self, client: object) -> int:
        return int(self._ffi.cast("intptr_t", client))

    def rename(self, pointer: int, username: str) -> bool:
        client = self._ffi.cast("void *", pointer)
        return self._lib.mosquitto_set_username(client, username.encode()) == 0

    def kick(self, client_id: str) -> bool:
        name = client_id.encode("utf-8", "surrogateescape")
        return self._lib.mosquitto_kick_client_by_clientid(name, True) == 0

    def log(self, text: str, level: int = LOG_NOTICE) -> None:
        self._lib.fieldbeat_log(level, text.encode("utf-8", "backslashreplace")[:900])


class _Plugin:
    """The functions that the shim calls. What they raise is the shim's DENY."""

    def __init__(self, mosquitto: _Mosquitto) -> None:
        self._mosquitto = mosquitto
        self._material: Material
        self._gate: Gate

    def start(self, text: object) -> int:
        try:
            self._material = Material(options.read(self._mosquitto.text(text) or ""), _now)
            self._material.changed()
            self._gate = Gate(self._material.load(), self._mosquitto)
        except BadSetting as error:
            self._mosquitto.log(str(error), LOG_ERR)
            return DENY
        self._mosquitto.log(f"ready, on Python {sys.version.split()[0]}")
        return ALLOW

    def connect(
        self, client: object, client_id: object, username: object, token: object, address: object, rechecking: int
    ) -> int:
        text = self._mosquitto.text
        visit = Visit(
            pointer=self._mosquitto.number(client),
            client_id=text(client_id) or "",
            username=text(username) or "",
            token=text(token),
            address=text(address),
        )
        # No id holds a `|`, so such a username is one that we wrote, or a lie.
        again = rechecking and "|" in visit.username
        return ALLOW if (self._gate.recheck if again else self._gate.admit)(visit) else DENY

    def disconnect(self, client: object, client_id: object) -> None:
        self._gate.disconnected(self._mosquitto.text(client_id) or "", self._mosquitto.number(client), _now())

    def tick(self, now_s: int) -> None:
        now = datetime.fromtimestamp(now_s, UTC)
        if self._material.changed():
            self._reload(now)
        self._gate.tick(now)

    def _reload(self, now: datetime) -> None:
        try:
            trust = self._material.load()
        except BadSetting as error:
            self._mosquitto.log(f"kept the keys and revocations of before: {error}", LOG_ERR)
            return
        self._gate.trust(trust, now)
        self._mosquitto.log("read the keys and revocations again")


def _now() -> datetime:
    return datetime.now(UTC)
