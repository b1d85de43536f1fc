"""``hbseg serve``: its options, as ``ServeSettings``."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path

import click

from humanbody_cli.cli.configuration.command import command
from humanbody_cli.cli.configuration.option import group, one_of, option
from humanbody_cli.cli.options import FiniteRange
from humanbody_cli.core.errors import FatalError, UsageError, how_to_install
from humanbody_cli.core.settings import THREADS, LocalSettings, LogFormat
from humanbody_cli.server import config
from humanbody_cli.server.config import BrowserSettings, LogSettings, ServeSettings

_option = functools.partial(option, table="serve", section="Server")
"""HBSEG_QPS is a client's rate and must not throttle a server: that one's is HBSEG_SERVE_QPS."""


_browsers = group(
    "browsers",
    BrowserSettings,
    _option(
        "--cors-origin",
        "cors_origins",
        multiple=True,
        metavar="ORIGIN",
        help="Let web pages of this origin call the API, such as https://example.org; repeatable.",
    ),
    _option(
        "--allow-host",
        "allowed_hosts",
        multiple=True,
        metavar="NAME",
        help="Without --keys: also answer to this host name, beside localhost; repeatable.",
    ),
)


def _log_settings(access_log: bool, log_format: str) -> LogSettings:
    return LogSettings(access_log, LogFormat(log_format))


_log = group(
    "log",
    _log_settings,
    _option(
        "--access-log/--no-access-log",
        section="Messages",
        default=LogSettings.requests,
        show_default=True,
        help="Write a line for each request to stderr.",
    ),
    one_of(
        "--log-format",
        LogSettings.format,
        "Format of the log on stderr.",
        table="serve",
        section="Messages",
    ),
)


@command("serve")
@_option(
    "--host",
    metavar="ADDRESS",
    default=ServeSettings.host,
    show_default=True,
    help="Address to listen on.",
)
@_option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    default=ServeSettings.port,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@_option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keys that may call, one 'api_key api_secret [state] [qps=N] [balance=N]' per line.",
)
@_option(
    "--qps",
    section="Testing",
    type=float,
    metavar="N",
    help="Quota of each key, in calls per second.",
)
@_option(
    "--latency",
    section="Testing",
    default="0",
    metavar="S",
    help="Seconds to add to every call: 0.3, or a range such as 0.2-0.8.",
)
@_option(
    "--inject",
    section="Testing",
    default="",
    metavar="CODE=RATE,...",
    help="Faults and their rates: any API error, reset, html502, hang, half, garbage, wrongsize.",
)
@_option(
    "--seed", section="Testing", type=int, metavar="N", help="Make latency and faults repeatable."
)
@_option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="N",
    default=ServeSettings.workers,
    show_default=True,
    help="Processes; they share each key's quota.",
)
@_option(
    "--threads",
    type=click.IntRange(*THREADS),
    metavar="N",
    otherwise="cores divided by workers",
    help="Photos that each worker processes at once.",
)
@_option(
    "--queue",
    type=click.IntRange(0, 10_000),
    metavar="N",
    default=config.Capacity.queue,
    show_default=True,
    help="Photos that may wait in each worker; more get CONCURRENCY_LIMIT_EXCEEDED.",
)
@_option(
    "--fetch-timeout",
    type=FiniteRange(0.1, 300),
    metavar="S",
    default=config.ServerTimeouts.fetch,
    show_default=True,
    help="Longest download of an image_url, in seconds.",
)
@_option(
    "--allow-private-urls",
    is_flag=True,
    help="Also fetch image_url from private and loopback addresses.",
)
@_browsers
@_log
def serve_command(
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
    browsers: BrowserSettings,
    log: LogSettings,
) -> None:
    """Serve the HumanBody Segment API V2 on this machine.

    Clients of the real API work with it once their host is changed. Without --keys, one key pair
    is generated and printed. The address of the server, opened in a browser, is a page with an
    upload box. Every request is logged as one line on stderr; /healthz and /metrics report the
    server's state.
    """
    if qps is not None and not 0 < qps < float("inf"):
        raise UsageError(f"--qps {qps:g} is not a rate: give calls per second, more than 0")
    _check_extra()
    from humanbody_cli.server.main import serve as run

    settings = ServeSettings(
        host=host,
        port=port,
        keys=keys,
        qps=qps,
        workers=workers,
        allow_private_urls=allow_private_urls,
        browsers=browsers,
        log=log,
        faults=config.FaultPlan(config.parse_latency(latency), config.parse_rates(inject), seed),
        timeouts=config.ServerTimeouts(fetch=fetch_timeout),
        capacity=config.Capacity(queue=queue),
        local=LocalSettings(threads=threads or max(1, (os.cpu_count() or 1) // workers)),
    )
    run(settings, click.echo)


def _check_extra() -> None:
    from humanbody_cli.jobs.inspection.doctor.machine import EXTRAS

    modules = [name.replace("-", "_") for name in (*EXTRAS["serve"], *EXTRAS["local"])]
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise FatalError(f"hbseg serve needs {', '.join(missing)}: {how_to_install('serve')}")
