"""``-o -``: one photo in, its cutout on stdout. No output folder, no journal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from itertools import islice

from humanbody_cli.core import console
from humanbody_cli.core.errors import PhotoError, Stopped, UsageError
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.core.stop import Stop
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.imaging.pictures import configure_pillow
from humanbody_cli.jobs.assembly import engine_for, steps_for
from humanbody_cli.jobs.progress import log as logs
from humanbody_cli.jobs.progress.reporter import Reporter
from humanbody_cli.pipeline import photo_steps
from humanbody_cli.pipeline.engine import check_installed, engine_line
from humanbody_cli.pipeline.photo_steps import at_once


def to_stdout(settings: RunSettings) -> int:
    """Segment exactly one photo and write its cutout (its mask with ``--no-cutout``) to stdout.

    Raises:
        UsageError: there is not exactly one input, or stdout is that input.
        FatalError: the engine refuses, or stdout cannot be written.
    """
    photos = list(islice(find(settings.inputs, Walk()), 2))
    if len(photos) != 1:
        raise UsageError("-o - takes exactly one photo; use -o FOLDER for several")
    _check_stdout(photos[0])
    configure_pillow()
    with logs.opened(settings.telling) as log:
        reporter = Reporter(settings.telling, log=log)
        return _to_stdout(settings, photos[0], reporter)


def _to_stdout(settings: RunSettings, photo: Photo, reporter: Reporter) -> int:
    check_installed(settings)
    reporter.say(engine_line(settings))
    try:
        data = asyncio.run(_made(settings, photo, reporter.stop))
    except PhotoError as error:
        reporter.error(f"hbseg: {photo.source}: {error.code}: {error.message}")
        return error.exit_code
    except Stopped as error:
        raise (reporter.stop.reason or error) from None
    console.write_data(data)
    return 0


def _check_stdout(photo: Photo) -> None:
    """``hbseg segment a.jpg -o - >> a.jpg`` would write into the photo."""
    with contextlib.suppress(OSError):
        out = os.fstat(1)
        source = os.fstat(0) if photo.kind is Kind.STDIN else os.stat(photo.source)
        if stat.S_ISREG(out.st_mode) and os.path.samestat(out, source):
            raise UsageError(f"{photo.source} is also stdout; redirect stdout to another file")


async def _made(settings: RunSettings, photo: Photo, stop: Stop) -> bytes:
    engine, gate = engine_for(settings, stop, 1)
    steps = steps_for(settings, settings.engine_name, keep_pixels=gate is None)
    try:
        data, size = sources.read(photo, steps.rules.most_bytes)
        made = await photo_steps.run_steps(steps, data, size, engine, at_once)
    finally:
        await engine.aclose()
    result = made.cutout if settings.wanted.cutout else made.mask
    assert result is not None
    return result
