"""What is installed, as ``hbseg doctor`` checks it: versions, extras, models, text."""

from __future__ import annotations

import hashlib
import importlib
import platform
from importlib import metadata

from humanbody_cli import __version__
from humanbody_cli.core import console
from humanbody_cli.core.errors import HbsegError, how_to_install
from humanbody_cli.core.settings import LocalSettings
from humanbody_cli.jobs.inspection.doctor.finding import Finding, Level, first_line
from humanbody_cli.pipeline.fingerprint import BUNDLED

EXTRAS = {
    "local": ("onnxruntime", "numpy"),
    "soft": ("numpy",),
    "fit": ("numpy", "pillow-heif"),
    "fast": ("deflate", "isal", "numpy", "pybase64"),
    "watch": ("watchfiles",),
    "serve": ("starlette", "uvicorn", "anyio", "multipart", "prometheus-client"),
}
"""The libraries of each extra; ``serve`` includes ``local``."""

_USES = {
    "local": "runs without a key",
    "soft": "--edges soft",
    "fit": "--fit with HEIC photos",
    "fast": "less processor time",
    "watch": "hbseg watch without --poll",
    "serve": "hbseg serve",
}

_MODULES = {"onnxruntime": "humanbody_cli.embedded.ort"}
"""What is imported in place of a library: this module sets its telemetry off first."""

_MISSING = "missing"
_REINSTALL = "reinstall hbseg with its extra local"


def _to_install(name: str) -> str:
    return f"to install it: {how_to_install(name)}"


def versions() -> Finding:
    """hbseg, Python, and the libraries that every run uses."""
    libraries = ", ".join(map(_version, ("click", "httpx", "pillow")))
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("hbseg", Level.OK, f"{__version__}, {python}, {libraries}")


def _version(library: str) -> str:
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return library


def extra(name: str) -> Finding:
    """Whether the libraries of an extra are there and can be loaded; no run needs them all."""
    check, faults = f"[{name}]", {library: _fault(library) for library in EXTRAS[name]}
    missing = [library for library, fault in faults.items() if fault == _MISSING]
    if missing:
        message = f"not installed ({', '.join(missing)}); it is for {_USES[name]}"
        return Finding(check, Level.OK, message, _to_install(name))
    for library, fault in faults.items():
        if fault is not None:
            message = f"{library} is installed and cannot be loaded: {fault}"
            advice = f"reinstall it: pip install --force-reinstall {library}"
            return Finding(check, Level.WARN, message, advice)
    return Finding(check, Level.OK, ", ".join(map(_version, EXTRAS[name])))


def _fault(library: str) -> str | None:
    """Why a library cannot be loaded; ``None`` if it can."""
    try:
        importlib.import_module(_MODULES.get(library, library.replace("-", "_")))
    except ModuleNotFoundError:
        return _MISSING
    except ImportError as error:
        return first_line(error)
    return None


def engine(*, needed: bool) -> Finding:
    """Whether the bundled models are whole and cut out a small picture."""
    bad = Level.bad(needed=needed)
    try:
        damaged = _damaged()
        took = _segmented(LocalSettings()) if damaged is None else ""
    except ModuleNotFoundError:
        level = Level.FAIL if needed else Level.OK
        return Finding("engine", level, "the embedded one is not installed", _to_install("local"))
    except ImportError as error:
        return Finding("engine", bad, f"it cannot be loaded: {first_line(error)}", _REINSTALL)
    except HbsegError as error:
        return Finding("engine", bad, str(error), _REINSTALL)
    if damaged is not None:
        return Finding("engine", bad, damaged, _REINSTALL)
    return Finding("engine", Level.OK, f"both models are whole; a small picture took {took}")


def _damaged() -> str | None:
    """What is wrong with the files of the bundled models; ``None`` if nothing is.

    Raises:
        ImportError: a library of the engine is missing or cannot be loaded.
    """
    from humanbody_cli.embedded.segmenters import DETECTOR, SEGMENTATION

    digests = BUNDLED.split("-")[1:]
    for path, digest in zip((SEGMENTATION, DETECTOR), digests, strict=True):
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            return f"the model {path} cannot be read: {error.strerror}"
        if not found.startswith(digest):
            return f"the model {path} is damaged: its SHA-256 does not start with {digest}"
    return None


def model(local: LocalSettings, *, needed: bool) -> Finding:
    """Whether the user's own model can be loaded and run."""
    bad = Level.bad(needed=needed)
    try:
        took = _segmented(local)
    except ImportError as error:
        return Finding(
            "model", bad, f"it cannot be loaded: {first_line(error)}", _to_install("local")
        )
    except HbsegError as error:
        return Finding("model", bad, str(error))
    return Finding("model", Level.OK, f"{local.model}: a small picture took {took}")


def _segmented(local: LocalSettings) -> str:
    """How long a small picture took, models loaded.

    Raises:
        HbsegError: a model cannot be used.
        ImportError: a library of the engine is missing or cannot be loaded.
    """
    from PIL import Image

    from humanbody_cli.embedded.segmenters import segmenter

    segment = segmenter(local)
    watch = console.Stopwatch()
    segment(Image.new("RGB", (320, 240), (90, 120, 160)))
    return f"{watch.seconds() * 1000:.0f} ms"


def text(stdout: str, names: str) -> Finding:
    """Whether the names of files in all languages can be read and printed."""
    if all(encoding.lower().replace("-", "") == "utf8" for encoding in (stdout, names)):
        return Finding("text", Level.OK, "UTF-8")
    message = f"stdout is {stdout} and file names are {names}, so some names are printed escaped"
    return Finding("text", Level.WARN, message, "set LC_ALL=C.UTF-8")
