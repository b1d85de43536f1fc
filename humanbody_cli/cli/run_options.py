"""The options of a run: its engine, the key pair of the API, and all of them as ``RunSettings``."""

from __future__ import annotations

import click

from humanbody_cli.cli import completion, limits
from humanbody_cli.cli.configuration.credentials import key_pair
from humanbody_cli.cli.configuration.option import (
    Choice,
    Decorator,
    SecretOption,
    group,
    one_of,
    option,
)
from humanbody_cli.cli.options import FiniteRange, Qps, inputs, output, telling_of_run, wanted
from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT, FREE_QPS
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import (
    GRACE,
    MAX_TIMEOUT,
    SIDES,
    THREADS,
    ApiSettings,
    EngineChoice,
    InputSettings,
    LocalSettings,
    Look,
    MaxCalls,
    OutputSettings,
    People,
    Price,
    RunSettings,
    Telling,
    Timeouts,
    Wanted,
)
from humanbody_cli.jobs.setup.checks import check_people, checked_endpoint, local_settings


def _api(
    endpoint: str,
    api_key: str | None,
    api_secret: str | None,
    credentials: str | None,
    qps: float | None,
    concurrency: int | None,
    retries: int,
    timeout: float,
    max_calls: MaxCalls | None,
) -> ApiSettings:
    return ApiSettings(
        credentials=key_pair(api_key, api_secret, credentials),
        endpoint=checked_endpoint(endpoint),
        qps=qps,
        concurrency=concurrency,
        retries=retries,
        timeouts=Timeouts.of(timeout),
        max_calls=max_calls,
    )


def _local(
    model: str | None,
    preset: str | None,
    mean: str | None,
    std: str | None,
    side: int | None,
    crops: str | None,
    people: str,
    threads: int | None,
) -> LocalSettings:
    cropped = None if crops is None else crops == "on"
    return local_settings(model, preset, mean, std, side, cropped, People(people), threads)


def engine_choice(engine: str, local: LocalSettings) -> EngineChoice:
    """The engine that was asked for.

    Raises:
        UsageError: the API was asked for together with a model, which it would not use.
    """
    choice = EngineChoice(engine)
    if choice is EngineChoice.API and local.model is not None:
        raise UsageError(f"--engine api does not use --model {local.model}; drop one of the two")
    return choice


engine = one_of(
    "--engine",
    EngineChoice.AUTO,
    section="Engine",
    help="auto: the API if a key is set and --model is not, else a model on this machine.",
)

api = group(
    "api",
    _api,
    option(
        "--endpoint",
        metavar="URL",
        default=DEFAULT_ENDPOINT,
        show_default=True,
        help="API host, or your own server (hbseg serve).",
    ),
    option(
        "--api-key",
        metavar="KEY",
        secret=True,
        help="API key; its secret is read from HBSEG_API_SECRET or the settings file.",
    ),
    option("--api-secret", cls=SecretOption, hidden=True, secret=True, help="Secret of the key."),
    option(
        "--credentials",
        metavar="FILE",
        shell_complete=completion.files(),
        help="File with the key pair: api_key=... and api_secret=..., or JSON.",
    ),
    option(
        "--qps",
        type=Qps(),
        metavar="N|auto",
        shell_complete=completion.words("auto"),
        default=f"{FREE_QPS:g}",
        show_default=True,
        help="Your key's quota in calls per second; auto finds it.",
    ),
    option(
        "--concurrency",
        type=click.IntRange(min=1),
        metavar="N",
        otherwise="as many as the quota needs",
        help="At most N calls in flight.",
    ),
    option(
        "--retries",
        type=click.IntRange(min=0),
        default=ApiSettings.retries,
        show_default=True,
        metavar="N",
        help="Retries per photo.",
    ),
    option(
        "--timeout",
        type=FiniteRange(min=0, max=MAX_TIMEOUT, min_open=True),
        default=Timeouts.read,
        show_default=True,
        metavar="S",
        help="Longest wait for an answer, in seconds.",
    ),
    limits.max_calls,
    section="API",
)

local = group(
    "local",
    _local,
    option(
        "--model",
        metavar="FILE.onnx",
        shell_complete=completion.files("onnx"),
        help="Run your own segmentation model on this machine; no photo is sent to the API.",
    ),
    option(
        "--preset",
        metavar="NAME",
        shell_complete=completion.presets,
        help="Preprocessing for --model: u2net, u2netp, isnet, modnet, birefnet or selfie.",
    ),
    option("--mean", metavar="R,G,B", help="Mean to subtract, instead of the preset's."),
    option("--std", metavar="R,G,B", help="Deviation to divide by, instead of the preset's."),
    option(
        "--side",
        type=click.IntRange(*SIDES),
        metavar="PX",
        help=f"Side of the model's square input, {SIDES[0]} to {SIDES[1]} pixels.",
    ),
    option(
        "--crops",
        type=Choice(["on", "off"]),
        metavar="on|off",
        otherwise="off",
        help="Give --model the crops around the people found, not the whole photo.",
    ),
    one_of(
        "--people",
        People.ALL,
        section="Engine",
        help="all: everyone; main: the largest person or group of people close together.",
    ),
    option(
        "--threads",
        type=click.IntRange(*THREADS),
        metavar="N",
        section="Engine",
        otherwise="one per core",
        help="Threads for decoding and for the embedded engine.",
    ),
    section="Your own model",
)


_NO_LOOK = Look()


def _run(
    inputs: InputSettings,
    output: OutputSettings,
    engine: str,
    api: ApiSettings,
    wanted: Wanted,
    local: LocalSettings,
    json: bool,
    telling: Telling,
    grace: float = GRACE,
    ignore_known: bool = False,
    look: Look = _NO_LOOK,
    max_duration: float | None = None,
    price: Price | None = None,
) -> RunSettings:
    choice = engine_choice(engine, local)
    settings = RunSettings(
        *(inputs, output, wanted, choice, api, local, json, telling),
        *(grace, ignore_known, look, max_duration, price),
    )
    check_people(settings)
    return settings


grace = option(
    "--grace",
    type=FiniteRange(min=0),
    default=GRACE,
    show_default=True,
    metavar="S",
    section="Limits",
    help="Seconds to wait for calls in flight after Ctrl-C or SIGTERM.",
)


def run(
    where: Decorator,
    *own: Decorator,
    source: Decorator = inputs,
    messages: Decorator = telling_of_run,
) -> Decorator:
    """The options of a run and a command's ``own``, received as one argument ``settings``;
    ``where`` is the command's ``--output``. Its photos come from ``source``, received as
    ``inputs``; ``messages`` are the options on what is said."""
    return group(
        "settings", _run, source, output(where), engine, api, wanted, local, *own, messages
    )
