"""Where a report goes: its page, the folder of its thumbnails, and its way to the results."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from humanbody_cli.core.errors import OutputError, UsageError, output_error
from humanbody_cli.storage import ownership
from humanbody_cli.storage.layout import RECOMPOSED_MARK

SEAL = "report"
"""The kind of seal that pages bear."""

_PAGE = "report.html"
_SUFFIXES = (".html", ".htm")
_REMEDY = "move it away, or give another place with -o FILE"


@dataclass(frozen=True)
class Place:
    """``page`` is the HTML file, ``files`` the folder of thumbnails beside it, ``root`` the output
    folder that the page is about."""

    page: str
    files: str
    root: str

    @property
    def folder(self) -> str:
        """The folder that holds the page."""
        return os.path.dirname(self.page) or "."

    def from_page(self, path: str) -> str:
        """A path as the page names it in a link."""
        return os.path.relpath(os.path.realpath(path), os.path.realpath(self.folder))


def place_of(root: str, file: str | None) -> Place:
    """The place of a report about ``root``: in it, or at ``file``. Nothing is written.

    Raises:
        UsageError: a page cannot be at ``file``.
        OutputError: something that hbseg did not write is in the way.
    """
    page = os.path.join(root, _PAGE) if file is None else file
    stem, suffix = os.path.splitext(page)
    if suffix.lower() not in _SUFFIXES:
        raise UsageError(f"-o {file}: browsers need a name that ends in .html; choose such a name")
    if (guarded := ownership.results_folder_above(page, root)) is not None:
        raise UsageError(
            f"-o {file}: only hbseg segment writes to {guarded}; choose another folder"
        )
    if file is not None and not os.path.isdir(os.path.dirname(file) or "."):
        raise UsageError(
            f"-o {file}: there is no folder {os.path.dirname(file)}; make it, or check the path"
        )
    check_page(page)
    place = Place(page, f"{stem}-files", root)
    _check_files(place.files)
    return place


def check_page(page: str) -> None:
    """Check that nothing but an earlier page is at a page's name.

    Raises:
        OutputError: something is.
    """
    if os.path.isdir(page):
        raise OutputError(f"cannot write {page}: there is a folder of this name; {_REMEDY}")
    ownership.check_replaceable(page, SEAL, _REMEDY)


def _check_files(folder: str) -> None:
    """Check that a folder is hbseg's or new: its mark would hide photos in it from a walk."""
    status = ownership.seen(folder)
    if status is None:
        return
    if stat.S_ISDIR(status.st_mode):
        try:
            if os.path.lexists(os.path.join(folder, RECOMPOSED_MARK)) or not os.listdir(folder):
                return
        except OSError as error:
            raise output_error(folder, error) from error
    raise OutputError(f"cannot write {folder}: hbseg did not make what is there; {_REMEDY}")
