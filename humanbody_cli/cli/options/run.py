"""The options that ``segment`` and ``plan`` share, as one ``RunSettings``."""

from __future__ import annotations

from humanbody_cli.cli.options.declare import Decorator, group
from humanbody_cli.cli.options.engines import api, engine, engine_choice, local
from humanbody_cli.cli.options.inputs import inputs
from humanbody_cli.cli.options.output import output, verbosity, wanted
from humanbody_cli.core.settings import (
    ApiSettings,
    InputSettings,
    LocalSettings,
    OutputSettings,
    RunSettings,
    Wanted,
)

GRACE = 30.0
"""Seconds that calls in flight have to end after a signal, unless the user says otherwise."""


def _run(
    inputs: InputSettings,
    output: OutputSettings,
    engine: str,
    api: ApiSettings,
    wanted: Wanted,
    local: LocalSettings,
    json: bool,
    verbosity: int,
    grace: float = GRACE,
    ignore_known: bool = False,
) -> RunSettings:
    choice = engine_choice(engine, local)
    return RunSettings(
        inputs, output, wanted, choice, api, local, json, verbosity, grace, ignore_known
    )


def run(*own: Decorator) -> Decorator:
    """The options of a run and a command's ``own``, received as one argument ``settings``."""
    return group("settings", _run, inputs, output, engine, api, wanted, local, *own, verbosity)
