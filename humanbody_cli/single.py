"""One photo in, one cutout out on stdout: for pipelines. No output folder, no journal."""

from __future__ import annotations

import asyncio
import sys

from humanbody_cli import reading, results, uploads
from humanbody_cli.assembly import api_engine, local_engine
from humanbody_cli.errors import PhotoError, Stopped, UsageError
from humanbody_cli.photos import Kind, Photo, Walk, find
from humanbody_cli.pictures import configure_pillow
from humanbody_cli.reading import Rules
from humanbody_cli.run import chosen_engine, engine_line, engine_name
from humanbody_cli.settings import EngineChoice, RunSettings
from humanbody_cli.stopping import Stop


def to_stdout(settings: RunSettings) -> int:
    """Segment exactly one photo and write its cutout (its mask with ``--no-cutout``) to stdout.

    Raises:
        UsageError: there is not exactly one input.
        FatalError: the engine refuses.
    """
    photos = list(find(settings.inputs, Walk()))[:2]
    if len(photos) != 1:
        raise UsageError("-o - takes exactly one photo; give -o FOLDER for several")
    configure_pillow()
    if settings.verbosity >= 0:
        print(engine_line(settings), file=sys.stderr)  # noqa: T201
    stop = Stop()
    try:
        data = asyncio.run(_made(settings, photos[0], stop))
    except PhotoError as error:
        print(f"hbseg: {photos[0].source}: {error.code}: {error.message}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except Stopped as error:
        raise (stop.reason or error) from None
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return 0


async def _made(settings: RunSettings, photo: Photo, stop: Stop) -> bytes:
    local = chosen_engine(settings) is EngineChoice.LOCAL
    engine = (
        local_engine(settings.local, engine_name(settings))
        if local
        else api_engine(settings.api, stop)[0]
    )
    rules = Rules(settings.wanted.fit, keep_pixels=local, credentials=settings.api.credentials)
    try:
        if photo.kind is Kind.TROUBLE:
            raise UsageError(f"{photo.source}: {photo.trouble}")
        picture = reading.examine(photo, rules)
        upload = uploads.prepare(picture, fit=settings.wanted.fit)
        ask = results.ask_for(settings.wanted, picture, upload)
        found = await engine.segment(upload, ask)
        made = results.make(settings.wanted, picture, upload, found, engine.name)
    finally:
        await engine.aclose()
    data = made.cutout if settings.wanted.cutout else made.mask
    assert data is not None
    return data
