"""What a photo needs, given what the journal knows of it. Pure, but for the look at the outputs."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

from humanbody_cli.core.api_spec import OFFICIAL_HOSTS
from humanbody_cli.core.errors import FatalError, no_engine, no_soft_edges
from humanbody_cli.core.paths import to_bytes
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.core.settings import (
    Edges,
    EngineChoice,
    LocalSettings,
    Metadata,
    RunSettings,
    Wanted,
)
from humanbody_cli.pipeline.stat_check import OwnLooks
from humanbody_cli.storage.journal import PROOFLESS, Done, Known
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.names import digest, marked

_FILE = Kind.FILE


@dataclass(frozen=True)
class Fingerprint:
    """The options that shape a result, and their text in the journal.

    ``engine`` says what makes the masks: the engine's name in records, then all that tells its
    results from another's (``api;endpoint=...``, ``local:u2net.onnx;model=<sha256>;preset=u2net``).
    ``also`` are engines whose results serve as well: what the API was paid for is not replaced by
    an engine that nobody named.
    """

    engine: str
    wanted: Wanted
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text(self.engine)

    def text(self, engine: str) -> str:
        """The text for a result of this engine."""
        return f"fit={int(self.wanted.fit)};{self._looks};engine={engine}"

    def wants(self, kind: str) -> bool:
        """Whether this kind of file is wanted."""
        return self.wanted.mask if kind == MASKS else self.wanted.cutout

    def made(self, kind: str, engine: str) -> str:
        """What a file is made with, beside its photo: the text of the proof inside it."""
        return _made(kind, self._looks, engine)

    @staticmethod
    def made_in(kind: str, known: Known) -> str | None:
        """The same of a file that a row tells of; ``None`` where none is known."""
        head, _, engine = (known.shape or "").partition(";engine=")
        return _made(kind, head.partition(";")[2], engine) if engine else None

    def answer_name(self, sha256: str) -> str:
        """The name of the kept answer to an upload of these bytes: one for each server."""
        _, _, details = self.engine.partition(";")
        return digest(f"{sha256} {details}") if details else sha256

    @property
    def _looks(self) -> str:
        """The options that shape a cutout beyond its mask."""
        return f"edges={self.wanted.edges.value};metadata={self.wanted.metadata.value}"

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines whose results are accepted."""
        return (self.engine, *self.also)

    @cached_property
    def accepted(self) -> frozenset[str]:
        """Texts of results that are what is wanted, as they are.

        A photo that was done without ``--fit`` was within the limits, so ``--fit`` changes nothing.
        """
        return self._texts(fits={False, self.wanted.fit})

    @cached_property
    def cutouts_from(self) -> frozenset[str]:
        """Texts of results whose cutout is the wanted one: the photo is known to be taken."""
        return self._texts(fits=(False, True))

    @cached_property
    def masks_from(self) -> frozenset[str]:
        """Texts of results whose mask is the wanted one: edges and Exif only change the cutout."""
        return frozenset().union(
            *(
                replace(self, wanted=replace(self.wanted, edges=edges, metadata=kept)).cutouts_from
                for edges, kept in product(Edges, Metadata)
            )
        )

    @cached_property
    def same_call(self) -> frozenset[str]:
        """Texts of results that came of the very request that this run would send."""
        return frozenset(
            replace(self, wanted=replace(self.wanted, edges=edges, metadata=kept)).text(self.engine)
            for edges, kept in product(Edges, Metadata)
        )

    def _texts(self, fits: Iterable[bool]) -> frozenset[str]:
        return frozenset(
            replace(self, wanted=replace(self.wanted, fit=fit)).text(engine)
            for fit, engine in product(fits, self.engines)
        )


def _made(kind: str, looks: str, engine: str) -> str:
    # A published file may be shown to anybody: the details of the engine, the address of a server
    # among them, are in it as a digest only.
    name, _, details = engine.partition(";")
    sealed = f"{name};{digest(details)[:16]}" if details else name
    return f"engine={sealed}" if kind == MASKS else f"{looks};engine={sealed}"


def engine_of(known: Known) -> str:
    """The engine of a row's results, as `Fingerprint.engine` names it."""
    return (known.shape or "").partition(";engine=")[2]


@dataclass(frozen=True)
class Selection:
    """Decides which photos are to be done, in the output folder ``root``.

    ``checked`` names the rules of pre-validation: a reject is looked at again when they change.
    """

    root: str
    fingerprint: Fingerprint
    checked: str = ""
    force: bool = False
    retry_failed: bool = False

    def settled(self, photo: Photo, known: Known | None) -> str | None:
        """The status that a photo has for good, ``None`` if it is to be done."""
        if known is None or self.force or photo.kind is Kind.TROUBLE:
            return None
        if known.size != photo.size or known.mtime != photo.mtime or known.transient:
            return None
        if known.status == "rejected":
            checked = (known.checked or "").removesuffix(PROOFLESS)
            return "rejected" if checked == self.checked else None
        if known.status == "failed":
            again = self.retry_failed or known.shape not in self.fingerprint.same_call
            return None if again else "failed"
        if known.status != "done" or known.shape not in self.fingerprint.accepted:
            return None
        row = (
            *(known.key, known.name, known.size, known.mtime),
            *(known.mask_size, known.cutout_size),
        )
        return "done" if self.may_stand(photo, row) and self.looks.has_outputs(row) else None

    def may_stand(self, photo: Photo, row: Done) -> bool:
        """Whether a done row is this photo's by all but its files: these are `looks`' matter."""
        _, name, _, mtime, _, _ = row
        # Unpacked, as this is asked of every photo of a second run.
        _, key, wanted, _, _, kind, _, keeps_name, _ = photo
        # An address and stdin have no time, a file always has one.
        if self.force or (mtime == -1) is (kind is _FILE):
            return False
        return keeps_name or name == to_bytes(wanted) or name == to_bytes(marked(wanted, key))

    @cached_property
    def looks(self) -> OwnLooks:
        """Looks at the files that are wanted."""
        wanted = self.fingerprint.wanted
        masks, cutouts = (to_bytes(os.path.join(self.root, kind, "")) for kind in (MASKS, CUTOUTS))
        return OwnLooks(masks if wanted.mask else None, cutouts if wanted.cutout else None)


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


def fingerprint_of(settings: RunSettings, engines_met: Iterable[str] = ()) -> Fingerprint:
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
    return Fingerprint(engine, settings.wanted, also=tuple(sorted(also)))


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
    why = "" if was_named else ", because no API key is set"
    what = f"model {model.name}" if model is not None else "embedded model"
    return f"engine: {what} on this machine{why}"
