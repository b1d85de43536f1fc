"""The ``hbseg`` command: which commands there are, and how errors become exit codes.

Nothing heavy is imported here, and a command's own module only when that command runs: ``--help``
answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys

import click

from humanbody_cli import __version__
from humanbody_cli.errors import HbsegError, stdout_error

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
    _open_streams()
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
    except OSError as error:
        if not _is_stdouts(error):
            raise
        code = _lost_stdout(error)
    else:
        code = _flushed(code if isinstance(code, int) else 0)
    sys.exit(code)


def _open_streams() -> None:
    """Streams that the caller closed (``>&-``) become /dev/null: else the next file to be opened,
    the journal perhaps, would be written to as stdout."""
    for number in (0, 1, 2):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _is_stdouts(error: OSError) -> bool:
    """Whether an error is one of writing to a stream: those of files name their file."""
    return error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EIO)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError as error:
        return _lost_stdout(error)
    return code


def _lost_stdout(error: OSError) -> int:
    # What Python would flush at exit has nowhere to go.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    reason = stdout_error(error)
    with contextlib.suppress(OSError):
        print(f"hbseg: {reason}", file=sys.stderr)  # noqa: T201
    return reason.exit_code
