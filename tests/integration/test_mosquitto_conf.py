"""The production mosquitto.conf, and the plug-in as it is installed."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.access import Role
from broker.mosquitto import build, check, install
from broker.tokens import Key
from cli.commands import mosquitto as commands
from models.errors import NotFound
from tests.integration.plugged import plugin, token
from tests.integration.visitor import Visitor
from tests.servers import absent, free_port, mosquitto, program, wait_until_listening

_CONF = Path(__file__).parents[2] / "mosquitto.conf"
_LIVES_ELSEWHERE = {"1883": "tcp", "8883": "tls", "8083": "ws"}


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The plug-in installed below a directory that every user may read, as root does it below /usr/lib."""
    plugin()  # skips where it cannot be compiled
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        install.install_library(root / "lib", build.interpreter())
        made = list(install.prepare_files(root / "etc", root / "revoked" / "revocations.json", None))
        assert sorted(path.name for path in made) == ["jwt.secret", "revocations.json", "server.crt", "server.key"]
        yield root


def _unprivileged() -> list[str]:
    """The words before a command that run it as Mosquitto's own user; only root may."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("mosquitto")
    except KeyError:
        absent("the user mosquitto")
    return [program("runuser"), "-u", "mosquitto", "--"]


def _moved(root: Path, ports: dict[str, int]) -> list[str]:
    """Return mosquitto.conf with its ports and directories moved, and nothing else changed."""
    text = _CONF.read_text()
    for name, port in ports.items():
        text, found = re.subn(rf"^listener {name}\b", f"listener {port}", text, flags=re.MULTILINE)
        assert found == 1
    for there, here in (
        ("/usr/lib/fieldbeat-mosquitto", "lib"),
        ("/etc/fieldbeat", "etc"),
        ("/var/lib/mosquitto", "data"),
        ("/var/lib/fieldbeat-revocations", "revoked"),
    ):
        assert there in text
        text = text.replace(there, str(root / here))
    return text.splitlines()


def test_the_production_configuration_serves_all_its_listeners_as_an_unprivileged_user(installed: Path) -> None:
    ports = {name: free_port() for name in _LIVES_ELSEWHERE}
    data = installed / "data"
    data.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(data, "mosquitto")
    key = Key.from_secret((installed / "etc" / "jwt.secret").read_text().strip())
    with tempfile.TemporaryDirectory() as work:
        Path(work).chmod(0o755)
        with mosquitto(_moved(installed, ports), Path(work), _unprivileged()) as server:
            for port in ports.values():
                wait_until_listening(port, server.process, server.directory / "mosquitto.log")
            for name, how in _LIVES_ELSEWHERE.items():
                authority = installed / "etc/tls/server.crt" if how == "tls" else None
                presented = token("boss", Role.DASHBOARD, key=key)
                with Visitor(
                    ports[name], "acme:boss", "boss", presented, websocket=how == "ws", ca_file=authority
                ) as visitor:
                    assert visitor.accepted, how
                    assert visitor.subscribe("company/acme/#")


def test_only_the_tls_listener_is_open_to_the_network() -> None:
    lines = [line for line in _CONF.read_text().splitlines() if line.startswith(("listener", "socket_domain"))]
    assert lines == ["listener 1883 127.0.0.1", "listener 8883", "listener 8083 127.0.0.1", "socket_domain ipv4"]


def test_every_line_of_the_production_configuration_has_its_reason_above_it() -> None:
    reason = False
    for line in _CONF.read_text().splitlines():
        follows_one = line.startswith(("log_type", "protocol", "keyfile"))  # a group has one reason
        assert reason or follows_one or not line or line.startswith("#"), line
        reason = line.startswith("#") and not line.startswith(("#plugin", "# ---"))


def test_the_check_finds_nothing_wrong_with_an_installed_plugin(installed: Path) -> None:
    findings = list(check.check(installed / "lib" / build.LIBRARY, str(installed / "lib" / install.PYTHON)))
    assert len(findings) == 20
    assert [finding.what for finding in findings if not finding.holds] == []


def test_the_check_passes_on_what_mosquitto_says_when_it_does_not_start(installed: Path) -> None:
    with pytest.raises(NotFound, match="No module named"):
        list(check.check(installed / "lib" / build.LIBRARY, "/nowhere"))


def test_mosquitto_does_not_start_without_its_keys(tmp_path: Path) -> None:
    lines = [
        f"plugin {plugin()}",
        f"plugin_opt_python_path {Path(build.__file__).parents[2]}:{sysconfig.get_path('purelib')}",
    ]
    with (
        pytest.raises(AssertionError, match="absent must be a text file"),
        mosquitto([*lines, f"plugin_opt_secret_file {tmp_path}/absent"], tmp_path),
    ):
        pass


def test_installing_again_keeps_the_secret_unless_another_one_is_given(tmp_path: Path) -> None:
    list(install.prepare_files(tmp_path, tmp_path / "r.json", None))
    first = (tmp_path / "jwt.secret").read_text()
    assert list(install.prepare_files(tmp_path, tmp_path / "r.json", None)) == []
    assert (tmp_path / "jwt.secret").read_text() == first
    assert [path.name for path in install.prepare_files(tmp_path, tmp_path / "r.json", "s" * 40)] == ["jwt.secret"]
    assert (tmp_path / "jwt.secret").read_text() == "s" * 40 + "\n"
    assert (tmp_path / "jwt.secret").stat().st_mode & 0o777 == 0o640


def test_a_python_of_another_version_is_not_embedded(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text('#!/bin/sh\nprintf "1\\n/lib\\nlibpython.so\\n/include\\n/usr\\n2.7\\n"\n')
    other.chmod(0o755)
    with pytest.raises(NotFound, match=r"is Python 2\.7"):
        build.interpreter(other)


def test_a_missing_python_is_named_with_the_package_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="apt install python3"):
        build.interpreter(tmp_path / "python")


def _with_tools(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Let only the programs in PLACE be found, and no header where Debian puts them."""
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr(build, "_HEADERS", place)


def test_all_that_is_missing_is_named_at_once_with_one_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _with_tools(monkeypatch, tmp_path)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(NotFound) as refused:
        build.interpreter(tmp_path / "python")
    assert str(refused.value) == (
        f"missing: a C compiler, mosquitto.h, mosquitto_broker.h, mosquitto_plugin.h, {tmp_path}/python; "
        f"apt install gcc libc6-dev libmosquitto-dev mosquitto-dev python{version}-dev"
    )


def test_a_compiler_that_finds_no_header_tells_which_package_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    _with_tools(monkeypatch, tmp_path)
    assert [lack.packages for lack in build.missing()] == [
        ("libmosquitto-dev",),
        ("mosquitto-dev",),
        ("mosquitto-dev",),
    ]


def test_a_module_that_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "find_spec", lambda _name: None)
    assert build.told(build.missing()[:1]) == "missing: the Python module cffi (pip install cffi)"


def test_a_build_for_which_something_is_missing_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        commands.build(tmp_path / "build", tmp_path / "python")
    assert list(tmp_path.iterdir()) == []


def test_root_makes_no_secret_that_mosquitto_could_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "GROUP", "nobody-has-this-group")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(NotFound, match="apt install mosquitto"):
        list(install.prepare_files(tmp_path / "etc", tmp_path / "revoked" / "r.json", None))
    assert list(tmp_path.iterdir()) == []
