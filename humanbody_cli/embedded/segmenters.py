"""Segmenters: what makes a mask of a photo, as the settings ask for it.

The bundled models, or a model of the user's own: on the whole picture, or on the crops around the
people that the bundled detector finds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image, ImageChops

from humanbody_cli.core.settings import LocalSettings, People
from humanbody_cli.embedded.finding import finder
from humanbody_cli.embedded.finding.matte import to_mask
from humanbody_cli.embedded.onnx_model import OnnxModel
from humanbody_cli.embedded.ort import OnnxFile
from humanbody_cli.embedded.presets import PRESETS, choose_preset

MaskMaker = Callable[[Image.Image], tuple[Image.Image, float | None]]
"""Upright RGB pixels -> mask (mode L, same size) and doubt (0 to 1; ``None``: take the mask's own).

Safe to call from several threads at a time.
"""

MODELS = Path(__file__).parent / "models"
SEGMENTATION, DETECTOR = MODELS / "selfie_segmentation.onnx", MODELS / "nanodet_g_416_int8.onnx"


def bundled() -> OnnxModel:
    """The bundled segmentation model."""
    return OnnxModel(SEGMENTATION, PRESETS["selfie"])


def bundled_models() -> finder.Models:
    """The bundled segmentation model and detector, loaded.

    Raises:
        FatalError: one of the files cannot be used.
    """
    model, detector = bundled(), OnnxFile(DETECTOR)
    _ = model.session, detector.session
    return finder.Models(model.run, detector.outputs)


def segmenter(settings: LocalSettings) -> MaskMaker:
    """The segmenter that the settings ask for. Loads its models: a bad one stops a run at once.

    Raises:
        UsageError: an unknown preset or bad figures.
        FatalError: a model cannot be used.
    """
    if (path := settings.model) is None:
        return partial(_segment, bundled_models(), settings.people)
    figures = {"mean": settings.mean, "std": settings.std}
    preset = choose_preset(path, settings.preset, side=settings.side, **figures)
    model = OnnxModel(path, preset)
    _ = model.session
    if settings.crops:
        return partial(_segment_crops, bundled_models(), settings.people, model)
    return partial(_segment_whole, model)


def _segment(
    models: finder.Models, who: People, photo: Image.Image
) -> tuple[Image.Image, float | None]:
    matte = finder.find_people(models, photo, who)
    return to_mask(matte, photo.size), matte.doubt


def _segment_whole(model: OnnxModel, photo: Image.Image) -> tuple[Image.Image, float | None]:
    return model.mask(photo), None


def _segment_crops(
    models: finder.Models, who: People, model: OnnxModel, photo: Image.Image
) -> tuple[Image.Image, float | None]:
    """The model's masks of the crops around people; where crops overlap, the higher confidence."""
    mask = Image.new("L", photo.size)
    for box in finder.crops_of_groups(models, photo, who):
        left, top, right, bottom = (round(edge) for edge in box)
        edges = left, top, max(right, left + 1), max(bottom, top + 1)
        found = model.mask(photo.crop(edges))
        mask.paste(ImageChops.lighter(found, mask.crop(edges)), edges)
    return mask, None
