"""``hbseg config``, ``completion`` and ``doctor``: the commands about this
installation.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from humanbody_cli.cli import completion
from humanbody_cli.cli.commands.segment import segment_command
from humanbody_cli.cli.configuration.command import Command, command
from humanbody_cli.cli.configuration.credentials import file_comes_first, key_pair
from humanbody_cli.cli.configuration.option import Choice, Option, option
from humanbody_cli.cli.run_options import engine_choice
from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import (
    ApiSettings,
    EngineChoice,
    InputSettings,
    LocalSettings,
    OutputSettings,
    RunSettings,
    Wanted,
)
from humanbody_cli.discovery.inputs import STDIN
from humanbody_cli.discovery.tree import is_picture
from humanbody_cli.jobs.setup.checks import check_model, checked_endpoint

if TYPE_CHECKING:
    from humanbody_cli.jobs.inspection.doctor.run import Examined

T = TypeVar("T")

_PAIR = ("api_key", "api_secret", "credentials")


@command("config")
@click.argument("name", metavar="[COMMAND]", required=False, shell_complete=completion.commands)
@option(
    "--init",
    is_flag=True,
    settable=False,
    help="Write a settings file in which everything is commented out; never replaces one.",
)
@option("--json", "json", is_flag=True, settable=False, help="Print one JSON object.")
@click.pass_context
def config_command(ctx: click.Context, name: str | None, init: bool, json: bool) -> None:
    """Show the settings and where each comes from.

    The list has the options of COMMAND, or of all commands, with their values and what sets them:
    an environment variable, a profile, the settings file, or nothing (default). Every value is
    checked. The API key and its secret are not shown, only whether they are set.
    """
    from humanbody_cli.cli.configuration import example, listing

    if init:
        click.echo(example.write(ctx))
    elif json:
        click.echo(listing.as_json(ctx, name))
    else:
        click.echo(listing.as_text(ctx, name))


@click.command("completion")
@click.argument("shell", type=Choice(list(completion.SHELLS)), metavar="bash|zsh|fish")
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes hbseg in bash, zsh or fish.

    The Tab key then completes commands, options and their values: photos, output folders, models.

    \b
    bash, in ~/.bashrc:
      eval "$(hbseg completion bash)"
    zsh, in ~/.zshrc, after compinit:
      eval "$(hbseg completion zsh)"
    fish, once:
      hbseg completion fish > ~/.config/fish/completions/hbseg.fish
    """
    click.echo(completion.script(shell, ctx.find_root().command), nl=False)


_OF_A_RUN = frozenset(
    "engine endpoint api_key api_secret credentials model preset mean std side crops".split()
)


@click.command(
    "doctor",
    cls=Command,
    params=[param for param in segment_command.params if param.name in _OF_A_RUN],
)
@option(
    "-o",
    "--output",
    section="Output",
    metavar="OUT",
    shell_complete=completion.outputs_first,
    help="Check also whether results can be written to OUT.",
)
@option(
    "--network/--offline",
    default=None,
    settable=False,
    section="API",
    otherwise="if a run would call it",
    help="Contact the API's host, or do not.",
)
@option(
    "--json",
    "json",
    is_flag=True,
    settable=False,
    section="Output",
    help="Print one JSON object.",
)
@click.pass_context
def doctor_command(
    ctx: click.Context, /, output: str | None, network: bool | None, json: bool, **of_a_run: Any
) -> int:
    """Check this machine: key, host, clock, engine, disk, versions.

    Prints one line per check, and what to do where something is wrong. Only the API's host is
    contacted, with a request that is no call and does not contain the key. Nothing is left on disk.

    Exit code 0 if a run could start, 4 if something would stop it.
    """
    from humanbody_cli.jobs.inspection.doctor.run import doctor

    return doctor(_examined(ctx, output, network, of_a_run), json=json)


def _examined(
    ctx: click.Context, output: str | None, network: bool | None, given: dict[str, Any]
) -> Examined:
    """The settings of a run with these options; what is wrong with them becomes findings."""
    from humanbody_cli.jobs.inspection.doctor.finding import Finding, Level
    from humanbody_cli.jobs.inspection.doctor.run import Examined

    faults: list[Finding] = []

    def sound(check: str, make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except UsageError as error:
            faults.append(Finding(check, Level.FAIL, str(error)))
            return otherwise

    local = _local(given)
    if local.model is not None:
        sound("model", partial(check_model, str(local.model)), None)
    pair = sound("key", lambda: key_pair(*(given[name] for name in _PAIR)), None)
    endpoint = sound("host", lambda: checked_endpoint(given["endpoint"]), DEFAULT_ENDPOINT)
    choice = sound("engine", lambda: engine_choice(given["engine"], local), EngineChoice.AUTO)
    folder = None if output is None else _folder(output)
    run = RunSettings(
        inputs=InputSettings(),
        output=OutputSettings(Path(folder or os.curdir), given=folder),
        wanted=Wanted(),
        engine=choice,
        api=ApiSettings(pair, endpoint),
        local=local,
    )
    return Examined(run, _key_from(ctx), tuple(faults), network)


def _local(given: dict[str, Any]) -> LocalSettings:
    model, figures = given["model"], {name: given[name] for name in ("mean", "std", "side")}
    path = Path(model) if model is not None else None
    return LocalSettings(path, given["preset"], crops=given["crops"] == "on", **figures)


def _folder(output: str) -> str:
    """The folder that results would be written to: the one around OUT if that is a picture."""
    if output in ("", STDIN):
        raise UsageError(f"-o {output!r} names nothing to check; give a folder, or a picture")
    is_file = is_picture(os.path.basename(output)) and not os.path.isdir(output)
    return (os.path.dirname(output) or os.curdir) if is_file else output


def _key_from(ctx: click.Context) -> str:
    """Where the key pair is from, in words."""
    key, secret, credentials = (ctx.params[name] or "" for name in _PAIR)
    if credentials and file_comes_first(key, secret):
        return f"from {credentials}"
    own = {param.name: param for param in ctx.command.params if isinstance(param, Option)}
    places = [own[name].origin(ctx) or own[name].opts[0] for name in _PAIR[:2]]
    return f"from {' and '.join(dict.fromkeys(places))}"
