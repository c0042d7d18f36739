"""What the embedded broker is told: where it listens, and how much of everything it grants."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from models.errors import BadSetting


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of memory and patience; the defaults fit 5,000 devices. Sizes are in bytes."""

    connections: int = 10_000
    unauthenticated: int = 2_000
    """Connections without an accepted CONNECT; the oldest of them makes room for a new one."""
    sessions_per_user: int = 50
    """Live and absent ones together, for devices and dashboards; the service has no such limit."""
    session_expiry_s: float = 7 * 86_400.0
    connect_timeout_s: float = 10.0
    packet_timeout_s: float = 60.0
    """From the first byte of a packet to its last one."""
    write_timeout_s: float = 30.0
    """How long a peer may leave its full socket unread."""
    keepalive_max_s: float = 3_600.0
    """Stands for a longer keep alive, and for none."""
    connect_packet: int = 64 * 1024
    max_packet: int = 256 * 1024
    kept_payload: int = 16 * 1024 + 1
    """What is kept of the payload of a PUBLISH over `max_packet`: just too much for the pipe, which refuses it."""
    client_id: int = 256
    subscriptions: int = 50
    filter_levels: int = 32
    pending: int = 5_000
    pending_bytes: int = 16 * 1024 * 1024
    inflight: int = 100
    service_inflight: int = 2_000
    retained: int = 25_000
    retained_payload: int = 16 * 1024
    retained_bytes: int = 128 * 1024 * 1024
    held_per_connection: int = 1_000
    """Messages of one connection that no consumer has acknowledged yet; at the limit its socket is no longer read."""
    held: int = 50_000
    held_bytes: int = 128 * 1024 * 1024

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) <= 0:
                raise BadSetting(f"limit {each.name!r} must be more than 0")


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen. Port 0 takes a free one; `ws_port` None means no WebSocket listener.

    With `hold_pubacks` a device's message is acknowledged when the service has stored it, else when it is accepted.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    ws_port: int | None = 8083
    hold_pubacks: bool = True
    limits: Limits = field(default_factory=Limits)
