"""Segmentation models as ONNX files: one picture in, one mask among the outputs.

The file does not say how colours are normalised: a preset does, or the user.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from humanbody_cli.core.errors import FatalError
from humanbody_cli.embedded.ort import OnnxFile
from humanbody_cli.embedded.presets import Preset

Map = NDArray[np.float32]

SHORT_SIDE, GRID = 512, 32
"""For models that take any size: pixels of the shorter side (MODNet's), and both sides multiples of
32 (such networks halve the picture five times)."""


class OnnxModel(OnnxFile):
    """One ONNX file as a function from a picture to a mask; safe to share between threads."""

    def __init__(self, path: Path, preset: Preset) -> None:
        super().__init__(path)
        self.preset = preset

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size (width, height) at which a picture of `size` enters the model."""
        shape = self.input_shape
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
        batch = np.moveaxis(pixels, 3, 1) if self.channels_first else pixels
        # One picture at a time: many models have a fixed batch size of 1.
        outputs = [self.outputs(batch[k : k + 1]) for k in range(len(batch))]
        return np.stack([self._mask_of(found) for found in outputs])

    def _mask_of(self, outputs: list[Any]) -> Map:
        """The preset's output as [h, w], or else the first with the shape of a mask."""
        for output in (outputs[self.preset.output % len(outputs)], *outputs):
            if (mask := _as_mask(output)) is not None:
                return mask
        shapes = ", ".join(str(getattr(output, "shape", "?")) for output in outputs)
        raise FatalError(
            f"{self.path} gives {shapes}; one mask of N x 1 x H x W is needed; give another --model"
        )

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
