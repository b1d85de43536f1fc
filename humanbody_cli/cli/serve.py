"""`hbseg serve`: the same API on this machine."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from humanbody_cli.cli.options import FiniteRange
from humanbody_cli.core.errors import FatalError, UsageError

F = TypeVar("F", bound=Callable[..., Any])

_NEEDED = ("starlette", "uvicorn", "multipart", "prometheus_client", "onnxruntime", "numpy")
"""What the extra ``serve`` brings."""


def _option(*names: str, **attributes: Any) -> Callable[[F], F]:
    # HBSEG_SERVE_QPS, not HBSEG_QPS: that one is a client's pace, which must not throttle a server.
    variable = "HBSEG_SERVE_" + names[0].removeprefix("--").upper().replace("-", "_")
    return click.option(*names, envvar=variable, **attributes)


@click.command("serve")
@_option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@_option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@_option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Who may call: 'api_key api_secret [state] [qps=N] [balance=N]' a line.",
)
@_option("--qps", type=float, metavar="N", help="Calls a second that each key may make.")
@_option(
    "--latency",
    default="0",
    metavar="S",
    help="Seconds that every call takes longer: 0.3, or a range as 0.2-0.8.",
)
@_option(
    "--inject",
    default="",
    metavar="CODE=RATE,...",
    help="Faults by rate: any error of the API, reset, html502, hang, half, garbage, wrongsize.",
)
@_option("--seed", type=int, metavar="N", help="Makes latency and faults repeatable.")
@_option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes; quotas hold across them.",
)
@_option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Photos at work at once, a worker.  [default: one a core]",
)
@_option(
    "--queue",
    type=click.IntRange(0, 10_000),
    default=32,
    show_default=True,
    help="Photos that may wait, a worker; beyond it CONCURRENCY_LIMIT_EXCEEDED.",
)
@_option(
    "--fetch-timeout",
    type=FiniteRange(0.1, 300),
    default=10.0,
    show_default=True,
    help="Seconds that the download of an image_url may take.",
)
@_option(
    "--allow-private-urls",
    is_flag=True,
    help="Fetch image_url from private and loopback addresses too.",
)
def command(
    host: str,
    port: int,
    keys: Path | None,
    qps: float | None,
    latency: str,
    inject: str,
    seed: int | None,
    workers: int,
    threads: int | None,
    queue: int,
    fetch_timeout: float,
    allow_private_urls: bool,
) -> None:
    """Serve the HumanBody Segment API V2 on this machine.

    Clients of the real API work against it when only the host is changed. Without --keys one key
    pair is made and printed. Every call is one line on stderr; /healthz and /metrics tell how it
    is doing. Every option has an environment variable: HBSEG_SERVE_ and its name.
    """
    if qps is not None and not 0 < qps < float("inf"):
        raise UsageError(f"--qps {qps:g} is no rate: give calls a second above 0")
    _check_extra()
    from humanbody_cli.core.settings import LocalSettings
    from humanbody_cli.server import config
    from humanbody_cli.server.main import serve as run

    settings = config.ServeSettings(
        host=host,
        port=port,
        keys=keys,
        qps=qps,
        workers=workers,
        allow_private_urls=allow_private_urls,
        faults=config.FaultPlan(config.parse_latency(latency), config.parse_rates(inject), seed),
        timeouts=config.ServerTimeouts(fetch=fetch_timeout),
        capacity=config.Capacity(queue=queue),
        local=LocalSettings(threads=threads or max(1, (os.cpu_count() or 1) // workers)),
    )
    run(settings, click.echo)


def _check_extra() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise FatalError(
            f"hbseg serve needs {', '.join(missing)}: pip install "
            + " ".join(name.replace("_", "-") for name in missing)
        )
