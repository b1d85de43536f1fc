"""What is made of a segmentation: figures of odd cutouts, and failures that are one photo's."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import pytest
from making import chunks_of, jpeg, noise, png, png_from
from PIL import Image

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.settings import Edges, Wanted
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import cutouts, png_writer
from humanbody_cli.imaging import png_check as structure
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import configure_pillow, read_header
from humanbody_cli.imaging.uploads import prepare
from humanbody_cli.pipeline import photo_steps
from humanbody_cli.pipeline.engine import Segmentation
from humanbody_cli.pipeline.photo_steps import ClientSteps

SIZE = (64, 48)
MASK = Image.radial_gradient("L").resize(SIZE)


@pytest.fixture(autouse=True)
def _pillow() -> None:
    configure_pillow()


def cutout() -> bytes:
    """An API's cutout."""
    return cutouts.hard_cutout(noise(SIZE), MASK).png()


def with_chunk(data: bytes, kind: bytes, payload: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    head, *others = chunks_of(data)
    return png_from([head, (kind, payload), *others])


ODD = {
    "cHRM": b"\0" * 7,
    "gAMA": b"\0",
    "pHYs": b"\0\0\0\1",
    "sRGB": b"",
    "zTXt": b"a\0\0" + zlib.compress(bytes(3_000_000)),
    "iTXt": b"a\0\1\0\0\0" + zlib.compress(bytes(3_000_000)),
    "iCCP": b"a\0\0" + zlib.compress(bytes(3_000_000)),
    "eXIf": b"nothing",
    "acTL": b"\0",
    "fcTL": b"\0",
    "tIME": b"",
}
"""Chunks beside the pixels that Pillow refuses a file for, or might."""


def steps(wanted: Wanted) -> ClientSteps:
    """The steps of a run over the API."""
    return ClientSteps(wanted, Rules(), "api")


def made(found: Segmentation, wanted: Wanted) -> photo_steps.Results:
    """Results for a plain photo."""
    picture = read_header(jpeg(noise(SIZE)))
    return steps(wanted).make(picture, prepare(picture, fit=False), found)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_chunk_of_a_paid_cutout_costs_nothing(kind: str) -> None:
    """With --no-mask a cutout that is sound is published byte for byte, with its figures, whatever
    Pillow thinks of the chunks beside its pixels."""
    data = with_chunk(cutout(), kind.encode(), ODD[kind])
    structure.verify(data)
    found = made(Segmentation(None, data), Wanted(mask=False))
    assert found.cutout == data
    assert found.coverage == Mask(MASK).coverage()


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_chunk_of_a_paid_mask_costs_nothing(kind: str) -> None:
    """A gray mask is read and kept byte for byte, whatever stands beside its pixels."""
    data = with_chunk(png(MASK), kind.encode(), ODD[kind])
    mask = Mask.read(data, SIZE)
    assert mask.png == data
    assert mask.image.tobytes() == MASK.tobytes()


def test_a_cutout_of_unknown_figures_has_none() -> None:
    """What is sound by its structure and refused by Pillow is published without figures."""
    head, pixels, end = chunks_of(png(noise(SIZE)))
    data = png_from([head, (b"tRNS", b"\0"), pixels, end])
    structure.verify(data)
    found = made(Segmentation(None, data), Wanted(mask=False))
    assert found.cutout == data
    assert found.coverage is None
    assert found.doubt is None


def test_a_second_header_in_an_answer_is_never_believed() -> None:
    """A cutout that claims another size further on is not decoded at that size."""
    huge = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    data = with_chunk(cutout(), b"IHDR", huge)
    assert made(Segmentation(None, data), Wanted(mask=False)).coverage == Mask(MASK).coverage()
    mask = with_chunk(png(MASK), b"IHDR", huge)
    assert Mask.read(mask, SIZE).image.size == SIZE


class FailingMask(Mask):
    """A mask that cannot be encoded."""

    def __init__(self, error: Exception) -> None:
        super().__init__(MASK)
        self.error = error

    @cached_property
    def png(self) -> bytes:
        raise self.error


@pytest.mark.parametrize("edges", Edges)
def test_whatever_goes_wrong_in_composing_is_one_photos_failure(edges: Edges) -> None:
    """It was sent, so it failed and is not rejected; its calls are counted."""

    mask = FailingMask(ZeroDivisionError("float division"))
    with pytest.raises(PhotoError, match="cannot be composed: float division") as caught:
        made(Segmentation(mask, attempts=2), Wanted(edges=edges))
    assert caught.value.code == api_spec.NOT_COMPOSED
    assert not caught.value.rejected
    assert caught.value.attempts == 2


def test_too_little_memory_for_composing_may_be_tried_again() -> None:
    """The paid answer is not lost: a later run may have the memory."""

    with pytest.raises(PhotoError, match="memory") as caught:
        made(Segmentation(FailingMask(MemoryError()), attempts=1), Wanted())
    assert caught.value.transient
    assert not caught.value.rejected


def test_pixels_found_damaged_after_the_call_are_no_rejection() -> None:
    """A photo that was paid for counts as failed, with its attempts, and not as never sent."""
    picture = read_header(jpeg(noise(SIZE))[:-300])
    upload = prepare(picture, fit=False)
    with pytest.raises(PhotoError, match="damaged") as caught:
        ClientSteps(Wanted(), Rules(), "api").make(
            picture, upload, Segmentation(Mask(MASK), attempts=1)
        )
    assert not caught.value.rejected
    assert caught.value.attempts == 1


def _cutout(wanted: Wanted, data: bytes, mask: Mask, *, fresh: bool) -> bytes | None:
    """A cutout by the way that a fresh answer takes, or by that from a published mask."""
    picture = read_header(data)
    if fresh:
        upload = prepare(picture, fit=wanted.fit)
        picture.forget_pixels()
        return steps(wanted).make(picture, upload, Segmentation(mask)).cutout
    picture.pixels()
    return photo_steps.cutout_of(wanted, picture, mask)


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("edges", Edges)
@pytest.mark.parametrize("kind", ["png", "jpeg", "png-16", "pixels"])
def test_a_cutouts_bytes_do_not_tell_how_it_came_about(
    kind: str, edges: Edges, orientation: int, fit: bool
) -> None:
    """From an answer's mask in any form, or from the mask that was published of it, in any thread:
    the same photo, mask and options give the same bytes."""
    size = (4200, 60) if fit else SIZE
    data = jpeg(noise(size), orientation=orientation)
    wanted = Wanted(edges=edges, fit=fit)
    small = prepare(read_header(data), fit=fit).size
    mask = Image.radial_gradient("L").resize(small)
    answers: dict[str, Callable[[], Mask]] = {
        "png": lambda: Mask.read(png(mask), small),
        "jpeg": lambda: Mask.read(jpeg(mask), small),
        "png-16": lambda: Mask.read(png(mask.convert("I;16")), small),
        "pixels": lambda: Mask(mask),
    }
    answer = answers[kind]
    picture = read_header(data)
    first = steps(wanted).make(picture, prepare(picture, fit=fit), Segmentation(answer()))
    published = Mask.read(first.mask or b"", picture.size)
    with ThreadPoolExecutor(4) as pool:
        ways = [pool.submit(_cutout, wanted, data, answer(), fresh=True) for _ in range(3)]
        ways += [pool.submit(_cutout, wanted, data, published, fresh=False) for _ in range(3)]
        assert {way.result() for way in ways} == {first.cutout}


def test_an_import_that_fails_while_composing_chooses_no_other_encoder() -> None:
    """The encoder is chosen by what is installed, and by nothing that happens to one photo."""

    def rows(area: png_writer.Area) -> bytes:
        raise ImportError("something else")

    pytest.importorskip("numpy")
    with pytest.raises(ImportError, match="something else"):
        png_writer.encode_rows((8, 8), "L", rows)
