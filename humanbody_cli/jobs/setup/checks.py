"""Checks of settings that the command and the library share: engine, model, key pair, endpoint.

Messages name options as the command spells them; `jobs.python.wording` turns them into arguments.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT, SEGMENT_PATH
from humanbody_cli.core.console import without_password
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import (
    Credentials,
    LocalSettings,
    People,
    RunSettings,
)
from humanbody_cli.embedded.presets import choose_preset


def checked_endpoint(endpoint: str) -> str:
    """The endpoint, without the API's own path if that was given too.

    Raises:
        UsageError: it is not the address of a host.
    """
    try:
        parts = urlsplit(endpoint)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or "?" in endpoint or "#" in endpoint or any(char.isspace() for char in endpoint):
        shown = without_password(endpoint)
        raise UsageError(f"--endpoint {shown!r} is not an address such as {DEFAULT_ENDPOINT}")
    return endpoint.rstrip("/").removesuffix(SEGMENT_PATH)


def checked_pair(key: str, secret: str, where: str) -> Credentials:
    """A key pair; ``where`` says in the message where it was given.

    Raises:
        UsageError: one of the two cannot be a key or secret.
    """
    for name, text in (("key", key), ("secret", secret)):
        if not text or not text.isascii() or not text.isprintable() or len(text) > 256:
            raise UsageError(
                f"{where}: the {name} is not ASCII text of 1 to 256 characters; copy it again"
            )
    return Credentials(key, secret)


def local_settings(
    model: str | None,
    preset: str | None,
    mean: str | None,
    std: str | None,
    side: int | None,
    crops: bool | None,
    people: People,
    threads: int | None,
) -> LocalSettings:
    """How the embedded engine runs; ``None``: not given.

    Raises:
        UsageError: the model cannot be read, its figures are none, or options contradict each
            other.
    """
    preprocessing = {
        "--preset": preset,
        "--mean": mean,
        "--std": std,
        "--side": side,
        "--crops": crops,
    }
    given = [name for name, value in preprocessing.items() if value is not None]
    if model is not None:
        check_model(model)
        choose_preset(Path(model), preset, mean=mean, std=std, side=side)
    elif given:
        raise UsageError(
            f"{' and '.join(given)} can be used only with a model of your own; add --model "
            f"FILE.onnx, or drop {'it' if len(given) == 1 else 'them'}"
        )
    if model is not None and not crops and people is not People.ALL:
        raise UsageError(
            f"--people {people.value} does not work with --model on the whole picture; add "
            "--crops on, or drop --people"
        )
    path = Path(model) if model is not None else None
    threads = threads or os.cpu_count() or 1
    return LocalSettings(path, preset, mean, std, side, threads, people, bool(crops))


def check_model(path: str) -> None:
    """Check that a model's file can be read.

    Raises:
        UsageError: it cannot.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"--model {path}: cannot be read: {reason}; check the path and its permissions"
        ) from error
    except ValueError:  # a NUL byte
        raise UsageError(f"--model {path!r} is not a file's path; give an .onnx file") from None
    if not os.path.isfile(path):
        raise UsageError(f"--model {path}: this is not a file; give an .onnx file")


def check_people(settings: RunSettings) -> None:
    """Check that the engine can cut out whom the settings ask for.

    Raises:
        UsageError: it cannot.
    """
    people = settings.local.people
    if settings.uses_api and people is not People.ALL:
        raise UsageError(
            f"the API cuts out everyone, so it cannot be used with --people {people.value}; "
            "add --engine local, or drop --people"
        )
