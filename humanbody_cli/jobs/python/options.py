"""What a caller may choose: the options that shape results, and the API with its key."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT, FREE_QPS
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import (
    MAX_QPS,
    MAX_TIMEOUT,
    SIDES,
    THREADS,
    ApiSettings,
    Edges,
    EngineChoice,
    InputSettings,
    LocalSettings,
    MaxCalls,
    OutputSettings,
    People,
    RunSettings,
    Timeouts,
    Wanted,
)
from humanbody_cli.jobs.python.wording import reworded
from humanbody_cli.jobs.setup.checks import (
    check_people,
    checked_endpoint,
    checked_pair,
    local_settings,
)


@dataclass(frozen=True)
class Api:
    """The HumanBody Segment API V2, or a server that speaks like it, called with this key.

    Each call may cost money. ``qps`` is the key's quota in calls per second, ``None`` to find it;
    ``concurrency`` caps the calls in flight; ``retries`` counts further attempts per photo;
    ``timeout`` is the longest wait for an answer in seconds; ``max_calls`` caps all calls of a
    `Segmenter`, retries included.

    Raises:
        UsageError: one of them is not usable.
    """

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    endpoint: str = DEFAULT_ENDPOINT
    qps: float | None = FREE_QPS
    concurrency: int | None = None
    retries: int = ApiSettings.retries
    timeout: float = Timeouts.read
    max_calls: int | None = None

    def __post_init__(self) -> None:
        _ = self.settings

    @property
    def settings(self) -> ApiSettings:
        """The same as the command's settings."""
        if not (isinstance(self.api_key, str) and isinstance(self.api_secret, str)):
            raise UsageError("Api: api_key and api_secret must be text")
        if not isinstance(self.endpoint, str):
            raise UsageError(f"endpoint {self.endpoint!r} is not text such as {DEFAULT_ENDPOINT}")
        try:
            endpoint = checked_endpoint(self.endpoint)
        except UsageError as error:
            raise reworded(error) from None
        _check("qps", self.qps, above=0, most=MAX_QPS)
        _check("concurrency", self.concurrency, least=1, whole=True)
        _check("retries", self.retries, least=0, whole=True, required=True)
        _check("timeout", self.timeout, above=0, most=MAX_TIMEOUT, required=True)
        _check("max_calls", self.max_calls, least=0, whole=True)
        return ApiSettings(
            credentials=checked_pair(self.api_key, self.api_secret, "Api"),
            endpoint=endpoint,
            qps=self.qps,
            concurrency=self.concurrency,
            retries=self.retries,
            timeouts=Timeouts.of(self.timeout),
            max_calls=None if self.max_calls is None else MaxCalls(self.max_calls),
        )


class Options(TypedDict, total=False):
    """The options that shape results; each means what the command's option of that name does.

    ``edges``: hard (cut at confidence 0.5) or soft (the confidence as alpha). ``people``: all, or
    main for the largest person or group. ``fit``: photos beyond the API's limits are shrunk or
    converted, unless it is false. ``model`` is an ONNX file of your own; the five after it say how
    it is fed, with ``mean`` and ``std`` as one number per channel or one for all. ``threads``:
    photos that are decoded or segmented at a time.
    """

    edges: Literal["hard", "soft"]
    people: Literal["all", "main"]
    fit: bool
    model: str | os.PathLike[str] | None
    preset: str | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    side: int | None
    crops: bool | None
    threads: int | None


def run_settings(
    api: Api | None = None,
    *,
    edges: str = "hard",
    people: str = "all",
    fit: bool = True,
    model: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    side: int | None = None,
    crops: bool | None = None,
    threads: int | None = None,
    **unknown: object,
) -> RunSettings:
    """The options as the settings of a run without inputs and output.

    Raises:
        UsageError: an option has no such value, or options contradict each other.
    """
    _check_names(unknown)
    _check("side", side, least=SIDES[0], most=SIDES[1], whole=True)
    _check("threads", threads, least=THREADS[0], most=THREADS[1], whole=True)
    _check_types(api, fit, crops, model)
    if edges not in list(Edges):
        raise UsageError(f"edges must be hard or soft, not {edges!r}")
    if people not in list(People):
        raise UsageError(f"people must be all or main, not {people!r}")
    try:
        settings = RunSettings(
            inputs=InputSettings(),
            output=OutputSettings(Path()),
            wanted=Wanted(edges=Edges(edges), fit=bool(fit)),
            engine=EngineChoice.LOCAL if api is None else EngineChoice.API,
            api=ApiSettings() if api is None else api.settings,
            local=_local(model, preset, mean, std, side, crops, People(people), threads),
        )
        check_people(settings)
    except UsageError as error:
        raise reworded(error) from None
    return settings


def _check_names(unknown: Mapping[str, object]) -> None:
    for name in unknown:
        names = ", ".join(["api", *Options.__annotations__])
        raise UsageError(f"there is no option {name!r}; the options are {names}")


def _check_types(api: object, fit: object, crops: object, model: object) -> None:
    for name, value in (("fit", fit), ("crops", crops)):
        if value is not None and not isinstance(value, bool):
            raise UsageError(f"{name} must be True or False, not {value!r}")
    if model is not None and not isinstance(model, (str, os.PathLike)):
        raise UsageError(f"model must be the path of an ONNX file, not {type(model).__name__}")
    if api is not None and not isinstance(api, Api):
        raise UsageError(f"api must be an Api with a key and a secret, not {type(api).__name__}")
    if api is not None and model is not None:
        raise UsageError("the API does not use a model of your own; leave out api or model")


def _local(
    model: str | os.PathLike[str] | None,
    preset: str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    side: int | None,
    crops: bool | None,
    people: People,
    threads: int | None,
) -> LocalSettings:
    path = None if model is None else os.fsdecode(model)
    figures = (_text(mean, "mean"), _text(std, "std"))
    return local_settings(path, preset, *figures, side, crops, people, threads)


def _text(figures: Sequence[float] | None, name: str) -> str | None:
    if figures is None:
        return None
    try:
        return ",".join(repr(float(figure)) for figure in figures)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be numbers such as (0.5, 0.5, 0.5)") from None


def _check(
    name: str,
    value: object,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    whole: bool = False,
    required: bool = False,
) -> None:
    """Check a number, where it was given."""
    if value is None and not required:
        return
    if (
        isinstance(value, int if whole else (int, float))
        and not isinstance(value, bool)
        and least <= value <= most
        and above < value < math.inf
    ):
        return
    what = "a whole number" if whole else "a number"
    bound = f"of at least {least:g}" if least > -math.inf else f"above {above:g}"
    upper = f" and at most {most:g}" if most < math.inf else ""
    raise UsageError(f"{name} must be {what} {bound}{upper}, not {value!r}")
