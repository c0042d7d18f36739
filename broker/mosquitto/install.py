"""Puts the plug-in, the Python modules that it needs, and its files where Mosquitto's user may read them."""

from __future__ import annotations

import compileall
import grp
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import broker
import models
from broker.mosquitto import revocations
from broker.mosquitto.build import LIBRARY, Interpreter, build
from broker.mosquitto.certificate import self_signed
from broker.tokens import Revocations
from models.errors import NotFound

PREFIX = Path("/usr/lib/fieldbeat-mosquitto")
ETC = Path("/etc/fieldbeat")
REVOCATIONS = Path("/var/lib/fieldbeat-revocations/revocations.json")
GROUP = "mosquitto"
PYTHON = "python"
"""The directory of Python modules below the prefix; plugin_opt_python_path names it."""

_DISTRIBUTIONS = ("PyJWT", "cryptography", "cffi")
_OURS = (models, broker)


def install_library(prefix: Path, python: Interpreter) -> Path:
    """Build the plug-in into PREFIX, with copies of our modules and of its dependencies; return the library.

    A running broker keeps what it has loaded: everything is made beside the old and then takes its place.
    """
    fresh = prefix.with_name(prefix.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / PYTHON).mkdir(parents=True)
    build(fresh, python)
    for package in _OURS:
        source = Path(package.__path__[0])
        shutil.copytree(
            source, fresh / PYTHON / source.name, ignore=shutil.ignore_patterns("__pycache__", "migrations")
        )
    for name in _DISTRIBUTIONS:
        _copy_distribution(name, fresh / PYTHON)
    compileall.compile_dir(fresh / PYTHON, quiet=2)  # Mosquitto's user may not write there
    _open_to_all(fresh)
    shutil.rmtree(prefix, ignore_errors=True)
    fresh.rename(prefix)
    return prefix / LIBRARY


def _copy_distribution(name: str, target: Path) -> None:
    try:
        listed = distribution(name).files
    except PackageNotFoundError:
        listed = None
    if not listed:
        raise NotFound(f"the Python package {name}, installed by pip: pip install 'fieldbeat[mosquitto]'")
    for file in listed:
        if ".." in file.parts or file.suffix == ".pyc":  # scripts in bin/, and what is compiled anew
            continue
        copy = target / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file.locate()), copy)


def _open_to_all(directory: Path) -> None:
    """Make DIRECTORY readable for all, whatever the umask was."""
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)


def prepare_files(etc: Path, revoked: Path, secret: str | None) -> Iterator[Path]:
    """Make what mosquitto.conf names and is not there yet; yield what was made. SECRET replaces the old one.

    The file REVOKED has a directory of its own, because another user writes it: the service. Raise `NotFound` when root finds nobody
    to give the secret to.
    """
    if os.geteuid() == 0 and GROUP not in {group.gr_name for group in grp.getgrall()}:
        raise NotFound(f"missing: the group {GROUP}, which may read the secret; apt install mosquitto")
    tls = etc / "tls"
    tls.mkdir(parents=True, exist_ok=True)
    if secret is not None or not (etc / "jwt.secret").exists():
        yield _write(etc / "jwt.secret", secret or secrets.token_urlsafe(48), 0o640)
    if not revoked.exists():
        revoked.parent.mkdir(parents=True, exist_ok=True)
        revocations.publish(revoked, Revocations())
        yield revoked
    if not (tls / "server.key").exists():
        certificate, key = self_signed((socket.getfqdn(), socket.gethostname()), datetime.now(UTC))
        yield _write(tls / "server.crt", certificate, 0o644)
        yield _write(tls / "server.key", key, 0o640)


def _write(path: Path, text: str, mode: int) -> Path:
    """Replace PATH as a whole; nobody but its owner and Mosquitto's group sees a secret, at no time."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text.rstrip("\n") + "\n")
    if os.geteuid() == 0:
        shutil.chown(fresh, group=GROUP)
    fresh.chmod(mode)
    return fresh.replace(path)
