"""The options of a run: its engine, the key pair of the API, and all of them as ``RunSettings``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from humanbody_cli.cli import limits
from humanbody_cli.cli.options import (
    Decorator,
    FiniteRange,
    Qps,
    group,
    inputs,
    one_of,
    option,
    output,
    telling,
    wanted,
)
from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT, FREE_QPS
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import (
    GRACE,
    ApiSettings,
    Credentials,
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
    readable_by_others,
)
from humanbody_cli.jobs.setup.checks import (
    check_people,
    checked_endpoint,
    checked_pair,
    local_settings,
)


def _api(
    endpoint: str,
    api_key: str | None,
    credentials: str | None,
    qps: float | None,
    concurrency: int | None,
    retries: int,
    timeout: float,
    max_calls: MaxCalls | None,
) -> ApiSettings:
    return ApiSettings(
        credentials=key_pair(api_key, credentials),
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
        raise UsageError(
            f"--engine api does not use --model {local.model}; drop one of the two "
            "(or unset HBSEG_ENGINE or HBSEG_MODEL)"
        )
    return choice


engine = one_of(
    "--engine",
    EngineChoice.AUTO,
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
    option("--api-key", metavar="KEY", help="API key; its secret is read from HBSEG_API_SECRET."),
    option("--credentials", metavar="FILE", help="File with api_key=... and api_secret=..."),
    option(
        "--qps",
        type=Qps(),
        metavar="N|auto",
        default=f"{FREE_QPS:g}",
        show_default=True,
        help="Your key's quota in calls per second; auto finds it.",
    ),
    option(
        "--concurrency",
        type=click.IntRange(min=1),
        metavar="N",
        help="At most N calls in flight.  [default: as many as the quota needs]",
    ),
    option(
        "--retries",
        type=click.IntRange(min=0),
        default=5,
        show_default=True,
        metavar="N",
        help="Retries per photo.",
    ),
    option(
        "--timeout",
        type=FiniteRange(min=0, max=86400, min_open=True),
        default=60.0,
        show_default=True,
        metavar="S",
        help="Longest wait for an answer, in seconds.",
    ),
    limits.max_calls,
)

local = group(
    "local",
    _local,
    option(
        "--model",
        metavar="FILE.onnx",
        help="Run your own segmentation model on this machine; no photo is sent to the API.",
    ),
    option(
        "--preset",
        metavar="NAME",
        help="Preprocessing for --model: u2net, u2netp, isnet, modnet, birefnet or selfie.",
    ),
    option("--mean", metavar="R,G,B", help="Mean to subtract, instead of the preset's."),
    option("--std", metavar="R,G,B", help="Deviation to divide by, instead of the preset's."),
    option(
        "--side",
        type=click.IntRange(32, 4096),
        metavar="PX",
        help="Side of the model's square input, in pixels.",
    ),
    option(
        "--crops",
        type=click.Choice(["on", "off"]),
        help="Give --model the crops around the people found, not the whole photo.  [default: off]",
    ),
    one_of(
        "--people",
        People.ALL,
        help="all: everyone; main: the largest person or group of people close together.",
    ),
    option(
        "--threads",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Threads for decoding and for the embedded engine.  [default: one per core]",
    ),
)


def key_pair(api_key: str | None, path: str | None) -> Credentials | None:
    """The configured key pair, ``None`` if there is none; the file ``path`` comes first.

    Raises:
        UsageError: only half of a pair is given, or the file cannot be used.
    """
    if path is not None:
        return _from_file(Path(path))
    key = (api_key or "").strip()
    secret = os.environ.get("HBSEG_API_SECRET", "").strip()
    if not key and not secret:
        return None
    if not secret:
        raise UsageError("an API key is given without its secret: set HBSEG_API_SECRET too")
    if not key:
        raise UsageError("HBSEG_API_SECRET is set without a key: set HBSEG_API_KEY too")
    return checked_pair(key, secret, "HBSEG_API_KEY and HBSEG_API_SECRET")


def _from_file(path: Path) -> Credentials:
    try:
        text = path.read_text("utf-8")
        open_to_others = readable_by_others(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            f"--credentials {path}: cannot be read: {reason}; check the path and its permissions, "
            "and that it is a text file with api_key=... and api_secret=..."
        ) from None
    if open_to_others:
        click.echo(f"hbseg: {path} can be read by others; run chmod 600 {path}", err=True)
    try:
        fields = json.loads(text) if text.lstrip().startswith("{") else _pairs(text)
        key, secret = str(fields["api_key"]).strip(), str(fields["api_secret"]).strip()
    except (ValueError, KeyError):
        # The message does not quote the file: it contains a secret.
        raise UsageError(
            f"--credentials {path}: needs api_key=... and api_secret=..., one per line, or JSON"
        ) from None
    return checked_pair(key, secret, f"--credentials {path}")


def _pairs(text: str) -> dict[str, str]:
    words = [word for word in text.split() if "=" in word]
    return dict(word.split("=", 1) for word in words)


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
    help="Seconds to wait for calls in flight after Ctrl-C or SIGTERM.",
)


def run(where: Decorator, *own: Decorator, source: Decorator = inputs) -> Decorator:
    """The options of a run and a command's ``own``, received as one argument ``settings``;
    ``where`` is the command's ``--output``. Its photos come from ``source``, received as
    ``inputs``."""
    return group("settings", _run, source, output(where), engine, api, wanted, local, *own, telling)
