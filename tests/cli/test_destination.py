"""Whether OUT is a folder, a file or stdout: one rule, and its sentences."""

from __future__ import annotations

import pytest

from humanbody_cli.cli.destination import Destination, destination
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import InputSettings

FOLDERS = {"photos", "old.png", "photos.jpg"}


def where(out: str | None, *inputs: str, from_file: str | None = None) -> Destination:
    """The destination, where `FOLDERS` are the folders that exist."""
    return destination(out, InputSettings(inputs, from_file), FOLDERS.__contains__)


@pytest.mark.parametrize("photo", ["me.jpg", "-", "http://x/me", "https://x/me.heic", "gone.tif"])
@pytest.mark.parametrize("out", ["me.png", "a/b.WEBP", "x.jpg", "x.y.JPEG", "out.old/me.png"])
def test_one_photo_and_a_pictures_name_are_a_file(photo: str, out: str) -> None:
    """A file, an address or stdin, whatever its own suffix."""
    assert where(out, photo) is Destination.FILE


@pytest.mark.parametrize(
    "out", ["out", "out/", "me.png/", "old.png", "photos.jpg", ".png", "me.png.d", "a.png/out"]
)
@pytest.mark.parametrize("inputs", [("me.jpg",), ("a.jpg", "b.jpg"), ("photos",), ("old.png",)])
def test_anything_else_is_a_folder(out: str, inputs: tuple[str, ...]) -> None:
    """A name without a picture's suffix, with a slash behind it, or of a folder that exists."""
    assert where(out, *inputs) is Destination.FOLDER


@pytest.mark.parametrize("inputs", [("a.jpg", "b.jpg"), ("photos",), ("photos.jpg",), ()])
def test_several_photos_do_not_fit_one_file(inputs: tuple[str, ...]) -> None:
    """Two names, a folder, a list: the sentence says which folder to give."""
    listed = None if inputs else "list"
    with pytest.raises(UsageError, match="give a folder, such as -o trip/me"):
        where("trip/me.png", *inputs, from_file=listed)
    with pytest.raises(UsageError, match="--output is missing: give -o FOLDER"):
        where(None, *inputs, from_file=listed)


@pytest.mark.parametrize("out", ["me.tif", "me.heic", "me.GIF", "me.avif"])
def test_a_format_that_is_not_written_is_named(out: str) -> None:
    """No folder me.tif is made for one photo."""
    with pytest.raises(UsageError, match=r"can be a \.png, \.webp or \.jpg file"):
        where(out, "me.jpg")


def test_without_output_only_a_file_has_a_place_for_its_cutout() -> None:
    """What comes through stdin or from an address needs a name."""
    assert where(None, "me.jpg") is Destination.BESIDE
    assert where("-", "photos") is Destination.STDOUT
    for photo in ("-", "http://x/me.jpg"):
        with pytest.raises(UsageError, match=r"give -o me\.png, -o FOLDER, or -o - for stdout"):
            where(None, photo)
