"""Text from a server, made fit for a terminal, a journal and JSON.

What a server sends is shown to people and stored. It is cleaned once, where an answer is parsed, so
that no consumer has to: no control characters (they could move a terminal's cursor or forge lines),
no bidirectional overrides, no lone surrogates (SQLite cannot store them), and a bounded length.
"""

from __future__ import annotations

MAX_CODE = 64
"""Characters of an error code; the longest documented one has 31."""

MAX_ID = 128
"""Characters of a ``request_id`` (47 in the document's samples) or an ``image_id`` (24)."""

MAX_MESSAGE = 200
"""Characters of any other text of a server."""


def printable(text: str, most: int = MAX_MESSAGE) -> str:
    """Text of any language with unprintable characters replaced by ``?`` and ``...`` after
    ``most``."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:most])
    return shown + "..." if len(text) > most else shown


def ascii_only(text: str, most: int) -> str:
    """Printable ASCII, at most ``most`` characters; everything else becomes ``?``."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:most])
