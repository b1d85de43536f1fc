"""Models as files: the bundled one, and small ones written here byte by byte."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from models import mean_model, write_model
from PIL import Image

from humanbody_cli.core.errors import FatalError, UsageError
from humanbody_cli.core.settings import LocalSettings
from humanbody_cli.embedded import segmenters
from humanbody_cli.embedded.onnx_model import OnnxModel
from humanbody_cli.embedded.presets import PRESETS, choose_preset, guess_preset

SAMPLE = Path(__file__).resolve().parents[2] / "sample_images" / "portraits" / "astronaut.png"


def half_and_half() -> Image.Image:
    """Black on the left, white on the right."""
    photo = Image.new("RGB", (90, 60))
    photo.paste((255, 255, 255), (45, 0, 90, 60))
    return photo


@pytest.mark.parametrize(("shape", "axis"), [([1, 3, 32, 64], 1), ([1, 32, 64, 3], 3)])
def test_both_layouts_are_recognised(tmp_path: Path, shape: list[int], axis: int) -> None:
    """Channels first or last, the same picture gives the same mask, at the photo's size."""
    model = OnnxModel(mean_model(tmp_path / "m.onnx", shape, axis), PRESETS["selfie"])
    assert model.channels_first == (axis == 1)
    assert model.input_size((90, 60)) == (64, 32)
    mask = model.mask(half_and_half())
    assert mask.mode == "L"
    assert mask.size == (90, 60)
    assert mask.getpixel((5, 30)) == 0
    assert mask.getpixel((85, 30)) == 255


@pytest.mark.parametrize(
    ("name", "size"),
    [("modnet", (768, 512)), ("u2net", (320, 320)), ("birefnet", (1024, 1024))],
)
def test_a_free_size_is_the_presets(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    """Where the model takes any size, the preset chooses: MODNet's in multiples of 32."""
    path = mean_model(tmp_path / "m.onnx", ["n", 3, "h", "w"], 1)
    assert OnnxModel(path, PRESETS[name]).input_size((900, 600)) == size


def test_colours_are_normalised_as_the_preset_says(tmp_path: Path) -> None:
    """A white picture reaches a (x - .5) / .5 model as 1, a black one as -1."""
    path = mean_model(tmp_path / "modnet.onnx", ["n", 3, "h", "w"], 1)
    model = OnnxModel(path, choose_preset(path, mean="0.75", std="0.5,0.5,0.5"))
    assert set(model.mask(Image.new("RGB", (64, 64), "white")).get_flattened_data()) == {128}
    assert set(model.mask(Image.new("RGB", (64, 64), "black")).get_flattened_data()) == {0}


def test_a_stretched_output_uses_the_whole_range(tmp_path: Path) -> None:
    """A min-max preset stretches a faint mask to 0..255, and leaves a flat one flat."""
    path = mean_model(tmp_path / "u2net.onnx", ["n", 3, "h", "w"], 1)
    model = OnnxModel(path, PRESETS["u2net"])
    assert model.mask(half_and_half()).getextrema() == (0, 255)
    flat = model.mask(Image.new("RGB", (50, 50), "black"))
    assert flat.getextrema() == (0, 0)


def test_a_sigmoid_is_applied_to_logits(tmp_path: Path) -> None:
    """A logit of 0 is a confidence of one half."""
    path = mean_model(tmp_path / "birefnet.onnx", [1, 3, 16, 16], 1)
    model = OnnxModel(path, choose_preset(path, mean="0", std="1"))
    assert set(model.mask(Image.new("RGB", (20, 20), "black")).get_flattened_data()) == {128}


@pytest.mark.parametrize(
    ("file", "preset"),
    [
        ("isnet-general-use.onnx", "isnet"),
        ("u2netp.onnx", "u2netp"),
        ("U2NET_human_seg.onnx", "u2net"),
        ("modnet_photographic.onnx", "modnet"),
        ("BiRefNet-portrait-epoch_150.onnx", "birefnet"),
        ("selfie_segmentation.onnx", "selfie"),
        ("mine.onnx", "u2net"),
    ],
)
def test_the_preset_is_guessed_from_the_file_name(file: str, preset: str) -> None:
    """Names as their authors publish them lead to the right preset."""
    assert guess_preset(Path(file)).name == preset


@pytest.mark.parametrize(
    "options",
    [
        {"name": "nonsense"},
        {"mean": "1,2"},
        {"mean": "a,b,c"},
        {"mean": "nan"},
        {"std": "0,1,1"},
        {"side": 0},
    ],
)
def test_wrong_options_are_usage_errors(options: dict[str, int] | dict[str, str]) -> None:
    """A preset or figures that make no sense are the user's to mend."""
    with pytest.raises(UsageError):
        choose_preset(Path("m.onnx"), **options)


def test_a_missing_file_stops_the_run(tmp_path: Path) -> None:
    """The message names the file that is not there."""
    with pytest.raises(FatalError, match=r"gone\.onnx"):
        segmenters.segmenter(LocalSettings(model=tmp_path / "gone.onnx"))


@pytest.mark.parametrize("data", [b"", b"not a model at all", b"\x08\x06"])
def test_a_file_that_is_no_model_stops_the_run(tmp_path: Path, data: bytes) -> None:
    """Whatever the bytes, one clear error names the file."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(data)
    with pytest.raises(FatalError, match=r"broken\.onnx"):
        segmenters.segmenter(LocalSettings(model=path))


def test_a_model_with_two_inputs_stops_the_run(tmp_path: Path) -> None:
    """One picture goes in; a model that wants more is refused."""
    shape = [1, 3, 8, 8]
    path = write_model(
        tmp_path / "two.onnx",
        [("a", shape), ("b", shape)],
        [("Add", ["a", "b"], "y", {})],
        [("y", shape)],
    )
    with pytest.raises(FatalError, match="2 inputs"):
        segmenters.segmenter(LocalSettings(model=path))


def test_a_model_that_takes_no_picture_stops_the_run(tmp_path: Path) -> None:
    """An input without three channels is no picture."""
    shape = [1, 4, 8, 8]
    path = write_model(
        tmp_path / "m.onnx", [("x", shape)], [("Relu", ["x"], "y", {})], [("y", shape)]
    )
    with pytest.raises(FatalError, match="N x 3 x H x W"):
        segmenters.segmenter(LocalSettings(model=path))


def test_a_model_without_a_mask_stops_the_run(tmp_path: Path) -> None:
    """An output of three channels is no mask."""
    shape = [1, 3, 8, 8]
    path = write_model(
        tmp_path / "m.onnx", [("x", shape)], [("Relu", ["x"], "y", {})], [("y", shape)]
    )
    segment = segmenters.segmenter(LocalSettings(model=path))
    with pytest.raises(FatalError, match="one mask"):
        segment(half_and_half())


def test_the_mask_is_found_among_other_outputs(tmp_path: Path) -> None:
    """Where the preset's output is no mask, the first that is one is taken."""
    path = write_model(
        tmp_path / "m.onnx",
        [("x", [1, 3, 8, 8])],
        [("Relu", ["x"], "a", {}), ("ReduceMean", ["x"], "b", {"axes": [1]})],
        [("a", [1, 3, 8, 8]), ("b", [1, 1, 8, 8])],
    )
    mask = OnnxModel(path, PRESETS["selfie"]).mask(half_and_half())
    assert mask.getextrema() == (0, 255)


def test_the_bundled_model_cuts_out_a_portrait() -> None:
    """With no settings the embedded engine finds the astronaut, and tells its doubt."""
    mask, doubt = segmenters.segmenter(LocalSettings())(Image.open(SAMPLE))
    assert mask.size == (512, 512)
    assert mask.getpixel((225, 130)) == 255
    assert mask.getpixel((450, 20)) == 0
    assert doubt is not None
    assert 0 <= doubt < 0.2


def test_a_users_model_leaves_doubt_to_its_mask(tmp_path: Path) -> None:
    """A user's own model answers with a mask and no doubt of its own."""
    path = mean_model(tmp_path / "m.onnx", ["n", 3, "h", "w"], 1)
    settings = LocalSettings(model=path, preset="modnet", side=64)
    mask, doubt = segmenters.segmenter(settings)(half_and_half())
    assert mask.size == (90, 60)
    assert doubt is None


def test_threads_share_one_session() -> None:
    """However many threads ask first, the session is made once and answers them alike."""
    model = segmenters.bundled()
    barrier = threading.Barrier(4)
    view = np.full((1, 256, 256, 3), 0.5, np.float32)

    def ask(_: int) -> tuple[int, bytes]:
        barrier.wait(10)
        return id(model.session), model.run(view).tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
