"""The fingerprint: the options that shape a result, as text, and which results it accepts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

from humanbody_cli.core.api_spec import OFFICIAL_HOSTS
from humanbody_cli.core.photo import Kind, Known
from humanbody_cli.core.settings import (
    API_ENGINE,
    Edges,
    EngineChoice,
    LocalSettings,
    Metadata,
    RunSettings,
    Wanted,
)
from humanbody_cli.pipeline.engine import name_of
from humanbody_cli.storage.layout import MASKS
from humanbody_cli.storage.names import short_digest

_FILE = Kind.FILE


@dataclass(frozen=True)
class Fingerprint:
    """The options that shape a result, and their text in the journal.

    ``engine`` says what makes the masks: the engine's name in records, then all that tells its
    results from another's (``api;endpoint=...``, ``local:u2net.onnx;model=<sha256>;preset=u2net``).
    ``also`` are engines whose results serve as well: what the API was paid for is not replaced by
    an engine that was not asked for.
    """

    engine: str
    wanted: Wanted
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text(self.engine)

    def text(self, engine: str) -> str:
        """The text for a result of this engine."""
        return f"fit={int(self.wanted.fit)};{self._cutout_options};engine={engine}"

    def wants(self, kind: str) -> bool:
        """Whether this kind of file is wanted."""
        return self.wanted.mask if kind == MASKS else self.wanted.cutout

    def made(self, kind: str, engine: str) -> str:
        """What a file is made with, beside its photo: the text of the proof inside it."""
        return _made(kind, self._cutout_options, engine)

    @staticmethod
    def made_in(kind: str, known: Known) -> str | None:
        """The same for a file of a row; ``None`` if the row has no engine."""
        options, engine = _parsed(known.shape)
        return _made(kind, options, engine) if engine else None

    def answer_name(self, sha256: str) -> str:
        """The name of the kept answer to an upload of these bytes: one for each server."""
        _, _, details = self.engine.partition(";")
        return short_digest(f"{sha256} {details}") if details else sha256

    @property
    def _cutout_options(self) -> str:
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
        """Texts of results whose cutout is the wanted one: the photo is known to be accepted."""
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
        """Texts of results of the very request that this run would send."""
        return frozenset(
            replace(self, wanted=replace(self.wanted, edges=edges, metadata=kept)).text(self.engine)
            for edges, kept in product(Edges, Metadata)
        )

    def _texts(self, fits: Iterable[bool]) -> frozenset[str]:
        return frozenset(
            replace(self, wanted=replace(self.wanted, fit=fit)).text(engine)
            for fit, engine in product(fits, self.engines)
        )


def _made(kind: str, cutout_options: str, engine: str) -> str:
    # A published file may be shown to anybody: the details of the engine, the address of a server
    # among them, are in it as a digest only.
    name, _, details = engine.partition(";")
    sealed = f"{name};{short_digest(details)[:16]}" if details else name
    return f"engine={sealed}" if kind == MASKS else f"{cutout_options};engine={sealed}"


def engine_of(known: Known) -> str:
    """The engine of a row's results, as `Fingerprint.engine` names it; empty for none."""
    return _parsed(known.shape)[1]


def _parsed(shape: str | None) -> tuple[str, str]:
    """The options of a cutout and the engine in a `Fingerprint.text`."""
    head, _, engine = (shape or "").partition(";engine=")
    return head.partition(";")[2], engine


_DEFAULT_PORTS = {"http": 80, "https": 443}


def engine_identity(settings: RunSettings) -> str:
    """The engine's name, then all that tells its results from those of another of that name.

    The provider's regional hosts are one API. Any other endpoint is a server of its own, whose
    results are not the API's. For a model of the user's own, the file's content and its
    preprocessing count, for the bundled models their version (`BUNDLED`) and who is meant.
    """
    if settings.uses_api:
        parts = urlsplit(settings.api.shown_endpoint)
        if parts.hostname in OFFICIAL_HOSTS:
            return API_ENGINE
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)  # however it was spelled
        place = f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
        return f"{API_ENGINE};endpoint={place.replace(';', '%3B')}"
    return ";".join((settings.engine_name, *_preprocessing(settings.local)))


BUNDLED = "3-3ba8554c-7efd3a10"
"""The bundled models' share of a fingerprint: the version of the method, then the first digits of
the SHA-256 of the segmentation model and of the detector.

It changes whenever the bundled models or the method make other masks. Results of another version
are then made again: that costs time, but no money, and the masks of one folder stay alike.
"""


def _preprocessing(local: LocalSettings) -> Iterable[str]:
    if local.model is not None:
        yield f"model={_file_digest(local.model)}"
    if local.model is None or local.crops:
        yield f"bundled={BUNDLED}"
        yield f"people={local.people.value}"
    for name in ("preset", "mean", "std", "side"):
        value = getattr(local, name)
        if value is not None:
            yield f"{name}={value}".replace(";", ",")


def _file_digest(path: Path) -> str:
    try:
        import hashlib  # takes 2 ms to load, and few runs have a model of their own

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
    if engine != API_ENGINE and settings.uses_api:
        also = {API_ENGINE}
    elif settings.engine is EngineChoice.AUTO and not settings.uses_api:
        also = {
            API_ENGINE,
            *(met for met in engines_met if name_of(met) == API_ENGINE),
        }
    return Fingerprint(engine, settings.wanted, also=tuple(sorted(also)))
