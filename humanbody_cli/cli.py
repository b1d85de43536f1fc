"""The ``hbseg`` command: which commands there are, and how errors become exit codes.

Nothing heavy is imported here, and a command's own module only when that command runs: ``--help``
answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from humanbody_cli import __version__
from humanbody_cli.errors import HbsegError

COMMANDS = {
    "segment": "Cut people out of photos.",
    "check": "Check photos against the API's limits: no call, no output.",
    "plan": "Tell what a run would do: calls, rejects, bytes, time.",
    "status": "Tell what is done, rejected, failed and pending in OUT.",
    "report": "Write a page to look through the results in OUT.",
    "recompose": "Make new cutouts from the masks in OUT: no call.",
    "serve": "Serve the HumanBody Segment API V2 on this machine.",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are met."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"humanbody_cli.commands.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hbseg")
def hbseg() -> None:
    """Cut people out of photographs, in batches.

    With a Face++ key in the environment (HBSEG_API_KEY, HBSEG_API_SECRET) photos go to the
    HumanBody Segment API; without one an embedded model does the same on this machine.

    \b
    Exit codes: 0 all done, 2 usage, 3 some photos rejected or failed,
    4 stopped (bad key, no balance, disk full), 5 --max-calls reached,
    6 another run holds OUT, 130 and 143 interrupted, 1 a bug.
    """


def main() -> None:
    """Run the command; every way out has its exit code."""
    try:
        code = hbseg.main(prog_name="hbseg", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("hbseg: interrupted", file=sys.stderr)  # noqa: T201
        code = 130
    except HbsegError as error:
        print(f"hbseg: {error}", file=sys.stderr)  # noqa: T201
        code = error.exit_code
    except BrokenPipeError:
        code = _closed_stdout()
    else:
        code = _flushed(code if isinstance(code, int) else 0)
    sys.exit(code)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed_stdout()
    except OSError as error:
        print(f"hbseg: stdout cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 4
    return code


def _closed_stdout() -> int:
    # The reader has gone: what Python would flush at exit has nowhere to go.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 4
