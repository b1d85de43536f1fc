"""ONNX models: the bundled one with multi-crop inference, or a user's own on the whole picture.

A model is an ONNX file with one picture input, N x 3 x H x W or N x H x W x 3, and a mask among its
outputs. The file does not say how colours are normalised: a preset does, or the user.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from humanbody_cli.core.errors import FatalError, UsageError
from humanbody_cli.core.settings import LocalSettings
from humanbody_cli.embedded import multi_crop
from humanbody_cli.embedded.ort import onnxruntime

Map = NDArray[np.float32]
Triple = tuple[float, float, float]
Segment = Callable[[Image.Image], tuple[Image.Image, float | None]]

BUNDLED = Path(__file__).parent / "models" / "selfie_segmentation.onnx"


@dataclass(frozen=True)
class Preset:
    """Preprocessing and postprocessing for a kind of model.

    The picture is scaled to 0..1 (by 255, or `by_maximum` by its own brightest value), then
    (value - mean) / std. `side` is the side of the model's square input in pixels, None if it takes
    any size. `activation` is applied to the output: a sigmoid, a stretch over its own range, or
    nothing. `output` is the mask's index among the outputs, from the end if negative.
    """

    name: str
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    by_maximum: bool = False
    side: int | None = None
    activation: Literal["none", "sigmoid", "minmax"] = "none"
    output: int = 0


_ZERO, _HALF, _ONE = (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)

PRESETS = {
    preset.name: preset
    for preset in (
        # MediaPipe Selfie Segmentation: RGB 0..1, the sigmoid inside (its model card).
        Preset("selfie", mean=_ZERO, std=_ONE, side=256),
        # xuebinqin/U-2-Net, data_loader.py (ToTensorLab) and u2net_test.py (normPRED).
        Preset("u2net", by_maximum=True, side=320, activation="minmax"),
        Preset("u2netp", by_maximum=True, side=320, activation="minmax"),
        # xuebinqin/DIS, Inference.py: normalize(image / 255, .5, 1), then the same stretch.
        Preset("isnet", mean=_HALF, std=_ONE, side=1024, activation="minmax"),
        # ZHKKKe/MODNet, onnx/inference_onnx.py: (x - 127.5) / 127.5, sides multiples of 32.
        Preset("modnet", mean=_HALF, std=_HALF),
        # ZhengPeng7/BiRefNet, its README: ImageNet's normalisation; the last output, as logits.
        Preset("birefnet", side=1024, activation="sigmoid", output=-1),
    )
}

SHORT_SIDE, GRID = 512, 32
"""For models that take any size: pixels of the shorter side (MODNet's), and both sides multiples of
32 (such networks halve the picture five times)."""


def guess_preset(path: Path) -> Preset:
    """The preset whose name is part of the file's name; otherwise u2net, the most common kind."""
    name = path.name.lower().replace("-", "").replace("_", "")
    found = [preset for key, preset in PRESETS.items() if key in name]
    return max(found, key=lambda preset: len(preset.name), default=PRESETS["u2net"])


def choose_preset(
    path: Path,
    name: str | None = None,
    *,
    mean: str | None = None,
    std: str | None = None,
    side: int | None = None,
) -> Preset:
    """The named preset, or one guessed from the file's name, with the user's own figures.

    Raises:
        UsageError: an unknown preset, or figures that are not numbers in range.
    """
    if name is not None and name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    preset = PRESETS[name] if name is not None else guess_preset(path)
    if side is not None and side < 1:
        raise UsageError(f"the model's size must be at least 1 pixel, not {side}")
    chosen = replace(
        preset,
        mean=preset.mean if mean is None else _triple(mean, "mean"),
        std=preset.std if std is None else _triple(std, "std"),
        side=preset.side if side is None else side,
    )
    if 0 in chosen.std:
        raise UsageError("the model's std must not contain 0: colours are divided by it")
    return chosen


def _triple(text: str, what: str) -> Triple:
    """Three figures from "0.485,0.456,0.406", or one for all three channels."""
    try:
        figures = [float(part) for part in text.split(",")]
    except ValueError:
        figures = []
    if len(figures) == 1:
        figures *= 3
    if len(figures) != 3 or not np.isfinite(figures).all():
        raise UsageError(
            f"the model's {what} must be three numbers such as 0.485,0.456,0.406, not {text!r}"
        )
    return figures[0], figures[1], figures[2]


class OnnxModel:
    """One ONNX file as a function from a picture to a mask; safe to share between threads.

    The session is created once, when first needed.
    """

    def __init__(self, path: Path, preset: Preset) -> None:
        self.path = path
        self.preset = preset
        self._lock = threading.Lock()

    @cached_property
    def _opened(self) -> Any:
        if not self.path.is_file():
            raise FatalError(f"there is no model file {self.path}; check --model")
        try:
            session = onnxruntime.InferenceSession(
                str(self.path), _options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no other base class
            raise FatalError(
                f"{self.path} is not a model that can be run: {_first(error)}"
            ) from None
        self._check_input(session)
        return session

    @property
    def session(self) -> Any:
        """The onnxruntime session.

        Raises:
            FatalError: the file is missing, or is not a model with one picture input.
        """
        with self._lock:
            return self._opened

    def _check_input(self, session: Any) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise FatalError(
                f"{self.path} has {len(inputs)} inputs; a model with one input is needed"
            )
        shape = inputs[0].shape
        if inputs[0].type not in _FLOATS or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise FatalError(
                f"{self.path} takes {inputs[0].type} {shape}; an image input of "
                "N x 3 x H x W or N x H x W x 3 is needed"
            )

    @property
    def channels_first(self) -> bool:
        """Whether the input is N x 3 x H x W, rather than N x H x W x 3."""
        return bool(self.session.get_inputs()[0].shape[1] == 3)

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size (width, height) at which a picture of `size` enters the model."""
        shape = self.session.get_inputs()[0].shape
        height, width = shape[2:4] if self.channels_first else shape[1:3]
        across, down = self._free_size(size)
        return width if isinstance(width, int) else across, height if isinstance(
            height, int
        ) else down

    def _free_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size (width, height) to use where the model leaves it open."""
        if self.preset.side is not None:
            return self.preset.side, self.preset.side
        scale = SHORT_SIDE / min(size)
        # At most four times as long as wide, so that a panorama does not exhaust the memory.
        width, height = (min(side * scale, 4 * SHORT_SIDE) for side in size)
        return max(GRID, round(width / GRID) * GRID), max(GRID, round(height / GRID) * GRID)

    def run(self, pixels: Map) -> Map:
        """Raw masks [n, h, w] for normalised pixels [n, h, w, 3].

        Raises:
            FatalError: no output has the shape of a mask, or the model fails.
        """
        session = self.session
        name, kind = session.get_inputs()[0].name, session.get_inputs()[0].type
        batch = np.moveaxis(pixels, 3, 1) if self.channels_first else pixels
        batch = np.ascontiguousarray(batch, _FLOATS[kind])
        try:
            # One picture at a time: many models have a fixed batch size of 1.
            outputs = [session.run(None, {name: batch[k : k + 1]}) for k in range(len(batch))]
        except Exception as error:  # noqa: BLE001 - as above
            raise FatalError(f"{self.path} failed on a picture: {_first(error)}") from None
        return np.stack([self._mask_of(found) for found in outputs])

    def _mask_of(self, outputs: list[Any]) -> Map:
        """The preset's output as [h, w], or else the first with the shape of a mask."""
        for output in (outputs[self.preset.output % len(outputs)], *outputs):
            if (mask := _as_mask(output)) is not None:
                return mask
        shapes = ", ".join(str(getattr(output, "shape", "?")) for output in outputs)
        raise FatalError(f"{self.path} gives {shapes}; one mask of N x 1 x H x W is needed")

    def mask(self, photo: Image.Image) -> Image.Image:
        """The mask (mode L, V = confidence * 255) of a whole RGB photo, resized to the input."""
        resized = photo.resize(self.input_size(photo.size), Resampling.BICUBIC)
        raw = self.run(self._normalised(resized)[np.newaxis])[0]
        confidence = Image.fromarray(_activated(raw, self.preset.activation))
        enlarged = np.asarray(confidence.resize(photo.size, Resampling.BICUBIC))
        return Image.fromarray(np.rint(np.clip(enlarged, 0, 1) * 255).astype(np.uint8))

    def _normalised(self, photo: Image.Image) -> Map:
        pixels = np.asarray(photo, np.float32)
        brightest = max(float(pixels.max()), 1.0) if self.preset.by_maximum else 255.0
        mean, std = np.array(self.preset.mean), np.array(self.preset.std)
        return np.asarray((pixels / brightest - mean) / std, np.float32)


_FLOATS: dict[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    # Photos are spread over the cores, one per thread: each inference stays on one.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    return options


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _as_mask(output: Any) -> Map | None:
    """An output of one channel as [h, w], whichever of its axes have length 1."""
    if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
        return None
    mask = output.squeeze()
    return mask.astype(np.float32) if mask.ndim == 2 else None


def _activated(raw: Map, activation: str) -> Map:
    """Confidence 0..1 from a raw output [h, w]."""
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(raw, -60, 60))), np.float32)
    if activation == "minmax":
        low, high = float(raw.min()), float(raw.max())
        # An output without contrast found nothing: stretching its noise would invent someone.
        return (raw - low) / (high - low) if high - low > 1e-3 else np.clip(raw, 0, 1)
    return raw


def bundled() -> OnnxModel:
    """The bundled model."""
    return OnnxModel(BUNDLED, PRESETS["selfie"])


def bundled_segmenter(model: OnnxModel) -> Segment:
    """The bundled model with multi-crop inference."""

    def segment(photo: Image.Image) -> tuple[Image.Image, float | None]:
        matte = multi_crop.find_people(model.run, photo.convert("RGB"))
        return multi_crop.to_mask(matte, photo.size), matte.doubt

    return segment


def whole_picture_segmenter(model: OnnxModel) -> Segment:
    """Any other model, on the whole picture at once; its doubt is taken from the mask."""
    return lambda photo: (model.mask(photo.convert("RGB")), None)


def segmenter(settings: LocalSettings) -> Segment:
    """The segmenter that the settings ask for. Loads its model: a bad one stops a run at once.

    Raises:
        UsageError: an unknown preset or bad figures.
        FatalError: the model cannot be used.
    """
    make, model = bundled_segmenter, bundled()
    if (path := settings.model) is not None:
        figures = {"mean": settings.mean, "std": settings.std}
        preset = choose_preset(path, settings.preset, side=settings.side, **figures)
        make, model = whole_picture_segmenter, OnnxModel(path, preset)
    _ = model.session
    return make(model)
