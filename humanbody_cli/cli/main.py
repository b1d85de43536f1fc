"""The ``hbseg`` command: its subcommands, and the exit code for each error.

Nothing heavy is imported here, and a subcommand's own module only when it runs: ``--help`` answers
at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import click

from humanbody_cli import __version__
from humanbody_cli.core import console
from humanbody_cli.core.errors import HbsegError, StdoutError, limits_told

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_LAST_WAIT = 0.5
"""Seconds that threads may take to end once the command has ended."""

COMMANDS = {
    "segment": "Cut people out of photos.",
    "watch": "Cut people out of photos as they arrive in a folder.",
    "check": "Check photos against the API's limits, without calls or output.",
    "plan": "Show what a run would do: calls, rejected photos, bytes, time.",
    "status": "Show what is done, rejected, failed and pending in OUT.",
    "report": "Write an HTML page for looking through the results in OUT.",
    "recompose": "Make new cutouts from the masks in OUT, without calls.",
    "config": "Show the settings and where each comes from.",
    "serve": "Serve the HumanBody Segment API V2 on this machine.",
    "doctor": "Check this machine: key, host, clock, engine, disk, versions.",
    "completion": "Print the script that completes hbseg in bash, zsh or fish.",
}

_MODULES = {
    "check": "preview",
    "plan": "preview",
    "config": "installation",
    "doctor": "installation",
    "completion": "installation",
}
"""The modules of commands that are not in a module of their own name."""


class LazyGroup(click.Group):
    """A group that imports each command's module only when that command is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        name = _MODULES.get(cmd_name, cmd_name)
        module = importlib.import_module(f"humanbody_cli.cli.commands.{name}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what comes before the command; only ``--help`` and ``--version`` may.

        Raises:
            click.UsageError: something else does; tells where an option of a command belongs.
        """
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            misplaced = self._misplaced(ctx, error.option_name, given)
            if misplaced is None:
                raise
            raise click.UsageError(misplaced, ctx) from error

    def _misplaced(self, ctx: click.Context, option: str, args: list[str]) -> str | None:
        """What to say of an option before the command that has it."""
        place = next((index for index, name in enumerate(args) if name in COMMANDS), 0)
        command = self.get_command(ctx, args[place]) if place else None
        names = [name for one in command.params for name in one.opts] if command else []
        if option not in names:
            return None
        # Only the first word after hbseg is repeated with certainty: a value may be a secret.
        return (
            f"{option} is an option of {args[place]} and comes after it; "
            f"run: hbseg {args[place]} {option} ..."
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            click.UsageError: there is none of that name; tells which may be meant.
        """
        name = args[0]
        if name in COMMANDS or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise click.UsageError(_not_a_command(name), ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing its module."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=words)
            for name, words in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _not_a_command(name: str) -> str:
    """What to say of a first argument that is not a command: a photo, a folder, or a slip."""
    is_folder = os.path.isdir(name)
    if is_folder or os.path.exists(name) or "://" in name:
        import shlex

        what = "folder" if is_folder else "photo"
        out = " -o OUT" if is_folder or "://" in name else ""
        return (
            f"{name!r} is not a command; to process this {what}, run: "
            f"hbseg segment {shlex.quote(name)}{out}"
        )
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, n=1)
    return f"No such command {name!r}." + (f" Did you mean {close[0]!r}?" if close else "")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hbseg")
def hbseg() -> None:
    """Cut people out of photographs, in batches.

    With a Face++ key in the environment (HBSEG_API_KEY, HBSEG_API_SECRET), photos are sent to the
    HumanBody Segment API. Without one, an embedded model does the same on this machine.

    Options are given on the command line, by variables (--max-calls is HBSEG_MAX_CALLS), or in a
    settings file with profiles ('hbseg config' shows it); the first of these that sets one holds.

    \b
    Exit codes: 0 all done, 2 usage, 3 some photos rejected or failed,
    4 stopped (bad key, no balance, disk full), 5 limit reached
    (--max-calls, --max-duration), 6 another run is using OUT,
    130 and 143 interrupted, 1 a bug.
    """


def main() -> None:
    """Run the command and exit with its code."""
    console.prepare()
    try:
        code = _exit_code()
    except Exception:  # noqa: BLE001 - a bug: show the traceback, then exit as after any other error
        sys.excepthook(*sys.exc_info())
        code = 1
    with contextlib.suppress(StdoutError):  # the command has already said why it failed
        sys.stdout.flush()
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit even if a thread is blocked in a read: the interpreter would wait for it."""
    deadline = time.monotonic() + _LAST_WAIT
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                sys.stderr.flush()
                os._exit(code)
    sys.exit(code)


def _exit_code() -> int:
    if "_HBSEG_COMPLETE" in os.environ:
        from humanbody_cli.cli import completion

        completion.register()
    try:
        with limits_told():
            code = hbseg.main(prog_name="hbseg", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return 130
    except HbsegError as error:
        _complain(str(error))
        return error.exit_code
    return code if isinstance(code, int) else 0


def _complain(sentence: str) -> None:
    print(f"hbseg: {console.shown(sentence)}", file=sys.stderr)  # noqa: T201 - the command's own
