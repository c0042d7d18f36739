"""`fieldbeat mosquitto`: build, install and check the plug-in for a stock Mosquitto."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from broker.mosquitto import build as building
from broker.mosquitto import check as checking
from broker.mosquitto import install as installing
from cli import output
from models.errors import BadSetting, NotFound

Directory = Annotated[Path, typer.Argument(help="Where to put the library.")]
Python = Annotated[
    Path | None,
    typer.Option(
        help="The Python to embed, of the version that runs fieldbeat. By default one that Mosquitto's user may load."
    ),
]
Prefix = Annotated[Path, typer.Option(help="Where the plug-in and its Python modules go.")]
Etc = Annotated[Path, typer.Option(help="Where the secret and the certificate are.")]
Revocations = Annotated[Path, typer.Option(help="The file of what is revoked, in a directory of its own.")]
SecretFile = Annotated[Path | None, typer.Option(help="Copy the JWT secret from here. By default one is made, once.")]


def build(directory: Directory = Path("build"), python: Python = None) -> None:
    """Compile the plug-in, or say exactly what is missing for it."""
    found = building.interpreter(python)
    directory.mkdir(parents=True, exist_ok=True)
    output.out(str(building.build(directory.resolve(), found)))


def install(
    prefix: Prefix = installing.PREFIX,
    etc: Etc = installing.ETC,
    revocations: Revocations = installing.REVOCATIONS,
    secret_file: SecretFile = None,
    python: Python = None,
) -> None:
    """Build and install the plug-in, and make what mosquitto.conf names and is not there yet."""
    found = building.interpreter(python)
    try:
        secret = secret_file.read_text(encoding="utf-8").strip() if secret_file else None
        output.out(str(installing.install_library(prefix, found)))
        for path in installing.prepare_files(etc, revocations, secret):
            output.out(str(path))
    except OSError as error:
        raise BadSetting(f"{error.filename}: {error.strerror}; run this as root, or name other places") from None


def check(prefix: Prefix = installing.PREFIX) -> None:
    """Try the installed plug-in in a throw-away Mosquitto on free loopback ports."""
    library = prefix / building.LIBRARY
    if not library.exists():
        raise NotFound(f"no plug-in in {prefix}: run `fieldbeat mosquitto install` first")
    holds = True
    for finding in checking.check(library, str(prefix / installing.PYTHON)):
        output.out(f"{'ok' if finding.holds else 'fails':5}  {finding.what}")
        holds = holds and finding.holds
    if not holds:
        raise NotFound(f"the plug-in in {prefix} does not do what it should: see the lines that begin with fails")
