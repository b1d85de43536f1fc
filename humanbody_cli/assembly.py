"""The parts of a run put together: engine, gate, pipeline. Imports what is heavy: comes late."""

from __future__ import annotations

from humanbody_cli.engines.base import Engine
from humanbody_cli.engines.local import LocalEngine, load_segmenter
from humanbody_cli.errors import FatalError
from humanbody_cli.journal import Journal
from humanbody_cli.pictures import configure_pillow
from humanbody_cli.pipeline import Pipeline
from humanbody_cli.publish import Disk, Publisher
from humanbody_cli.quota import file_limit
from humanbody_cli.quota.gate import Gate
from humanbody_cli.quota.learning import MAX_IN_FLIGHT, Learner
from humanbody_cli.quota.slots import slots_for
from humanbody_cli.reading import Rules
from humanbody_cli.receipts import Receipts
from humanbody_cli.reuse import Reuse
from humanbody_cli.selection import Shape
from humanbody_cli.settings import ApiSettings, LocalSettings, RunSettings
from humanbody_cli.stopping import Stop


def assemble(
    settings: RunSettings,
    shape: Shape,
    journal: Journal,
    stop: Stop,
    disk: Disk | None = None,
) -> tuple[Engine, Gate | None, Pipeline]:
    """Engine, gate (with the API) and pipeline of the run that the journal has begun.

    Raises:
        FatalError: the engine is not installed or not configured.
    """
    configure_pillow()
    engine: Engine
    gate: Gate | None = None
    if shape.engine == "api":
        engine, gate = api_engine(settings.api, stop)
    else:
        engine = local_engine(settings.local, shape.engine)
    output = settings.output
    durable = engine.durable if output.durable is None else output.durable
    root = str(output.folder)
    pipeline = Pipeline(
        engine=engine,
        journal=journal,
        publisher=Publisher(root, durable=durable, disk=disk),
        reuse=Reuse(
            journal,
            root,
            shape,
            since=journal.run if output.force else 0,
            failures_since=journal.run if output.retry_failed else 0,
        ),
        shape=shape,
        rules=Rules(
            fit=settings.wanted.fit,
            keep_pixels=gate is None,
            credentials=settings.api.credentials,
        ),
        receipts=Receipts(root, disk, forget=output.force) if gate is not None else None,
        threads=settings.local.threads,
    )
    return engine, gate, pipeline


def api_engine(settings: ApiSettings, stop: Stop) -> tuple[Engine, Gate]:
    """The API behind its gate.

    Raises:
        FatalError: there is no key, the limit on open files allows no call, or the environment's
            certificates or proxy cannot be used.
    """
    if settings.credentials is None:
        raise FatalError(
            "--engine api needs a key: set HBSEG_API_KEY and HBSEG_API_SECRET, or give "
            "--credentials FILE"
        )
    from humanbody_cli.engines.api import ApiEngine

    allowed = file_limit.allowance(settings.concurrency, MAX_IN_FLIGHT)
    gate = Gate(
        Learner(settings.qps, allowed.calls),
        slots_for(settings.endpoint, settings.credentials.api_key),
        stop,
        max_calls=settings.max_calls,
        notice=allowed.notice,
    )
    return ApiEngine(settings, gate, stop), gate


def local_engine(settings: LocalSettings, name: str) -> Engine:
    """The embedded engine.

    Raises:
        FatalError: it is not installed, or its model cannot be used.
    """
    return LocalEngine(load_segmenter(settings), threads=settings.threads, name=name)
