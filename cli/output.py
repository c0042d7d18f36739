"""The only printer: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

Progress = Callable[[str, int], None]
"""Told what is being worked on and how many of it are done so far."""

_STYLES = {
    "online": "green",
    "away": "yellow",
    "offline": "dim",
    "ok": "green",
    "warning": "yellow",
    "fails": "bold red",
}
_LOG_KEYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_GAP = "  "
_FRAME_LINES = 5
"""What a table on the screen needs besides its rows."""
_COLUMN_GAP = 3
_READABLE = 12
"""Of a cell that is cut, so many characters still tell something."""


class Column(NamedTuple):
    """A column of a table: its heading, whether it holds numbers, whether its words are coloured, and whether it gives way."""

    heading: str
    right: bool = False
    coloured: bool = False
    yields: bool = False
    """Where a row has one line only, and the terminal is narrow, it is cut or left out before others lose anything."""


def out(text: str) -> None:
    """Print one line of the result."""
    sys.stdout.write(text + "\n")


def is_terminal() -> bool:
    """Whether a person reads what is printed."""
    return sys.stdout.isatty()


def flush() -> None:
    """Hand what was printed to its reader now."""
    sys.stdout.flush()


def out_json(value: object) -> None:
    """Print VALUE as the whole result."""
    out(json.dumps(value, ensure_ascii=False, indent=2))


def json_line(value: object) -> str:
    """Return VALUE as one line of NDJSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def note(text: str) -> None:
    """Tell the person at the terminal something beside the result; silent where nobody watches."""
    if sys.stderr.isatty():
        complain(text)


def complain(text: str) -> None:
    """Print one line on standard error."""
    try:
        sys.stderr.write(" ".join(printable(text).split()) + "\n")
    except BrokenPipeError:
        give_up_output()


def give_up_output() -> None:
    """Let what is still buffered for a reader who has left go nowhere, also when the interpreter flushes at its end."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 a device, no path of ours
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                os.dup2(nowhere.fileno(), stream.fileno())


def printable(text: str) -> str:
    """Return TEXT with what could steer a terminal made visible: devices choose these bytes."""
    if text.isprintable():
        return text
    return "".join(char if _harmless(char) else char.encode("unicode_escape").decode() for char in text)


def _harmless(char: str) -> bool:
    return char.isprintable() or (unicodedata.category(char) in {"Zs", "Zl"} and char.isspace())


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, empty: str = "") -> None:
    """Print ROWS under COLUMNS: drawn on a terminal, aligned by spaces elsewhere; say EMPTY to a person when there are none."""
    if not rows and empty:
        note(empty)
    clean = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, clean)
    else:
        _align(columns, clean)


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    if not any(column.yields for column in columns):
        console.print(_drawn(columns, rows))
        return
    kept, shown = _narrowed(columns, rows, console.width)
    console.print(_drawn(kept, shown, wrap=False))
    if left_out := [column.heading for column in columns if column not in kept]:
        note(f"left out, as the terminal is narrow: {', '.join(left_out)}")


@contextmanager
def live(columns: Sequence[Column]) -> Iterator[Callable[[Sequence[Sequence[str]], str], None]]:
    """Keep a table on the terminal; yield what takes its new rows, of which it shows as many as fit, and a line below."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stdout, highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as screen:

        def show(rows: Sequence[Sequence[str]], caption: str) -> None:
            room = max(1, console.height - _FRAME_LINES)
            clean = [[printable(cell) for cell in row] for row in rows[:room]]
            kept, shown = _narrowed(columns, clean, console.width)
            screen.update(_drawn(kept, shown, caption, wrap=False), refresh=True)

        yield show


def _narrowed(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[list[Column], list[list[str]]]:
    """Return the columns for which WIDTH has room, with their cells: all that do not yield, and others while they can be read."""
    widths = [max(map(len, (column.heading, *(row[place] for row in rows)))) for place, column in enumerate(columns)]
    room = width - sum(each + _COLUMN_GAP for each, column in zip(widths, columns, strict=True) if not column.yields)
    kept: list[int] = []
    for place, column in enumerate(columns):
        if column.yields:
            room -= min(widths[place], _READABLE) + _COLUMN_GAP
        if not column.yields or room >= 0:
            kept.append(place)
    return [columns[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _drawn(columns: Sequence[Column], rows: Sequence[Sequence[str]], caption: str = "", *, wrap: bool = True) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, caption=Text(caption) if caption else None, caption_justify="left")
    for column in columns:
        side: Literal["left", "right"] = "right" if column.right else "left"
        whole = not (wrap or column.yields)
        drawn.add_column(column.heading, justify=side, overflow="fold" if wrap else "ellipsis", no_wrap=whole)
    for row in rows:
        styles = [_style(cell) if column.coloured else "" for column, cell in zip(columns, row, strict=True)]
        drawn.add_row(*[Text(cell, style=style, no_wrap=not wrap) for cell, style in zip(row, styles, strict=True)])
    return drawn


def _style(cell: str) -> str:
    word, _, _ = cell.partition(" ")
    return _STYLES.get(word, "")


def _align(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    widths = [
        max(len(column.heading), *(len(row[place]) for row in rows)) if rows else len(column.heading)
        for place, column in enumerate(columns)
    ]
    for row in ([column.heading.upper() for column in columns], *rows):
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        out(_GAP.join(cells).rstrip())


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print PAIRS of a name and a value, one a line, the values below each other."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        out(f"{name.ljust(width)}{_GAP}{printable(value)}".rstrip())


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show on standard error how far WHAT is, if that is a terminal; yield what to call with (step, how many are done)."""
    if not sys.stderr.isatty():
        yield lambda _step, _done: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda step, done: bar.update(task, description=f"{what}: {step}" if step else what, completed=done)


def start_logging(level: str, style: str) -> None:
    """Send log lines to standard error, as text or, with STYLE `json`, as one object a line."""
    handler = logging.StreamHandler(sys.stderr)
    if style == "json":
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _JsonLines(logging.Formatter):
    """One JSON object a line; what the caller gave as `extra` stands beside the text."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _LOG_KEYS},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
