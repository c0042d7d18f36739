"""The embedded broker as the rest of Fieldbeat sees it: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeVar

from broker.embedded.admission import IsRevoked, Verify
from broker.embedded.counters import Snapshot
from broker.embedded.exchange import Exchange
from broker.embedded.gateway import Gateway
from broker.embedded.limits import Options
from broker.embedded.listeners import Listeners, bind
from models.errors import BadSetting, LinkLost

T = TypeVar("T")

log = logging.getLogger(__name__)

_STOP_TIMEOUT_S: Final = 10.0
_ASK_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the broker listens: (host, port)."""

    tcp: tuple[str, int]
    websocket: tuple[str, int] | None


class EmbeddedBroker:
    """An MQTT 3.1.1 broker that is safe to expose. Every method may be called from any thread.

    VERIFY turns (token, username) into claims or raises `TokenRefused`; IS_REVOKED is asked often, so it must be quick.
    """

    def __init__(self, options: Options, verify: Verify, is_revoked: IsRevoked) -> None:
        self._options = options
        self._exchange = Exchange(options.limits, hold_pubacks=options.hold_pubacks)
        self._gateway = Gateway(self._exchange, verify, is_revoked)
        self._addresses: Addresses | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._ending = False

    @property
    def addresses(self) -> Addresses:
        """Where it really listens; raise `LinkLost` before `start`."""
        if self._addresses is None:
            raise LinkLost("the embedded broker has not been started")
        return self._addresses

    @property
    def counters(self) -> Snapshot:
        """The counters as they stand now."""
        return self._exchange.snapshot(len(self._gateway))

    @property
    def exchange(self) -> Exchange:
        """For links within this process; to be used in the broker's thread alone."""
        return self._exchange

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._thread is not None and self._thread.is_alive() and self._loop is not None and not self._ending

    def start(self) -> None:
        """Return when it listens. Raise `BadSetting` when an address cannot be had. It can be started once."""
        options = self._options
        with contextlib.ExitStack() as undo:
            sockets = {"default": undo.enter_context(_bound(options.host, options.port, "FIELDBEAT_EMBEDDED_PORT"))}
            if options.ws_port is not None:
                sockets["ws"] = undo.enter_context(_bound(options.host, options.ws_port, "FIELDBEAT_EMBEDDED_WS_PORT"))
            undo.pop_all()
        self._addresses = Addresses(_address(sockets["default"]), _address(sockets["ws"]) if "ws" in sockets else None)
        self._thread = threading.Thread(target=self._run, args=(sockets,), name="embedded-broker", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise LinkLost(f"the embedded broker did not start: {self._failure}") from self._failure
        log.info("embedded broker listens on %s:%d", *self._addresses.tcp, extra={"action": "broker_started"})

    def stop(self) -> None:
        """End every connection, without wills, and return when the thread has ended."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._ending = True
        self.call(self._stopping.set)
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            log.error("the embedded broker does not stop", extra={"action": "broker_stuck"})

    def check_now(self) -> None:
        """Ask at once, which tokens have been revoked."""
        self.call(self._gateway.check)

    def call(self, function: Callable[[], object]) -> bool:
        """Have FUNCTION called in the broker's thread; return whether the broker runs."""
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def trouble(self, timeout_s: float) -> str | None:
        """Return what is wrong with the broker, None when its thread answers within TIMEOUT_S."""
        if not self.running:
            return "the embedded broker does not run"
        try:
            self.ask(lambda: None, timeout_s)
        except LinkLost as error:
            return str(error)
        return None

    def ask(self, function: Callable[[], T], timeout_s: float = _ASK_TIMEOUT_S) -> T:
        """Return what FUNCTION returns in the broker's thread; raise `LinkLost` when the broker does not run, or not answer in time."""
        answer: Future[T] = Future()

        def call() -> None:
            try:
                answer.set_result(function())
            except Exception as error:  # noqa: BLE001 it is raised again where it is waited for
                answer.set_exception(error)

        if not self.call(call):
            raise LinkLost("the embedded broker does not run")
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            raise LinkLost("the embedded broker does not answer") from None

    def _run(self, sockets: dict[str, socket.socket]) -> None:
        try:
            asyncio.run(self._serve(sockets))
        except Exception as error:
            self._failure = error  # which `start` raises, if it still waits
            log.exception("the embedded broker has ended", extra={"action": "broker_failed"})
        finally:
            self._started.set()

    async def _serve(self, sockets: dict[str, socket.socket]) -> None:
        listeners = Listeners(sockets, self._gateway.serve, self._options.limits.connect_timeout_s)
        self._stopping = asyncio.Event()
        await listeners.start()
        self._loop = asyncio.get_running_loop()
        watch = asyncio.create_task(self._gateway.watch(), name="embedded-broker-watch")
        self._started.set()
        stopping = asyncio.create_task(self._stopping.wait(), name="embedded-broker-stop")
        try:
            await asyncio.wait((watch, stopping), return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
        finally:
            watch.cancel()
            stopping.cancel()
            self._gateway.stop()
            await listeners.shutdown()


def _bound(host: str, port: int, setting: str) -> socket.socket:
    try:
        return bind(host, port)
    except OSError as error:
        raise BadSetting(f"{setting}: cannot listen on {host}:{port}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _address(listening: socket.socket) -> tuple[str, int]:
    host, port = listening.getsockname()[:2]
    return str(host), int(port)
