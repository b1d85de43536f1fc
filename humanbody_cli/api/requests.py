"""A request of the API as bytes: multipart/form-data with ``image_file``, as the document shows."""

from __future__ import annotations

import os
from dataclasses import dataclass

from humanbody_cli.core.settings import Credentials

_BOUNDARY_LENGTH = 32
_KEY_LENGTH = 32
"""Characters of a key and of a secret as the provider hands them out; a rehearsal without a key
counts with them, so that it accepts exactly the photos that a run with a key accepts."""


@dataclass(frozen=True)
class Multipart:
    """A body ready to send. ``content_type`` names the boundary."""

    body: bytes
    content_type: str


def segment_request(
    credentials: Credentials, image: bytes, *, image_format: str, grayscale: int
) -> Multipart:
    """The request for one photo.

    ``image_format`` is ``JPEG`` or ``PNG``. ``grayscale`` is ``return_grayscale``: 0 cutout only,
    1 both, 2 mask only. The photo's own file name is not sent: it is nobody's business.
    """
    boundary = os.urandom(_BOUNDARY_LENGTH // 2).hex()
    return Multipart(
        body=_body(credentials, image, image_format, grayscale, boundary),
        content_type=f"multipart/form-data; boundary={boundary}",
    )


def request_size(image_size: int, credentials: Credentials | None = None) -> int:
    """Bytes of the whole body for a photo of ``image_size`` bytes."""
    pair = credentials or Credentials("", "")
    padded = Credentials(
        pair.api_key.ljust(_KEY_LENGTH, "x"), pair.api_secret.ljust(_KEY_LENGTH, "x")
    )
    return image_size + len(_body(padded, b"", "JPEG", 1, "x" * _BOUNDARY_LENGTH))


def _body(
    credentials: Credentials, image: bytes, image_format: str, grayscale: int, boundary: str
) -> bytes:
    # Text fields first: hand-written servers that stop reading at a bad key save the upload.
    fields = (
        ("api_key", credentials.api_key),
        ("api_secret", credentials.api_secret),
        ("return_grayscale", str(grayscale)),
    )
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    )
    kind = "jpeg" if image_format == "JPEG" else "png"
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image_file"; '
        f'filename="image.{kind}"\r\nContent-Type: image/{kind}\r\n\r\n'
    )
    return b"".join((head.encode(), image, f"\r\n--{boundary}--\r\n".encode()))
