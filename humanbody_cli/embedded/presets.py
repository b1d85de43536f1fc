"""How the pictures that enter a model of the user's own are normalised, and its output read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from humanbody_cli.core.errors import UsageError

Triple = tuple[float, float, float]


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
        raise UsageError(f"--preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    preset = PRESETS[name] if name is not None else guess_preset(path)
    if side is not None and side < 1:
        raise UsageError(f"--side must be at least 1 pixel, not {side}")
    chosen = replace(
        preset,
        mean=preset.mean if mean is None else _triple(mean, "mean"),
        std=preset.std if std is None else _triple(std, "std"),
        side=preset.side if side is None else side,
    )
    if 0 in chosen.std:
        raise UsageError("--std must not contain 0, by which colours would be divided")
    return chosen


def _triple(text: str, what: str) -> Triple:
    """Three figures from "0.485,0.456,0.406", or one for all three channels."""
    try:
        figures = [float(part) for part in text.split(",")]
    except ValueError:
        figures = []
    if len(figures) == 1:
        figures *= 3
    if len(figures) != 3 or not all(map(math.isfinite, figures)):
        raise UsageError(f"--{what} must be three numbers such as 0.485,0.456,0.406, not {text!r}")
    return figures[0], figures[1], figures[2]
