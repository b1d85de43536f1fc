"""Which engine a run uses: what tells its results from another's, and what it needs installed.

Imports nothing heavy: a run with nothing to do asks only this.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from humanbody_cli.core.errors import FatalError, no_engine, no_soft_edges
from humanbody_cli.core.limits import OFFICIAL_HOSTS
from humanbody_cli.core.settings import Edges, EngineChoice, LocalSettings, RunSettings
from humanbody_cli.pipeline.fingerprint import Shape

_DEFAULT_PORTS = {"http": 80, "https": 443}

API = "api"
LOCAL = "local"


def chosen_engine(settings: RunSettings) -> EngineChoice:
    """What was asked for; else the API where a key is configured and no model was named.

    Naming a model asks for the engine that runs it: no photo of such a run is sent and paid for.
    """
    if settings.engine is not EngineChoice.AUTO:
        return settings.engine
    is_paid = settings.api.credentials is not None and settings.local.model is None
    return EngineChoice.API if is_paid else EngineChoice.LOCAL


def uses_api(settings: RunSettings) -> bool:
    """Whether photos are sent to the API, or to a server that speaks like it."""
    return chosen_engine(settings) is EngineChoice.API


def engine_name(settings: RunSettings) -> str:
    """How the engine is called in records: a model of the user's own by its file's name."""
    if uses_api(settings):
        return API
    model = settings.local.model
    return f"{LOCAL}:{model.name}" if model is not None else LOCAL


def engine_identity(settings: RunSettings) -> str:
    """The engine's name, then all that tells its results from those of another of that name.

    The provider's regional hosts are one API. Any other endpoint is a server of its own: what a
    rehearsal against it made is no answer of the API. For a model of the user's own the file's
    content and the way it is fed count.
    """
    if uses_api(settings):
        parts = urlsplit(settings.api.shown_endpoint)
        if parts.hostname in OFFICIAL_HOSTS:
            return API
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)  # however it was spelled
        place = f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
        return f"{API};endpoint={place.replace(';', '%3B')}"
    return ";".join((engine_name(settings), *_fed(settings.local)))


def _fed(local: LocalSettings) -> Iterable[str]:
    if local.model is not None:
        yield f"model={_file_digest(local.model)}"
    for name in ("preset", "mean", "std", "side"):
        value = getattr(local, name)
        if value is not None:
            yield f"{name}={value}".replace(";", ",")


def _file_digest(path: Path) -> str:
    try:
        sha256 = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
        return sha256.hexdigest()[:32]
    except OSError:
        return ""  # loading the model says what is wrong with it


def shape_of(settings: RunSettings, engines_met: Iterable[str] = ()) -> Shape:
    """The options that shape this run's results; ``engines_met`` have made some in OUT before.

    Results of the API itself are not replaced by those of another server, unless ``--force`` asks
    for it, and those of any server are not replaced by the embedded engine, unless it was named.
    """
    engine = engine_identity(settings)
    also: set[str] = set()
    if engine != API and uses_api(settings):
        also = {API}
    elif settings.engine is EngineChoice.AUTO and not uses_api(settings):
        also = {API, *(met for met in engines_met if met.split(";")[0] == API)}
    return Shape(engine, settings.wanted, also=tuple(sorted(also)))


def check_installed(settings: RunSettings) -> None:
    """See to it that a run has what it needs, before its first call.

    Raises:
        FatalError: the engine is not installed, or the API has no key.
        UsageError: soft edges were asked for and cannot be made.
    """
    if uses_api(settings):
        if settings.api.credentials is None:
            raise FatalError(
                "--engine api needs a key: set HBSEG_API_KEY and HBSEG_API_SECRET, or give "
                "--credentials FILE"
            )
    elif not all(map(_is_installed, ("onnxruntime", "numpy"))):
        raise no_engine()
    wanted = settings.wanted
    if wanted.cutout and wanted.edges is Edges.SOFT and not _is_installed("numpy"):
        raise no_soft_edges()


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def engine_line(settings: RunSettings) -> str:
    """Which engine runs, in one line."""
    if uses_api(settings):
        qps = settings.api.qps
        pace = f"{qps:g} calls/s" if qps is not None else "finding the quota"
        return f"engine: API at {settings.api.shown_endpoint} ({pace})"
    model = settings.local.model
    was_named = settings.engine is EngineChoice.LOCAL or model is not None
    why = "" if was_named else ", as no API key is set"
    what = f"model {model.name}" if model is not None else "embedded model"
    return f"engine: {what} on this machine{why}"
