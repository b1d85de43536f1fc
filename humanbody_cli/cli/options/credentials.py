"""The API's key pair, from the environment or from a file.

The secret is not an option: a command line is visible to every user of the machine (``ps``).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import Credentials, readable_by_others


def key_pair(api_key: str | None, path: str | None) -> Credentials | None:
    """The configured key pair, ``None`` if there is none; the file ``path`` comes first.

    Raises:
        UsageError: only half of a pair is given, or the file cannot be used.
    """
    if path is not None:
        return _from_file(Path(path))
    key = (api_key or "").strip()
    secret = os.environ.get("HBSEG_API_SECRET", "").strip()
    if not key and not secret:
        return None
    if not secret:
        raise UsageError("an API key is given without its secret: set HBSEG_API_SECRET too")
    if not key:
        raise UsageError("HBSEG_API_SECRET is set without a key: set HBSEG_API_KEY too")
    return _checked(key, secret, "HBSEG_API_KEY and HBSEG_API_SECRET")


def _from_file(path: Path) -> Credentials:
    try:
        text = path.read_text("utf-8")
        open_to_others = readable_by_others(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            f"--credentials {path}: cannot be read: {reason}; check the path and its permissions, "
            "and that it is a text file with api_key=... and api_secret=..."
        ) from None
    if open_to_others:
        click.echo(f"hbseg: {path} can be read by others; run chmod 600 {path}", err=True)
    try:
        fields = json.loads(text) if text.lstrip().startswith("{") else _pairs(text)
        key, secret = str(fields["api_key"]).strip(), str(fields["api_secret"]).strip()
    except (ValueError, KeyError):
        # The message does not quote the file: it contains a secret.
        raise UsageError(
            f"--credentials {path}: needs api_key=... and api_secret=..., one per line, or JSON"
        ) from None
    return _checked(key, secret, f"--credentials {path}")


def _checked(key: str, secret: str, where: str) -> Credentials:
    for text in (key, secret):
        if not text or not text.isascii() or not text.isprintable() or len(text) > 256:
            raise UsageError(f"{where}: key and secret must be ASCII text, at most 256 characters")
    return Credentials(key, secret)


def _pairs(text: str) -> dict[str, str]:
    words = [word for word in text.split() if "=" in word]
    return dict(word.split("=", 1) for word in words)
