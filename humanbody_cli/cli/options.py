"""Option groups: each becomes one frozen settings object, handed to a command whole.

Every option has an environment variable, ``HBSEG_`` and its name. The secret is no option: it comes
from ``HBSEG_API_SECRET`` or a file, never from a command line that ``ps`` shows to everybody.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT, FREE_QPS, SEGMENT_PATH
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import (
    ApiSettings,
    Credentials,
    Edges,
    EngineChoice,
    InputSettings,
    LocalSettings,
    Metadata,
    OutputSettings,
    Shard,
    Timeouts,
    Wanted,
    readable_by_others,
    without_password,
)
from humanbody_cli.discovery.lists import is_stdin
from humanbody_cli.storage.names import MAX_NAME

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]


def option(*names: str, **attributes: Any) -> Callable[[F], F]:
    """A click option with its environment variable: ``--max-calls`` is ``HBSEG_MAX_CALLS``."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "HBSEG_" + long.removeprefix("--").upper().replace("-", "_")
    attributes.setdefault("envvar", variable)
    return click.option(*names, **attributes)


def group(name: str, build: Callable[..., Any], *options: Callable[[F], F]) -> Callable[[F], F]:
    """Options that a command receives as one object, made by ``build`` from their values."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            taken = {key: values.pop(key) for key in parameters}
            return function(**{name: build(**taken)}, **values)

        decorated: Any = command
        decorated.__click_params__ = list(getattr(function, "__click_params__", []))
        before = len(decorated.__click_params__)
        for one in reversed(options):
            decorated = one(decorated)
        parameters = [param.name for param in decorated.__click_params__[before:]]
        return decorated  # type: ignore[no-any-return]

    return decorate


class FiniteRange(click.FloatRange):
    """A range of numbers; not a number and infinity, which click lets pass, lie in none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """A finite number of the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


def whole_number(text: str) -> int | None:
    """Plain decimal digits as a number; ``None`` for anything else.

    Python's own ``int`` takes digits of every script, signs, spaces and underscores, and refuses
    more than 4300 digits.
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


class Qps(click.ParamType):
    """Calls a second, or ``auto``."""

    name = "N|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | None:
        """``None`` stands for ``auto``."""
        if value is None or value == "auto":
            return None
        try:
            qps = float(value)
        except ValueError:
            qps = 0.0
        if not 0 < qps < 10_000:
            self.fail(f"{value!r} is no number of calls a second above 0, nor 'auto'", param, ctx)
        return qps


class ShardType(click.ParamType):
    """``I/N``."""

    name = "I/N"

    def convert(self, value: Any, param: Any, ctx: Any) -> Shard:
        """Part I of N, from 1."""
        if isinstance(value, Shard):
            return value
        index, _, count = str(value).partition("/")
        part, parts = whole_number(index), whole_number(count)
        if part is None or parts is None or not 1 <= part <= parts:
            self.fail(f"{value!r} is no part I/N with 1 <= I <= N, as in 2/4", param, ctx)
        return Shard(part, parts)


_positive = FiniteRange(min=0, max=86400, min_open=True)


def _inputs(settings: InputSettings) -> InputSettings:
    if not settings.inputs and settings.from_file is None:
        raise UsageError("nothing to do: name photos or folders, or give --from-file LIST")
    if settings.from_file is not None:
        _check_list(settings.from_file, settings.inputs)
    elif settings.nul:
        raise UsageError("-0 says how the names in a list end; give --from-file LIST too")
    _check_base(settings)
    _check_name(settings)
    return settings


def _check_list(path: str, inputs: tuple[str, ...]) -> None:
    if path != "-" and not os.path.exists(path):
        raise UsageError(f"--from-file {path}: there is no such file; check the path")
    if "-" in inputs and is_stdin(path):
        raise UsageError("stdin cannot be both the list (--from-file -) and a photo (-)")


def _check_base(settings: InputSettings) -> None:
    if settings.base is None:
        return
    if settings.from_file is None:
        raise UsageError("--base says where the names of a list begin; give --from-file LIST too")
    if not os.path.isdir(settings.base):
        raise UsageError(f"--base {settings.base}: there is no such folder; check the path")


def _check_name(settings: InputSettings) -> None:
    """The name of the photo on stdin is a path inside the output, and nothing else."""
    if settings.name is None:
        return
    if "-" not in settings.inputs:
        raise UsageError("--name is the name of a photo on stdin; give - as INPUT too")
    parts = settings.name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UsageError(f"--name {settings.name!r} is no file name such as a.jpg or trip/a.jpg")
    if any(len(os.fsencode(part)) > MAX_NAME for part in parts[:-1]):
        raise UsageError(f"--name {settings.name!r} has a folder of more than {MAX_NAME} bytes")


def _folder(output: str) -> Path:
    if not output:
        raise UsageError("-o needs the name of a folder")
    return Path(output)


def _wanted(settings: Wanted) -> Wanted:
    if not settings.mask and not settings.cutout:
        raise UsageError("--no-mask and --no-cutout together leave nothing to make; drop one")
    return settings


def _api(
    endpoint: str,
    api_key: str | None,
    credentials: str | None,
    qps: float | None,
    concurrency: int | None,
    retries: int,
    timeout: float,
    max_calls: int | None,
) -> ApiSettings:
    return ApiSettings(
        credentials=key_pair(api_key, credentials),
        endpoint=host(endpoint),
        qps=qps,
        concurrency=concurrency,
        retries=retries,
        timeouts=Timeouts.of(timeout),
        max_calls=max_calls,
    )


def host(endpoint: str) -> str:
    """The endpoint without the API's own path, if it was given with it.

    Raises:
        UsageError: it is no http(s) address.
    """
    try:
        parts = urlsplit(endpoint)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or "?" in endpoint or "#" in endpoint or any(char.isspace() for char in endpoint):
        shown = without_password(endpoint)
        raise UsageError(f"--endpoint {shown!r} is no address such as {DEFAULT_ENDPOINT}")
    return endpoint.rstrip("/").removesuffix(SEGMENT_PATH)


def key_pair(api_key: str | None, path: str | None) -> Credentials | None:
    """The key pair that is configured, ``None`` where there is none.

    Raises:
        UsageError: only half of a pair is there, or the file cannot be used.
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
    return _sound(key, secret, "HBSEG_API_KEY and HBSEG_API_SECRET")


def _from_file(path: Path) -> Credentials:
    try:
        text = path.read_text("utf-8")
        open_to_others = readable_by_others(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(
            f"--credentials {path}: cannot be read: {reason}; check the path and its permissions, "
            "and that it is a text file with api_key=... and api_secret=..."
        ) from None
    if open_to_others:
        click.echo(f"hbseg: {path} can be read by others; chmod 600 {path}", err=True)
    try:
        fields = json.loads(text) if text.lstrip().startswith("{") else _pairs(text)
        key, secret = str(fields["api_key"]).strip(), str(fields["api_secret"]).strip()
    except (ValueError, KeyError):
        # The file's text stays out of the message: it is a secret.
        raise UsageError(
            f"--credentials {path}: needs api_key=... and api_secret=..., one a line, or JSON"
        ) from None
    return _sound(key, secret, f"--credentials {path}")


def _sound(key: str, secret: str, where: str) -> Credentials:
    for text in (key, secret):
        if not text or not text.isascii() or not text.isprintable() or len(text) > 256:
            raise UsageError(f"{where}: a key and a secret are plain text of up to 256 characters")
    return Credentials(key, secret)


def _pairs(text: str) -> dict[str, str]:
    words = [word for word in text.split() if "=" in word]
    return dict(word.split("=", 1) for word in words)


def _local(
    model: str | None,
    preset: str | None,
    mean: str | None,
    std: str | None,
    side: int | None,
    threads: int | None,
) -> LocalSettings:
    feeding = {"--preset": preset, "--mean": mean, "--std": std, "--side": side}
    given = [name for name, value in feeding.items() if value is not None]
    if model is not None:
        _check_model(model)
    elif given:
        raise UsageError(
            f"{' and '.join(given)} can be given only for a model of your own; add --model "
            f"FILE.onnx, or drop {'it' if len(given) == 1 else 'them'}"
        )
    path = Path(model) if model is not None else None
    return LocalSettings(path, preset, mean, std, side, threads or os.cpu_count() or 1)


def _check_model(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"--model {path}: cannot be read: {reason}; check the path and its permissions"
        ) from error
    except ValueError:  # a NUL byte
        raise UsageError(f"--model {path!r} is no path of a file") from None
    if not os.path.isfile(path):
        raise UsageError(f"--model {path}: this is no file; give an .onnx file")


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


inputs = group(
    "inputs",
    lambda inputs, from_file, nul, shard, base, name: _inputs(
        InputSettings(tuple(inputs), from_file, nul, shard, base, name)
    ),
    click.argument("inputs", nargs=-1, metavar="INPUT...", type=click.Path(path_type=str)),
    option("--from-file", metavar="LIST", help="Read inputs from LIST ('-': stdin), one a line."),
    option(
        "-0", "--null", "nul", is_flag=True, help="Names in LIST end with NUL, not with a newline."
    ),
    option(
        "--shard", type=ShardType(), default="1/1", help="Only part I of N, split by output name."
    ),
    option(
        "--base",
        metavar="DIR",
        help="Names in LIST keep their path below DIR.  [default: what they have in common]",
    ),
    option("--name", metavar="NAME", help="What the photo on stdin (INPUT '-') is called."),
)

wanted = group(
    "wanted",
    lambda no_mask, no_cutout, edges, fit, metadata: _wanted(
        Wanted(not no_mask, not no_cutout, Edges(edges), fit, Metadata(metadata))
    ),
    option("--no-mask", is_flag=True, help="Write no masks (the API then answers quicker)."),
    option("--no-cutout", is_flag=True, help="Write no cutouts."),
    option(
        "--edges",
        type=click.Choice([edges.value for edges in Edges]),
        default=Edges.HARD.value,
        show_default=True,
        help="hard: the API's own cutout, cut at 0.5; soft: the confidence as alpha.",
    ),
    option(
        "--fit",
        is_flag=True,
        help="Make unfit photos fit (shrink, convert) instead of rejecting them.",
    ),
    option(
        "--metadata",
        type=click.Choice([metadata.value for metadata in Metadata]),
        default=Metadata.STRIP.value,
        show_default=True,
        help="Exif in the cutouts; it may tell where a photo was taken.",
    ),
)

output = group(
    "output",
    lambda output, sync, force, retry_failed, lock_wait: OutputSettings(
        _folder(output), sync, force, retry_failed, lock_wait
    ),
    option("-o", "--output", required=True, metavar="OUT", help="Output folder; '-': stdout."),
    option(
        "--sync/--no-sync",
        default=None,
        help="Wait for the disk after each file.  [default: with the API only]",
    ),
    option("--force", is_flag=True, help="Do every photo again, whatever is there."),
    option("--retry-failed", is_flag=True, help="Try photos again that failed for good."),
    option(
        "--lock-wait",
        type=FiniteRange(min=0),
        default=0.0,
        metavar="S",
        help="Wait so many seconds for another run on OUT to end.",
    ),
)

api = group(
    "api",
    _api,
    option(
        "--endpoint",
        metavar="URL",
        default=DEFAULT_ENDPOINT,
        show_default=True,
        help="The API's host, or a server of your own (hbseg serve).",
    ),
    option("--api-key", metavar="KEY", help="The key; its secret is HBSEG_API_SECRET."),
    option("--credentials", metavar="FILE", help="File with api_key=... and api_secret=..."),
    option(
        "--qps",
        type=Qps(),
        default=f"{FREE_QPS:g}",
        show_default=True,
        help="The key's quota in calls a second; auto finds it.",
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
        help="Retries for each photo.",
    ),
    option(
        "--timeout",
        type=_positive,
        default=60.0,
        show_default=True,
        metavar="S",
        help="Longest wait for an answer, in seconds.",
    ),
    option(
        "--max-calls",
        type=click.IntRange(min=0),
        metavar="N",
        help="Stop before call N + 1, retries included (exit code 5).",
    ),
)

local = group(
    "local",
    _local,
    option(
        "--model",
        metavar="FILE.onnx",
        help="A segmentation model of your own, run on this machine: nothing is sent.",
    ),
    option(
        "--preset",
        metavar="NAME",
        help="Preprocessing for --model: u2net, isnet, modnet, birefnet...",
    ),
    option("--mean", metavar="R,G,B", help="Mean subtracted, instead of the preset's."),
    option("--std", metavar="R,G,B", help="Deviation divided by, instead of the preset's."),
    option("--side", type=click.IntRange(32, 4096), metavar="PX", help="Its input's side."),
    option(
        "--threads",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Threads for decoding and for the embedded engine.  [default: one for each core]",
    ),
)

engine = option(
    "--engine",
    type=click.Choice([choice.value for choice in EngineChoice]),
    default=EngineChoice.AUTO.value,
    show_default=True,
    help="auto: the API where a key is set and no --model, else the engine on this machine.",
)

verbosity = group(
    "verbosity",
    lambda quiet, verbose: -1 if quiet else verbose,
    option(
        "-q",
        "--quiet",
        is_flag=True,
        help="Print only what is new: photos newly rejected or failed, and why a run stopped.",
    ),
    option("-v", "--verbose", count=True, help="Print a line for each photo."),
)

as_json = option(
    "--json", "json", is_flag=True, help="Print one JSON object for each photo on stdout."
)
