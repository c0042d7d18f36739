"""Compiles the plug-in: cffi writes the C, the C compiler links it to a Python that Mosquitto's user may load."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from models.errors import NotFound

MODULE = "fieldbeat_mosquitto"
LIBRARY = f"{MODULE}.so"
_HEADERS = Path("/usr/include")
"""Where Debian puts headers, for when there is no compiler to ask."""

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


class Lack(NamedTuple):
    """Something that building takes and this machine has not, and the Debian packages that bring it, if any do."""

    what: str
    packages: tuple[str, ...] = ()


def told(lacking: Sequence[Lack]) -> str:
    """Return what is LACKING in one line, with one command for all of it."""
    packages = dict.fromkeys(package for lack in lacking for package in lack.packages)
    wanted = ", ".join(dict.fromkeys(lack.what for lack in lacking))
    return f"missing: {wanted}; apt install {' '.join(packages)}" if packages else f"missing: {wanted}"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One Python, and where the parts are that embedding it takes."""

    executable: Path
    shared: bool
    library: Path
    include: Path
    home: Path
    version: str

    def flaws(self) -> list[Lack]:
        """Return what keeps Mosquitto's user from running this Python; Debian's own has no flaw."""
        packages = (f"python{self.version}-dev",)
        if not self.shared or not self.library.exists():
            return [Lack(f"a shared library of {self.executable}, as Debian's Python has", packages)]
        if not _readable_by_all(self.library):
            return [Lack(f"a Python that other users may read, which {self.library} is not", packages)]
        return [] if (self.include / "Python.h").exists() else [Lack(f"Python.h in {self.include}", packages)]


def interpreter(executable: Path | None = None) -> Interpreter:
    """Return EXECUTABLE, or else a Python of our own version that Mosquitto's user may load.

    It must be of our version, because the modules that are installed with the plug-in are compiled for that.
    Raise `NotFound`, which says all that is missing, for the Python and for building at all.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(sys.base_prefix) / "bin" / f"python{version}"
    flaws: list[Lack] = []
    for candidate in dict.fromkeys([executable] if executable else [own, Path(f"/usr/bin/python{version}")]):
        if not candidate.exists():
            flaws.append(Lack(str(candidate), (f"python{version}-dev",)))
            continue
        found = _describe(candidate)
        if found.version != version:
            raise NotFound(f"{candidate} is Python {found.version}, but fieldbeat runs on {version}; they must agree")
        if not found.flaws():
            if lacking := missing():
                raise NotFound(told(lacking))
            return found
        flaws += found.flaws()
    raise NotFound(told([*missing(), *flaws]))


def _describe(executable: Path) -> Interpreter:
    answer = subprocess.run([executable, "-I", "-c", _DESCRIBE], capture_output=True, text=True, check=True)  # noqa: S603 a Python that the operator named or that runs us
    shared, directory, library, include, home, version = answer.stdout.splitlines()
    return Interpreter(executable, shared == "1", Path(directory) / library, Path(include), Path(home), version)


def _readable_by_all(path: Path) -> bool:
    """Whether other users may read PATH and walk to it."""
    real = path.resolve()
    return bool(real.stat().st_mode & 0o004) and all(parent.stat().st_mode & 0o001 for parent in real.parents)


def missing() -> list[Lack]:
    """Return what building takes besides Python and this machine lacks."""
    lacking = [] if find_spec("cffi") else [Lack("the Python module cffi (pip install cffi)")]
    if shutil.which("cc") is None:
        lacking.append(Lack("a C compiler", ("gcc", "libc6-dev")))
    headers = (
        ("mosquitto.h", "libmosquitto-dev"),
        ("mosquitto_broker.h", "mosquitto-dev"),
        ("mosquitto_plugin.h", "mosquitto-dev"),
    )
    return [*lacking, *(Lack(header, (package,)) for header, package in headers if not _is_there(header))]


def _is_there(header: str) -> bool:
    if shutil.which("cc") is None:
        return (_HEADERS / header).exists()
    return _compiles(f"#include <{header}>")


def _compiles(source: str) -> bool:
    # <stdbool.h>: mosquitto_plugin.h relies on what mosquitto.h includes.
    text = f"#include <stdbool.h>\n#include <stdint.h>\n#include <time.h>\n{source}\n"
    command = [_compiler(), "-E", "-x", "c", "-", "-o", "/dev/null"]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False).returncode == 0  # noqa: S603 the compiler


def _compiler() -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotFound(told(missing()))
    return compiler


def build(directory: Path, python: Interpreter) -> Path:
    """Compile the plug-in for PYTHON into DIRECTORY and return the file."""
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
