"""Compiles the plug-in: cffi writes the C, the C compiler links it to a Python that Mosquitto's user may load."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from models.errors import NotFound

MODULE = "fieldbeat_mosquitto"
LIBRARY = f"{MODULE}.so"

_EXPORTED_BY_PYTHON = """
int fieldbeat_start(char *options);
int fieldbeat_connect(void *client, char *client_id, char *username, char *token, char *address, int rechecking);
void fieldbeat_disconnect(void *client, char *client_id);
void fieldbeat_tick(long long now_s);
"""
_CALLED_FROM_PYTHON = """
void fieldbeat_log(int level, const char *text);
int mosquitto_set_username(void *client, const char *username);
int mosquitto_kick_client_by_clientid(const char *client_id, bool with_will);
"""
_AT_START = f"""
from {MODULE} import ffi, lib
from broker.mosquitto import glue
glue.attach(ffi, lib)
"""
_DESCRIBE = """
import sys, sysconfig
for name in ("Py_ENABLE_SHARED", "LIBDIR", "INSTSONAME", "INCLUDEPY"):
    print(sysconfig.get_config_var(name))
print(sys.base_prefix)
print("%d.%d" % sys.version_info[:2])
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One Python, and where the parts are that embedding it takes."""

    executable: Path
    shared: bool
    library: Path
    include: Path
    home: Path
    version: str

    def flaws(self) -> list[str]:
        """Return what keeps Mosquitto's user from running this Python, each with what to do."""
        apt = f"apt install python{self.version}-dev"
        if not self.shared or not self.library.exists():
            return [f"{self.executable} has no shared library; use Debian's: {apt}"]
        if not _readable_by_all(self.library):
            return [f"{self.library} is not readable by other users; use Debian's Python: {apt}"]
        return [] if (self.include / "Python.h").exists() else [f"no Python.h in {self.include}: {apt}"]


def interpreter(executable: Path | None = None) -> Interpreter:
    """Return EXECUTABLE, or else a Python of our own version that Mosquitto's user may load.

    It must be of our version, because the modules that are installed with the plug-in are compiled for that.
    Raise `NotFound`, which says what is wrong with each one tried.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(sys.base_prefix) / "bin" / f"python{version}"
    candidates = [executable] if executable else [own, Path(f"/usr/bin/python{version}")]
    flaws: list[str] = []
    for candidate in candidates:
        if not candidate.exists():
            flaws.append(f"there is no {candidate}: apt install python{version}-dev")
            continue
        found = _describe(candidate)
        if found.version != version:
            raise NotFound(f"{candidate} is Python {found.version}, but fieldbeat runs on {version}; they must agree")
        if not found.flaws():
            return found
        flaws.extend(found.flaws())
    raise NotFound("; ".join(flaws))


def _describe(executable: Path) -> Interpreter:
    answer = subprocess.run([executable, "-I", "-c", _DESCRIBE], capture_output=True, text=True, check=True)  # noqa: S603 a Python that the operator named or that runs us
    shared, directory, library, include, home, version = answer.stdout.splitlines()
    return Interpreter(executable, shared == "1", Path(directory) / library, Path(include), Path(home), version)


def _readable_by_all(path: Path) -> bool:
    """Whether other users may read PATH and walk to it."""
    real = path.resolve()
    return bool(real.stat().st_mode & 0o004) and all(parent.stat().st_mode & 0o001 for parent in real.parents)


def missing() -> list[str]:
    """Return what building takes and this machine lacks, each with the command that brings it."""
    lacking = []
    if find_spec("cffi") is None:
        lacking.append("the Python module cffi: pip install 'fieldbeat[mosquitto]'")
    if shutil.which("cc") is None:
        return [*lacking, "a C compiler: apt install gcc libc6-dev"]
    headers = (
        ("mosquitto.h", "libmosquitto-dev"),
        ("mosquitto_broker.h", "mosquitto-dev"),
        ("mosquitto_plugin.h", "mosquitto-dev"),
    )
    lacking += [
        f"{header}: apt install {package}" for header, package in headers if not _compiles(f"#include <{header}>")
    ]
    return lacking


def _compiles(source: str) -> bool:
    # <stdbool.h>: mosquitto_plugin.h relies on what mosquitto.h includes.
    text = f"#include <stdbool.h>\n#include <stdint.h>\n#include <time.h>\n{source}\n"
    command = [_compiler(), "-E", "-x", "c", "-", "-o", "/dev/null"]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False).returncode == 0  # noqa: S603 the compiler


def _compiler() -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotFound("a C compiler: apt install gcc libc6-dev")
    return compiler


def build(directory: Path, python: Interpreter) -> Path:
    """Compile the plug-in for PYTHON into DIRECTORY and return the file; raise `NotFound` for what is missing."""
    if lacking := missing():
        raise NotFound("missing: " + "; ".join(lacking))
    library = directory / LIBRARY
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / f"{MODULE}.c"
        _emit(source)
        command = [_compiler(), *_flags(python), str(source), "-o", str(library), *_link_flags(python)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 the compiler
    if done.returncode != 0:
        raise NotFound(f"the C compiler refused the plug-in:\n{done.stderr.strip()}")
    library.chmod(0o755)
    return library


def _flags(python: Interpreter) -> list[str]:
    return [
        *("-shared", "-fPIC", "-O2", "-Wall", "-Werror=implicit-function-declaration"),
        f"-I{python.include}",
        f'-DFIELDBEAT_LIBPYTHON="{python.library}"',
        f'-DFIELDBEAT_PYTHON_HOME="{python.home}"',
    ]


def _link_flags(python: Interpreter) -> list[str]:
    # nodelete: Mosquitto unloads its plug-ins at exit, and Python does not survive that.
    return [str(python.library), f"-Wl,-rpath,{python.library.parent}", "-Wl,-z,nodelete,-z,relro,-z,now", "-ldl"]


def _emit(source: Path) -> None:
    here = files(__package__)
    ffi = import_module("cffi").FFI()
    ffi.embedding_api(_EXPORTED_BY_PYTHON)
    ffi.cdef(_CALLED_FROM_PYTHON)
    code = [_EXPORTED_BY_PYTHON, *((here / name).read_text(encoding="utf-8") for name in ("access.c", "shim.c"))]
    ffi.set_source(MODULE, "\n".join(code))
    ffi.embedding_init_code(_AT_START)
    with redirect_stdout(StringIO()):  # cffi announces the file
        ffi.emit_c_code(str(source))
