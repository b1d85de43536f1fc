"""Folders to walk, and what is found in them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from humanbody_cli.core.photo import Photo
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.walk import Walk, find


def fill(folder: Path, *names: str) -> Path:
    """Files with these paths below a folder, each with something in it."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 9)
    return folder


def found(*inputs: object, walk: Walk | None = None, **settings: Any) -> list[Photo]:
    """Every photo of these inputs."""
    named = InputSettings(inputs=tuple(map(str, inputs)), **settings)
    return list(find(named, walk or Walk()))


def names_in(*inputs: object, walk: Walk | None = None, **settings: Any) -> list[str]:
    """The output names of every photo of these inputs."""
    return [photo.name for photo in found(*inputs, walk=walk, **settings)]


@contextlib.contextmanager
def common_user() -> Iterator[None]:
    """A user with no special rights, even where pytest runs as root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)
