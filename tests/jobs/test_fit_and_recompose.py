"""Photos as people have them: large, lying, profiled, in other formats; and new cutouts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import GRACE, ROOT, Hbseg, photo
from fake_api import FakeApi
from making import saved
from PIL import Image, ImageCms

SAMPLES = ROOT / "sample_images"
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Exif orientation -> how upright pixels are turned to be stored so."""


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


@pytest.fixture
def grace() -> Image.Image:
    """A portrait, upright."""
    with Image.open(GRACE) as image:
        return image.convert("RGB")


def test_all_eight_orientations_agree(hbseg: Hbseg, grace: Image.Image, tmp_path: Path) -> None:
    """Mask, cutout and photo stand upright whatever the Exif orientation, and show the same."""
    folder = tmp_path / "photos"
    folder.mkdir()
    grace.save(folder / "1.png")
    for orientation, turn in _UPRIGHT.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        grace.transpose(turn).save(folder / f"{orientation}.png", exif=exif)
    ended = hbseg("segment", folder, "-o", "out", "--json")
    assert ended.code == 0, ended.err
    upright = _pixels(tmp_path / "out/cutouts/1.png")
    for orientation in _UPRIGHT:
        turned = _pixels(tmp_path / f"out/cutouts/{orientation}.png")
        assert turned.shape == upright.shape
        assert np.array_equal(turned, upright), orientation
    assert all((r["width"], r["height"]) == grace.size for r in ended.records)


def test_a_profile_travels_into_the_cutout(
    paid: Hbseg, grace: Image.Image, api: FakeApi, tmp_path: Path
) -> None:
    """The ICC profile is carried; but for its chunk the API's own bytes stay as they are."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (tmp_path / "photos").mkdir()
    grace.save(tmp_path / "photos/with.jpg", icc_profile=profile)
    grace.save(tmp_path / "photos/without.jpg", quality=90)
    ended = paid("segment", "photos", "-o", "out", "--endpoint", api.url, "--qps", 50)
    assert ended.code == 0, ended.err
    with Image.open(tmp_path / "out/cutouts/with.png") as cutout:
        assert cutout.info["icc_profile"] == profile
    with Image.open(tmp_path / "out/cutouts/without.png") as cutout:
        assert "icc_profile" not in cutout.info


def test_location_is_dropped_unless_kept(hbseg: Hbseg, grace: Image.Image, tmp_path: Path) -> None:
    """Exif stays out of the cutout by default, and goes along with ``--metadata keep``."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 1
    (tmp_path / "photos").mkdir()
    grace.save(tmp_path / "photos/a.jpg", exif=exif)
    assert hbseg("segment", "photos", "-o", "out").code == 0
    with Image.open(tmp_path / "out/cutouts/a.png") as cutout:
        assert not cutout.getexif()
    assert hbseg("segment", "photos", "-o", "out", "--metadata", "keep").code == 0
    with Image.open(tmp_path / "out/cutouts/a.png") as cutout:
        assert cutout.getexif()[0x010F] == "Maker"


def test_a_photos_own_transparency_stays(hbseg: Hbseg, grace: Image.Image, tmp_path: Path) -> None:
    """What was transparent in the photo is transparent in its cutout."""
    alpha = Image.new("L", grace.size, 255)
    alpha.paste(0, (0, 300, 512, 600))
    (tmp_path / "photos").mkdir()
    Image.merge("RGBA", (*grace.split(), alpha)).save(tmp_path / "photos/a.png")
    assert hbseg("segment", "photos", "-o", "out").code == 0
    cutout = _pixels(tmp_path / "out/cutouts/a.png")
    assert cutout[300:, :, 3].max() == 0
    assert cutout[:300, :, 3].max() == 255


@pytest.mark.parametrize("name", ["a.webp", "a.tif", "a.bmp", "a.gif", "a.avif", "a.heic"])
def test_other_formats_are_converted(
    paid: Hbseg, grace: Image.Image, api: FakeApi, tmp_path: Path, name: str
) -> None:
    """Rejected with a hint without ``--fit``, done with it, at the photo's own size."""
    if name.endswith("heic"):
        pytest.importorskip("pillow_heif").register_heif_opener()
    (tmp_path / "photos").mkdir()
    grace.save(tmp_path / "photos" / name)
    arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url, "--qps", 50, "--json")
    rejected = paid(*arguments)
    assert rejected.code == 3
    assert "--fit" in rejected.records[0]["message"]
    done = paid(*arguments, "--fit")
    assert done.code == 0, done.err
    assert _pixels(tmp_path / "out/cutouts/a.png").shape == (600, 512, 4)


@pytest.mark.parametrize("fit", [(), ("--fit",)])
def test_odd_files_are_passed_and_the_good_one_is_done(
    hbseg: Hbseg, grace: Image.Image, tmp_path: Path, fit: tuple[str, ...]
) -> None:
    """Files whose decoders raise what they like cost no other photo: exit 3 and no traceback."""
    folder = tmp_path / "photos"
    folder.mkdir()
    avif = saved(grace, "AVIF", quality=40, speed=9)
    (folder / "avif.jpg").write_bytes(avif[: len(avif) // 2])
    (folder / "b.avif").write_bytes(avif[:60] + bytes(80) + avif[140:])
    (folder / "c.avif").write_bytes(avif[:-9000] + bytes(9000))
    (folder / "tiny.jpg").write_bytes(saved(grace.resize((7, 5)), "JPEG"))
    (folder / "z.jpg").write_bytes(GRACE.read_bytes())
    for _ in range(2):
        ended = hbseg("segment", "photos", "-o", "out", "--json", *fit)
        assert ended.code == 3, ended.err
        assert "Traceback" not in ended.err
        assert (tmp_path / "out/cutouts/z.png").exists()
        assert (tmp_path / "out/cutouts/tiny.png").exists() is bool(fit)


def test_a_large_photo_comes_back_at_full_size(
    paid: Hbseg, grace: Image.Image, api: FakeApi, tmp_path: Path
) -> None:
    """The mask is brought back to the photo's size; the cutout has the photo's own pixels."""
    large = grace.resize((4608, 5400), Image.Resampling.BICUBIC)
    (tmp_path / "photos").mkdir()
    large.save(tmp_path / "photos/a.jpg", quality=92)
    arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url, "--json")
    assert paid(*arguments).records[0]["code"] == "INVALID_IMAGE_SIZE"
    ended = paid(*arguments, "--fit")
    assert ended.code == 0, ended.err
    mask, cutout = _pixels(tmp_path / "out/masks/a.png"), _pixels(tmp_path / "out/cutouts/a.png")
    assert mask.shape == (5400, 4608)
    shown = cutout[..., 3] == 255
    assert np.array_equal(shown, mask > 127)
    own = _pixels(tmp_path / "photos/a.jpg")
    assert np.array_equal(cutout[shown][:, :3], own[shown])


def test_recompose_needs_no_call_and_no_key(hbseg: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """Crop, background, size and format from the masks that are there, found from any folder."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(GRACE.read_bytes())
    assert hbseg("segment", "photos", "-o", "out").code == 0
    (tmp_path / "elsewhere").mkdir()
    away = Hbseg(tmp_path / "elsewhere")
    options = ("--crop", "--background", "#102030", "--size", "200", "--format", "jpg")
    ended = away("recompose", tmp_path / "out", *options, "--into", "shop", "--json")
    assert ended.code == 0, ended.err
    made = _pixels(tmp_path / "elsewhere/shop/a.jpg")
    assert max(made.shape[:2]) == 200
    assert np.abs(made[0, 0] - (0x10, 0x20, 0x30)).max() < 6
    assert not api.stats.calls


def test_soft_over_its_own_photo_is_the_photo_again(
    hbseg: Hbseg, grace: Image.Image, tmp_path: Path
) -> None:
    """Where alpha is 1 the pixels are the photo's own; nothing is coloured under alpha 0."""
    (tmp_path / "photos").mkdir()
    grace.save(tmp_path / "photos/a.png")
    assert hbseg("segment", "photos", "-o", "out", "--edges", "soft").code == 0
    cutout = _pixels(tmp_path / "out/cutouts/a.png")
    alpha = cutout[..., 3]
    assert np.array_equal(alpha, _pixels(tmp_path / "out/masks/a.png"))
    assert np.count_nonzero((alpha > 0) & (alpha < 255)) > 0
    own = np.asarray(grace).astype(int)
    assert np.array_equal(cutout[alpha == 255][:, :3], own[alpha == 255])
    assert not cutout[alpha == 0].any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--background", "nocolour"), "--background 'nocolour'"),
        (("--size", "0"), "--size"),
        (("--format", "tiff"), "--format"),
    ],
)
def test_recompose_explains_wrong_options(
    hbseg: Hbseg, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    """One sentence, exit 2."""
    ended = hbseg("recompose", "out", *options)
    assert ended.code == 2
    assert says in ended.err and "Traceback" not in ended.err


def test_recompose_tells_of_photos_that_changed(hbseg: Hbseg, tmp_path: Path) -> None:
    """A mask is never put on another photo: exit 3, and the photo is named."""
    path = photo(tmp_path / "photos/a.jpg")
    path.write_bytes(GRACE.read_bytes())
    assert hbseg("segment", "photos", "-o", "out").code == 0
    photo(path)
    ended = hbseg("recompose", "out", "--edges", "hard", "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["code"] == "SOURCE_CHANGED"


def test_stdin_and_addresses_are_photos_too(paid: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """A photo from stdin has its outputs; an address that cannot be fetched is a reject."""
    buffer = io.BytesIO(photo(tmp_path / "a.jpg").read_bytes())
    arguments = ("-o", "out", "--endpoint", api.url, "--qps", 50, "--json")
    ended = paid("segment", "-", *arguments, stdin=buffer.getvalue())
    assert ended.code == 0, ended.err
    assert (tmp_path / "out/cutouts/stdin.png").exists()
    ended = paid("segment", "http://127.0.0.1:9/me.jpg", *arguments)
    assert ended.code == 3
    assert ended.records[0]["code"] == "INVALID_IMAGE_URL"
