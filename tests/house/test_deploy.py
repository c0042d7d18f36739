"""What deploy/ ships is valid: units that systemd understands, settings that exist, a compose file whose parts fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.settings import Settings, variable
from tests.house.sources import ROOT
from tests.servers import program

_DEPLOY = ROOT / "deploy"
_SYSTEMD = _DEPLOY / "systemd"
_DEBIANS_UNIT = Path("/lib/systemd/system/mosquitto.service")
_SETTING = re.compile(r"^# ?(FIELDBEAT_\w+)=|^(FIELDBEAT_\w+)=", re.MULTILINE)
_EVERY_SETTING = {variable(name) for name in Settings.model_fields}


def _complaints(unit: Path) -> str:
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["fieldbeat-ingest.service", "fieldbeat-web.service"])
def test_systemd_understands_a_unit(tmp_path: Path, name: str) -> None:
    command = tmp_path / "fieldbeat"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    text = (_SYSTEMD / name).read_text()
    assert "ExecStart=/opt/fieldbeat/bin/fieldbeat " in text
    (tmp_path / name).write_text(text.replace("/opt/fieldbeat/bin/fieldbeat", str(command)))
    assert _complaints(tmp_path / name) == ""


def test_systemd_understands_debians_unit_with_our_lines(tmp_path: Path) -> None:
    program("mosquitto")
    shutil.copy(_DEBIANS_UNIT, tmp_path)
    (tmp_path / "mosquitto.service.d").mkdir()
    shutil.copy(_SYSTEMD / "mosquitto-fieldbeat.conf", tmp_path / "mosquitto.service.d" / "fieldbeat.conf")
    assert _complaints(tmp_path / "mosquitto.service") == ""
    read = (tmp_path / "mosquitto.service").read_text() + (_SYSTEMD / "mosquitto-fieldbeat.conf").read_text()
    assert "ExecReload=/bin/kill -HUP $MAINPID" in read


def test_mosquitto_may_list_the_addresses_of_the_machine_or_its_websocket_would_be_open_to_the_network() -> None:
    allowed = re.search(
        r"^RestrictAddressFamilies=(.*)$", (_SYSTEMD / "mosquitto-fieldbeat.conf").read_text(), re.MULTILINE
    )
    assert allowed is not None
    assert "AF_NETLINK" in allowed[1].split()


def test_the_units_of_ingest_and_web_are_hardened_alike() -> None:
    hardened = [
        (_SYSTEMD / f"fieldbeat-{part}.service").read_text().partition("NoNewPrivileges")[2]
        for part in ("ingest", "web")
    ]
    assert hardened[0] == hardened[1] != ""


def test_the_environment_example_names_every_setting_of_a_production_machine_and_no_other() -> None:
    named = {first or second for first, second in _SETTING.findall((_DEPLOY / "environment.example").read_text())}
    assert named <= _EVERY_SETTING
    embedded = {
        name
        for name in _EVERY_SETTING
        if name.startswith("FIELDBEAT_EMBEDDED_") and name != "FIELDBEAT_EMBEDDED_WS_PORT"
    }
    assert _EVERY_SETTING - named == embedded, "of no use beside Mosquitto"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((_DEPLOY / "compose.yaml").read_text())
    return document


def test_the_parts_of_the_compose_file_fit_together(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        mode = service.get("network_mode", "")
        assert not mode.startswith("service:") or mode.removeprefix("service:") in services, name
        for mount in service.get("volumes", ()):
            assert mount.split(":")[0] in compose["volumes"], name
        assert set(service.get("environment", {})) <= _EVERY_SETTING | {
            "POSTGRES_USER",
            "POSTGRES_DB",
            "POSTGRES_PASSWORD",
        }
    assert services["ingest"]["environment"]["FIELDBEAT_DATABASE_URL"].startswith("postgresql+psycopg://")


def test_what_the_image_installs_is_what_the_guide_installs() -> None:
    guide = (ROOT / "docs/how-to/production.md").read_text()
    image = (_DEPLOY / "Dockerfile").read_text()
    wanted = {
        "mosquitto",
        "mosquitto-dev",
        "libmosquitto-dev",
        "gcc",
        "libc6-dev",
        "python3",
        "python3-dev",
        "python3-venv",
    }
    for text in (guide, image):
        assert wanted <= set(re.findall(r"[\w-]+", text.partition("apt-get install")[2]))
        assert "[mosquitto,postgresql]" in text
