"""One photo in, one cutout out on stdout: for pipelines. No output folder, no journal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from itertools import islice

from humanbody_cli.api.requests import request_size
from humanbody_cli.core import console
from humanbody_cli.core.console import Progress
from humanbody_cli.core.errors import PhotoError, Stopped, UsageError
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.core.stop import Stop
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.imaging import uploads
from humanbody_cli.imaging.pictures import configure_pillow
from humanbody_cli.jobs.assembly import api_engine, local_engine
from humanbody_cli.pipeline import results
from humanbody_cli.pipeline.fingerprint import check_installed, engine_line, engine_name, uses_api


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
    progress = Progress(verbosity=settings.verbosity, terminal=False)
    check_installed(settings)
    progress.say(engine_line(settings))
    stop = Stop()
    try:
        data = asyncio.run(_made(settings, photos[0], stop))
    except PhotoError as error:
        line = f"hbseg: {photos[0].source}: {error.code}: {error.message}"
        progress.say(line, level=-1)
        return error.exit_code
    except Stopped as error:
        raise (stop.reason or error) from None
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
    local = not uses_api(settings)
    engine = (
        local_engine(settings.local, engine_name(settings))
        if local
        else api_engine(settings.api, stop, 1)[0]
    )
    overhead = request_size(0, settings.api.credentials)
    rules = Rules(settings.wanted.fit, keep_pixels=local, overhead=overhead)
    try:
        picture = sources.examine(photo, rules)
        upload = uploads.prepare(picture, fit=settings.wanted.fit)
        ask = results.ask_for(settings.wanted, picture, upload)
        found = await engine.segment(upload, ask)
        made = results.make(settings.wanted, picture, upload, found, engine.name)
    finally:
        await engine.aclose()
    data = made.cutout if settings.wanted.cutout else made.mask
    assert data is not None
    return data
