"""What an answer of the API is worth for one photo: its images, proved, or why it is refused.

A run asks this of answers that arrive and of those that were kept, a plan of the latter only: both
come to the same verdict.
"""

from __future__ import annotations

from humanbody_cli.api import responses
from humanbody_cli.imaging import png
from humanbody_cli.imaging.compose import Mask
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.pipeline.engine import Ask, Segmentation

_KEPT_STATUS = 200  # of the answers that are kept: successes only


def kept(body: bytes, upload: Upload, ask: Ask) -> Segmentation | None:
    """What a kept answer says; ``None`` where it does not do for this upload and this wish: it was
    cut short, or is of a run that wished for less. Then a call is needed."""
    answer = understood(_KEPT_STATUS, body, upload, ask)
    return answer if isinstance(answer, Segmentation) else None


def understood(
    status: int, body: bytes, upload: Upload, ask: Ask
) -> Segmentation | responses.Refusal:
    """A sound answer's images, or what is to be done about one that is not."""
    answer = responses.parse(status, body)
    if isinstance(answer, responses.Refusal):
        return answer
    try:
        return _segmentation(answer, upload, ask)
    except ValueError as error:
        return responses.unsound(status, str(error))


def _segmentation(answer: responses.Success, upload: Upload, ask: Ask) -> Segmentation:
    """A sound answer's images, proved to be what the document promises.

    Raises:
        ValueError: an image is missing, damaged or of another size.
    """
    mask = None
    if ask.mask:
        if answer.result is None:
            raise ValueError("result, the mask, is missing")
        mask = Mask.read(answer.result, upload.size)
    cutout = None
    if ask.cutout:
        if answer.body_image is None:
            raise ValueError("body_image, the cutout, is missing")
        cutout = answer.body_image
        head = png.verify(cutout)
        if (head.width, head.height) != upload.size:
            raise ValueError(
                f"the cutout has {head.width} x {head.height} pixels, "
                f"the photo {upload.size[0]} x {upload.size[1]}"
            )
        if not png.has_alpha(head, cutout):
            raise ValueError("body_image has no transparency")
    return Segmentation(
        mask=mask,
        cutout=cutout,
        request_id=answer.request_id,
        image_id=answer.image_id,
        time_used=answer.time_used,
    )
