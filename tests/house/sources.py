"""The project's own files, for the checks that read them."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "broker", "ingest", "web", "cli")
_MADE_BY_TOOLS = {"__pycache__", "node_modules", "dist", "build"}


@cache
def files() -> tuple[Path, ...]:
    """Return all files, relative to the repository, but for what tools have made."""
    found = []
    for directory, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name == ".ci" or not (name in _MADE_BY_TOOLS or name[0] == ".")]
        found += [Path(directory, name).relative_to(ROOT) for name in names]
    return tuple(sorted(found))


def modules(*folders: str) -> list[Path]:
    """Return the Python files of FOLDERS."""
    return [path for path in files() if path.suffix == ".py" and path.parts[0] in folders]


def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"), str(path))


def imported(tree: ast.Module) -> set[str]:
    """Return the top-level names of the packages that the module TREE imports."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names |= {alias.name.partition(".")[0] for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module.partition(".")[0])
    return names
