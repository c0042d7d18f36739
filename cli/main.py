"""The command `fieldbeat`: which commands there are, and how each of them ends."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cli import output
from models.errors import BadSetting, BadTopic, FieldbeatError

if TYPE_CHECKING:
    # typer carries its own copy of click and gives these types no public name.
    from typer._click import Command, Context, HelpFormatter

FAILED, WRONG_USE, INTERRUPTED, READER_LEFT = 1, 2, 130, 141
_ABOUT = "Who is out there, where, doing what, and whether that is still true: presence for field crews over MQTT."


class Entry(NamedTuple):
    """One command: its words, the function that does it, and its line in the help."""

    name: str
    target: str
    help: str


TABLE: dict[str, tuple[Entry, ...]] = {
    "Run": (
        Entry("up", "cli.commands.up:up", "Broker, ingest, jobs and web page in one process."),
        Entry("broker", "cli.commands.broker:broker", "The embedded broker alone."),
        Entry("ingest", "cli.commands.ingest:ingest", "Ingest and the scheduled jobs, against the configured broker."),
        Entry("jobs", "cli.commands.jobs:jobs", "The scheduled jobs alone."),
        Entry("web", "cli.commands.web:web", "The web page and read API alone."),
        Entry("sweep", "cli.commands.sweep:sweep", "Run the sweep now."),
    ),
    "Ask": (
        Entry("who", "cli.commands.who:who", "The roster of a company."),
        Entry("watch", "cli.commands.watch:watch", "The roster of a company, live."),
        Entry("user show", "cli.commands.user:show", "One user with devices and sessions."),
        Entry("why", "cli.commands.why:why", "Which messages and which rule made a user's present state."),
        Entry("track", "cli.commands.track:track", "The position history of a user."),
        Entry("activity", "cli.commands.activity:activity", "The activity log, with durations."),
        Entry("events", "cli.commands.events:events", "The event log."),
        Entry("rejected", "cli.commands.rejected:rejected", "Refused messages: topic, reason, time, the first bytes."),
    ),
    "Administer": (
        Entry("token issue", "cli.commands.token:issue", "Print a new token, and nothing else."),
        Entry("token inspect", "cli.commands.token:inspect", "What a token says, and whether it is accepted."),
        Entry("token revoke", "cli.commands.token:revoke", "Revoke a token, or all tokens of a user."),
        Entry("db upgrade", "cli.commands.db:upgrade", "Bring the database's schema up to date."),
        Entry("db check", "cli.commands.db:check", "Check the database's schema and consistency."),
        Entry("db prune", "cli.commands.db:prune", "Remove what is older than the retention asks for."),
        Entry("mosquitto build", "cli.commands.mosquitto:build", "Compile the plug-in for a stock Mosquitto."),
        Entry("mosquitto install", "cli.commands.mosquitto:install", "Build and install the plug-in."),
        Entry(
            "mosquitto check", "cli.commands.mosquitto:check", "Try the installed plug-in in a Mosquitto of its own."
        ),
        Entry("doctor", "cli.commands.doctor:doctor", "What works, what does not, what to do."),
        Entry("config", "cli.commands.config:config", "The settings in force, and where each came from."),
    ),
    "Try": (
        Entry("simulate", "cli.commands.simulate:simulate", "A virtual fleet over real MQTT."),
        Entry("replay", "cli.commands.replay:replay", "Recorded positions over real MQTT."),
    ),
}
_NOUNS = {
    "user": "The users of a company.",
    "token": "Tokens: issue, inspect, revoke.",
    "db": "The database: upgrade, check, prune.",
    "mosquitto": "The plug-in for Mosquitto: build, install, check.",
}


class Deferred(TyperCommand):
    """A command whose module is imported when it is asked for, so that `--help` costs no database and no broker."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(name=entry.name.split()[-1], help=entry.help, short_help=entry.help, rich_markup_mode=None)
        self.entry = entry

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: Context | None = None,
        **extra: Any,  # noqa: ANN401 click's signature
    ) -> Context:
        """Parse ARGS as the command itself does; from here on the context is the command's."""
        return self.load().make_context(info_name, args, parent=parent, **extra)

    def load(self) -> Command:
        module, _, function = self.entry.target.partition(":")
        alone = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
        alone.command(self.name)(getattr(import_module(module), function))
        return get_command(alone)


class Commands(TyperGroup):
    """All the commands; the help lists them by what they are for."""

    def invoke(self, ctx: Context) -> object:
        """Run the command that was asked for; a reader who leaves early, as `head` does, is no error to talk about."""
        try:
            result = super().invoke(ctx)
            output.flush()
        except BrokenPipeError:
            output.give_up_output()
            raise typer.Exit(READER_LEFT) from None
        return result

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 click's signature
        """Write the commands of `TABLE`, panel by panel."""
        width = max((len(name) for name in self.commands), default=0)
        for panel, entries in TABLE.items():
            words = {entry.name.split()[0]: entry.help for entry in entries}
            rows = [
                (word.ljust(width), _NOUNS.get(word, line)) for word, line in words.items() if word in self.commands
            ]
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows)


def root() -> Commands:
    """Return the command `fieldbeat` with all that is below it."""
    app = typer.Typer(
        name="fieldbeat", help=_ABOUT, cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback()(_options)
    group = get_command(app)
    assert isinstance(group, Commands)  # noqa: S101 `cls` says so
    for entry in (entry for entries in TABLE.values() for entry in entries):
        # The web part can be left out of an installation: what is not there is not offered.
        if importlib.util.find_spec(entry.target.partition(":")[0]) is not None:
            _place(group, entry)
    return group


def _place(group: TyperGroup, entry: Entry) -> None:
    noun, _, verb = entry.name.partition(" ")
    if not verb:
        group.add_command(Deferred(entry), noun)
        return
    if noun not in group.commands:
        group.add_command(TyperGroup(name=noun, help=_NOUNS[noun], rich_markup_mode=None), noun)
    inner = group.commands[noun]
    assert isinstance(inner, TyperGroup)  # noqa: S101 made above
    inner.add_command(Deferred(entry), verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        output.out(f"fieldbeat {version('fieldbeat')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before every command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ARGUMENTS name and return its exit status; whatever happens, no traceback but on request."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = _run(given or ["--help"])
        output.flush()
    except BrokenPipeError:
        output.give_up_output()
        status = READER_LEFT
    except KeyboardInterrupt:
        status = INTERRUPTED
    except OSError as error:
        status = _fail(f"{error.filename or 'the system'}: {error.strerror or error}", FAILED)
    except Exception as error:  # noqa: BLE001 a user is shown no traceback, whatever went wrong
        status = _surprised(error)
    return status


def _run(arguments: list[str]) -> int:
    """Run the command, and return its exit status, also of errors that we know."""
    try:
        status = root().main(arguments, prog_name="fieldbeat", standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(error)
    except (BadSetting, BadTopic) as error:
        return _fail(str(error), WRONG_USE)
    except FieldbeatError as error:
        return _fail(str(error), FAILED)
    return status if isinstance(status, int) else 0


def _refuse(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "fieldbeat"
    text = error.format_message().replace("Value error, ", "").rstrip(".")
    return _fail(f"{text}. Try '{path} --help'.", WRONG_USE)


def _fail(text: str, status: int) -> int:
    output.complain(f"fieldbeat: {text}")
    return status


def _surprised(error: Exception) -> int:
    from cli.settings import wants_traceback

    if wants_traceback():
        traceback.print_exception(error)
    return _fail(
        f"unexpected {type(error).__name__}: {str(error)[:200]} (FIELDBEAT_LOG_LEVEL=debug shows the traceback)", FAILED
    )


if __name__ == "__main__":
    sys.exit(main())
