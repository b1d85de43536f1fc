"""Whether results go to a folder, to one file or to stdout."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.inputs import STDIN, is_path
from humanbody_cli.discovery.tree import is_picture

FORMATS = {".png": "png", ".webp": "webp", ".jpg": "jpg", ".jpeg": "jpg"}
"""The formats that cutouts are written in, by suffix."""


class Destination(Enum):
    """Where results go: to OUT as a folder, OUT as a file, a file beside the photo, or stdout."""

    FOLDER = "folder"
    FILE = "file"
    BESIDE = "beside"
    STDOUT = "stdout"


def format_of(out: str) -> str | None:
    """The format that a file's name asks for; ``None`` for a name with another suffix."""
    return FORMATS.get(os.path.splitext(out)[1].lower())


def destination(
    out: str | None, inputs: InputSettings, is_folder: Callable[[str], bool]
) -> Destination:
    """Where the results of these inputs go with ``-o OUT`` (``None``: not given).

    OUT is a file if it has the suffix of a picture, is no folder that exists, and there is exactly
    one photo: a file, an address or stdin.

    Raises:
        UsageError: OUT is missing and needed, or is a picture's name where there may be several.
    """
    name = inputs.inputs[0] if len(inputs.inputs) == 1 and inputs.from_file is None else None
    if name is not None and is_path(name) and is_folder(name):
        name = None
    if out is None:
        return _without_output(name)
    if out == STDIN:
        return Destination.STDOUT
    base = os.path.basename(out)
    if not is_picture(base) or is_folder(out):
        return Destination.FOLDER
    if name is None:
        raise UsageError(
            f"-o {out} is the name of one picture, and there may be several photos; give a folder, "
            f"such as -o {os.path.splitext(out)[0]}"
        )
    if format_of(out) is None:
        raise UsageError(f"-o {out}: a cutout can be a .png, .webp or .jpg file; choose one")
    return Destination.FILE


def check_folder(out: str | None, inputs: InputSettings, is_folder: Callable[[str], bool]) -> None:
    """Check that ``-o OUT`` names a folder, for a command that is about a folder's results.

    Raises:
        UsageError: `segment` would take it for a file, or for stdout.
    """
    if destination(out, inputs, is_folder) is not Destination.FOLDER:
        raise UsageError(f"-o {out} is not a folder, which this command needs; give -o FOLDER")


def _without_output(name: str | None) -> Destination:
    if name is None:
        raise UsageError("--output is missing: give -o FOLDER for the results of several photos")
    if not is_path(name):
        raise UsageError(
            "--output is missing: give -o me.png, -o FOLDER, or -o - for stdout; only the cutout "
            "of a photo's file is named by itself"
        )
    return Destination.BESIDE
