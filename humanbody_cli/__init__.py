"""hbseg cuts people out of photographs: a batch client, an embedded engine, a server, a library.

Nothing is imported here: ``hbseg --help`` must not pay for what it does not use, and neither must a
program that imports the library. The library's names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

_MODULES = {
    "segment": "jobs.python.segmenter",
    "segment_async": "jobs.python.segmenter",
    "Segmenter": "jobs.python.segmenter",
    "SegmentedPhoto": "jobs.python.results",
    "FolderPhoto": "jobs.python.folder",
    "Api": "jobs.python.options",
    "HbsegError": "core.errors",
    "UsageError": "core.errors",
    "PhotoError": "core.errors",
    "FatalError": "core.errors",
    "AccountError": "core.errors",
    "CallLimitReached": "core.errors",
}
"""Where each name of the library is."""

if TYPE_CHECKING:
    from humanbody_cli.core.errors import (
        AccountError,
        CallLimitReached,
        FatalError,
        HbsegError,
        PhotoError,
        UsageError,
    )
    from humanbody_cli.jobs.python.folder import FolderPhoto
    from humanbody_cli.jobs.python.options import Api
    from humanbody_cli.jobs.python.results import SegmentedPhoto
    from humanbody_cli.jobs.python.segmenter import Segmenter, segment, segment_async
else:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


__all__ = [
    "AccountError",
    "Api",
    "CallLimitReached",
    "FatalError",
    "FolderPhoto",
    "HbsegError",
    "PhotoError",
    "SegmentedPhoto",
    "Segmenter",
    "UsageError",
    "__version__",
    "segment",
    "segment_async",
]
