"""How states, positions, activities and devices read in a table."""

from __future__ import annotations

from models.events import DeviceState, State, number
from models.facts import Fix, Status


def standing_text(state: State) -> str:
    """Return `online`, or `offline (connection_lost)`."""
    return f"{state.status} ({state.reason})" if state.reason else str(state.status)


def position_text(fix: Fix | None) -> str:
    """Return `12.97160, 77.59460 ±5 m`: five decimals are a metre."""
    if fix is None:
        return ""
    accuracy = "" if fix.accuracy is None else f" ±{fix.accuracy:.0f} m"
    return f"{fix.latitude:.5f}, {fix.longitude:.5f}{accuracy}"


def activity_text(project: str | None, task: str | None) -> str:
    return " / ".join(part for part in (project, task) if part)


def device_text(device: DeviceState) -> str:
    """Return `tablet-7 80 %`, in brackets while the device is offline."""
    text = device.device if device.battery is None else f"{device.device} {number(round(device.battery, 1))} %"
    return f"({text})" if device.status is Status.OFFLINE else text
