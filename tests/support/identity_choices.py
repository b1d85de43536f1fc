"""What the random runs of `identity_harness` choose from."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

FOLDERS = ("", "sub", "sub/deep", "photos", "A", "a")
NAMES = ("a.jpg", "a.png", "b.jpg", "B.jpg", "b.JPG", "e\u0301.jpg", "\u00e9.jpg", "a.jpg.jpg")
CONTENTS = 14
INPUTS: tuple[tuple[str, ...], ...] = (
    ("photos",),
    ("photos", "photos/sub"),
    ("photos/sub", "photos"),
    ("photos/sub",),
    ("photos/a.jpg", "photos"),
    ("photos", "photos/a.jpg", "photos/./a.jpg"),
    ("photos/sub/../a.jpg", "photos"),
    ("link/../a.jpg", "photos"),
    ("other", "photos"),
    ("other",),
)
OPTIONS: tuple[tuple[str, ...], ...] = (
    (),
    (),
    ("--edges", "soft"),
    ("--no-mask",),
    ("--no-cutout",),
    ("--fit",),
    ("--metadata", "keep"),
    ("--no-mask", "--edges", "soft"),
)


@dataclass
class Invocation:
    """One command line, and what it reads from stdin."""

    inputs: tuple[str, ...]
    options: tuple[str, ...]
    server: int
    stdin: bytes = b""

    @property
    def is_soft(self) -> bool:
        return "soft" in self.options

    def is_unwanted(self, aside: str) -> bool:
        """Whether a file was set aside of a kind that this run did not want: it stays for one that
        does. Its name is ``sha256.kind.png``."""
        return f"--no-{aside.split('.')[1][:-1]}" in self.options


def content_of(number: int) -> bytes:
    """A photo with a size of its own."""
    image = Image.effect_noise((64 + 3 * number, 56 + number), 60).convert("RGB")
    file = io.BytesIO()
    image.save(file, "PNG" if number % 3 == 0 else "JPEG")
    return file.getvalue()
