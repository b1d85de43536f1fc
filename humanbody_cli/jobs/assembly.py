"""The parts of a run put together: engine, gate, pipeline. Imports what is heavy: comes late."""

from __future__ import annotations

from humanbody_cli.api.adaptive_rate import MAX_IN_FLIGHT, Learner
from humanbody_cli.api.gate import Gate
from humanbody_cli.api.slots import slots_for
from humanbody_cli.core.settings import ApiSettings, LocalSettings, RunSettings
from humanbody_cli.core.stop import Stop
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.embedded.engine import LocalEngine, load_segmenter
from humanbody_cli.imaging.pictures import configure_pillow
from humanbody_cli.jobs import file_limit
from humanbody_cli.pipeline.engine import Engine
from humanbody_cli.pipeline.engine_choice import engine_name, uses_api
from humanbody_cli.pipeline.fingerprint import Selection
from humanbody_cli.pipeline.pipeline import Pipeline
from humanbody_cli.pipeline.reuse import Reuse
from humanbody_cli.storage.answer_spool import Receipts
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.publishing import Disk, Publisher


def assemble(
    settings: RunSettings,
    selection: Selection,
    journal: Journal,
    publisher: Publisher,
    stop: Stop,
    disk: Disk | None = None,
) -> tuple[Gate | None, Pipeline]:
    """Gate (with the API) and pipeline of the run that the journal has begun.

    Raises:
        FatalError: the engine is not installed or not configured.
    """
    configure_pillow()
    shape, output = selection.shape, settings.output
    engine: Engine
    gate: Gate | None = None
    if uses_api(settings):
        engine, gate = api_engine(settings.api, stop, settings.local.threads)
    else:
        engine = local_engine(settings.local, engine_name(settings))
    pipeline = Pipeline(
        engine=engine,
        journal=journal,
        publisher=publisher,
        reuse=Reuse(
            journal,
            publisher,
            shape,
            run=journal.run,
            force=output.force,
            retry_failed=output.retry_failed,
            by_proof=journal.was_lost,
        ),
        shape=shape,
        rules=Rules(
            fit=settings.wanted.fit,
            keep_pixels=gate is None,
            credentials=settings.api.credentials,
        ),
        checked=selection.checked,
        receipts=Receipts(publisher.root, disk, forget=output.force) if gate is not None else None,
        threads=settings.local.threads,
    )
    return gate, pipeline


def api_engine(settings: ApiSettings, stop: Stop, threads: int) -> tuple[Engine, Gate]:
    """The API behind its gate; ``threads`` photos are read at a time.

    Raises:
        FatalError: the limit on open files allows no call, or the environment's certificates or
            proxy cannot be used.
    """
    assert settings.credentials is not None, "choice.check_installed comes first"
    from humanbody_cli.api.engine import ApiEngine

    allowed = file_limit.allowance(settings.concurrency, MAX_IN_FLIGHT, threads)
    gate = Gate(
        Learner(settings.qps, allowed.calls),
        slots_for(settings.endpoint, settings.credentials.api_key),
        stop,
        max_calls=settings.max_calls,
        most_photos=allowed.photos,
        notice=allowed.notice,
    )
    return ApiEngine(settings, gate, stop), gate


def local_engine(settings: LocalSettings, name: str) -> Engine:
    """The embedded engine.

    Raises:
        FatalError: it is not installed, or its model cannot be used.
    """
    return LocalEngine(load_segmenter(settings), threads=settings.threads, name=name)
