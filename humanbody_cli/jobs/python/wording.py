"""Errors in a library's words: options are arguments, and the photo is named."""

from __future__ import annotations

import copy
import re
from typing import TypeVar

from humanbody_cli.core.errors import HbsegError, PhotoError

_RULES = (
    (re.compile(r"--crops on"), "crops=True"),
    (re.compile(r"--(edges|people) (\w+)"), r'\1="\2"'),
    (re.compile(r"--fit\b"), "fit=True"),
    (re.compile(r"add --engine local, or"), "leave out api, or"),
    (re.compile(r"--([a-z]+(?:-[a-z]+)*)"), lambda found: found[1].replace("-", "_")),
    (re.compile(r"\bHBSEG_([A-Z_]+)"), lambda found: found[1].lower()),
    (re.compile(r"run the same command again to continue"), "open another Segmenter to continue"),
    (re.compile(r"run (?:the same command )?again"), "try again"),
)
"""From the command's words to the library's; the rules come in this order."""

E = TypeVar("E", bound=HbsegError)


def _reworded_text(text: str) -> str:
    """A message for the caller of a function in place of the user of the command."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def reworded(error: E, label: str | None = None) -> E:
    """A new error with this one's meaning, in the library's words; ``label`` names the photo.

    It is new because one error may end the work of several callers.
    """
    fresh, text = copy.copy(error), _reworded_text(str(error))
    if isinstance(fresh, PhotoError):
        text = fresh.message = text if label is None else f"{label}: {text}"
    fresh.args = (text,)
    return fresh
