"""All errors that hbseg raises on purpose, as one tree, with their exit codes.

::

    HbsegError
    ├── UsageError           the command line or a setting is wrong           exit 2
    ├── FatalError           stops the run; what is in flight still lands      exit 4
    │   ├── AccountError     the key, its rights or its balance
    │   ├── OutputError      the output cannot be written: disk, permission
    │   │   └── StdoutError  the same of stdout
    │   ├── JournalError     the journal is damaged or not ours
    │   ├── CallLimitReached --max-calls is used up                            exit 5
    │   ├── TimeLimitReached --max-duration is over                            exit 5
    │   └── OutputHeld       another run holds the output folder               exit 6
    ├── PhotoError           this photo only; becomes its outcome
    ├── Stopped              the run ended before this photo's turn; it stays pending
    │   └── NotReady         this photo's file is being written; its turn comes later
    └── Interrupted          SIGINT or SIGTERM                                  exit 130, 143

Each message is one sentence for the user: what is wrong with which file or option, and what to do.
Anything outside this tree is a bug and ends in a traceback, with three exceptions: Python's errors
for a limit of the system (`limits_told`), errors of decoders (`imaging.decoding`), and errors while
one photo is composed, which become that photo's failure (`photo_steps.composing`).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution


class HbsegError(Exception):
    """Root of everything hbseg raises on purpose. ``attempts`` counts calls spent before it;
    ``ending`` is what the journal notes as the reason where it ends a run."""

    exit_code = 1
    ending = "stopped"
    attempts = 0

    def __reduce__(self) -> tuple[object, ...]:
        """Copied and pickled whatever the constructor takes: errors cross processes."""
        return _remade, (type(self), self.args, vars(self))


def _remade(kind: type[HbsegError], args: tuple[object, ...], state: dict[str, object]) -> object:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(state)
    return error


class UsageError(HbsegError):
    """A wrong option, input or setting."""

    exit_code = 2
    ending = "usage"


class FatalError(HbsegError):
    """Nothing further can succeed: the run stops and everything unfinished stays pending."""

    exit_code = 4


class AccountError(FatalError):
    """The API refused the key itself: every further call would be refused too."""

    ending = "account"


class OutputError(FatalError):
    """The output folder cannot take files: full, read-only, gone, or not permitted."""

    ending = "output"


class StdoutError(OutputError):
    """stdout cannot be written: its reader has gone, or it is a full disk."""

    ending = "stdout"


class JournalError(FatalError):
    """The journal cannot be trusted; going on could pay twice. ``damaged`` where its file is."""

    damaged = False
    ending = "journal"


class CallLimitReached(FatalError):
    """The call limit of this run, or of the hour or day, is used up."""

    exit_code = 5
    ending = "call-limit"


class TimeLimitReached(FatalError):
    """The run has lasted as long as it may."""

    exit_code = 5
    ending = "time-limit"


class OutputHeld(FatalError):
    """Another run holds the lock of this output folder."""

    exit_code = 6


class PhotoError(HbsegError):
    """One photo cannot be done.

    ``code`` is the API's own error name where one fits. ``rejected`` tells a photo that the run
    does not take (by pre-validation, or because it shows nobody) from one that failed.
    ``transient`` says that a later run may succeed with the same photo; ``attempts`` counts the
    calls that were spent on it. ``reason`` is a word or two for counts, where the code says less:
    ``damaged``, ``HEIC``.
    """

    exit_code = 3

    def __init__(
        self,
        code: str,
        message: str,
        *,
        rejected: bool = False,
        transient: bool = False,
        attempts: int = 0,
        request_id: str | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.rejected = rejected
        self.transient = transient
        self.attempts = attempts
        self.request_id = request_id


class Stopped(HbsegError):
    """The run was stopped before this photo's call began; the photo stays pending."""


class NotReady(Stopped):
    """This photo's file is being written, or is gone. The run goes on, and takes the photo up again
    when it is found at rest."""


class Interrupted(HbsegError):
    """SIGINT or SIGTERM ended the run; exits with 128 + the signal's number."""

    ending = "interrupted"

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted; run the same command again to continue")
        self.exit_code = 128 + signal_number


OUTPUT_REASONS: dict[int, str] = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "your disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "files here may not grow this large (ulimit -f); raise the limit and run again",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "you may not write there; change its permissions or choose another folder",
    errno.EPERM: "you may not write there; change its permissions or choose another folder",
    errno.EIO: "the disk reports an input/output error; check it before you run again",
    errno.ENOENT: "the folder disappeared during the run; restore it and run again",
    errno.EEXIST: "there is a file where a folder is needed; move it away and run again",
    errno.ENOTDIR: "there is a file where a folder is needed; move it away and run again",
    errno.EISDIR: "there is a folder where a file is needed; move it away and run again",
    errno.EMFILE: "too many files are open (ulimit -n); raise the limit and run again",
    errno.ENFILE: "too many files are open on this machine; close other programs and run again",
}


def time_is_over() -> TimeLimitReached:
    """The reason to end a run that has lasted as long as it may."""
    return TimeLimitReached(
        "the time limit (--max-duration) is reached; run the same command again to continue"
    )


def output_error(path: object, error: OSError) -> OutputError:
    """The fatal error for an ``OSError`` met while writing ``path``."""
    reason = OUTPUT_REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write {path}: {reason}")


def stdout_error(error: OSError) -> StdoutError:
    """The fatal error for an ``OSError`` met while writing to stdout."""
    if isinstance(error, BrokenPipeError):
        return StdoutError("the program that read stdout has closed it, so hbseg stopped")
    reason = OUTPUT_REASONS.get(error.errno or 0, error.strerror or str(error))
    return StdoutError(f"stdout cannot be written: {reason}")


def no_engine() -> FatalError:
    """The fatal error where neither engine can be used."""
    return FatalError(
        f"no engine: install the embedded one ({how_to_install('local')}), or set HBSEG_API_KEY "
        "and HBSEG_API_SECRET to use the API"
    )


def engine_not_loaded(error: ImportError) -> FatalError:
    """The fatal error where the embedded engine is installed and its library cannot be loaded.

    numpy wraps the loader's own message in a page of advice, so the first cause is shown.
    """
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    return FatalError(
        f"the embedded engine is installed but cannot be loaded: {reason}; allow more memory "
        "(ulimit -v) or reinstall onnxruntime and numpy, or set HBSEG_API_KEY and "
        "HBSEG_API_SECRET to use the API"
    )


@contextlib.contextmanager
def limits_told() -> Iterator[None]:
    """Turn Python's errors for a limit of the system into one sentence.

    Raises:
        FatalError: the system grants no further thread or memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError, ImportError) as error:
        what = _exhausted(error)
        if what is None:
            raise
        raise FatalError(
            f"{what}; raise the limits on memory (ulimit -v) and processes (ulimit -u, a "
            "container's pids limit), or give fewer --threads, and run the same command again"
        ) from error


def _exhausted(error: Exception) -> str | None:
    """What the system does not grant; ``None`` for an exception that tells of a bug.

    CPython raises a bare ``RuntimeError`` where a thread cannot be started, and the dynamic loader
    says "failed to map segment from shared object" where a library finds no room.
    """
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "no more threads can be started"
    if isinstance(error, MemoryError):
        return "there is no memory left"
    if isinstance(error, ImportError) and "failed to map segment" in str(error):
        return f"there is not enough memory left to load a library ({error})"
    return None


def no_soft_edges() -> UsageError:
    """The usage error where soft edges cannot be made."""
    return UsageError(f"--edges soft needs numpy: {how_to_install('soft')}, or use --edges hard")


DISTRIBUTION = "hbseg"
"""The name under which installers know the package."""

_TOOLS = (
    ("pipx_metadata.json", "pipx install --force"),
    ("uv-receipt.toml", "uv tool install --force"),
)
"""The file that an installer of tools leaves in each environment it makes, and its command."""


@functools.cache
def how_to_install(extra: str) -> str:
    """The command that adds an extra to this installation: of pip, pipx or uv, whichever made it.

    Commands of pipx and uv name the extras in use too: these tools drop what is not named.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    tool = next(
        (command for name, command in _TOOLS if os.path.exists(os.path.join(sys.prefix, name))), ""
    )
    extras, source = {extra}, ""
    with contextlib.suppress(PackageNotFoundError):  # a source tree that was not installed
        own = distribution(DISTRIBUTION)
        source = _source(own.read_text("direct_url.json"))
        if tool:
            extras |= _extras_in_use(own)
    return f"{tool or 'pip install'} '{DISTRIBUTION}[{','.join(sorted(extras))}]{source}'"


def _extras_in_use(own: Distribution) -> set[str]:
    """The extras of which everything is installed."""
    from importlib.metadata import PackageNotFoundError, distribution

    lacking = set()
    for requirement in own.requires or ():
        extra = re.search(r"extra == ['\"]([^'\"]+)", requirement)
        name = re.match(r"[\w.-]+", requirement)
        if extra and name:
            try:
                distribution(name[0])
            except PackageNotFoundError:
                lacking.add(extra[1])
    return set(own.metadata.get_all("Provides-Extra", ())) - lacking


def _source(direct_url: str | None) -> str:
    """Where hbseg was installed from, as `` @ URL``; empty for an index.

    The record is PEP 610's. Without it the command would fetch whatever an index has by the name.
    """
    import json

    if direct_url is None:
        return ""
    record = json.loads(direct_url)
    vcs = record.get("vcs_info", {}).get("vcs")
    return f" @ {vcs}+{record['url']}" if vcs else f" @ {record['url']}"
