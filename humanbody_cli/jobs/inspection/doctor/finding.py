"""What a check of ``hbseg doctor`` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check ended; ``fail`` is what would stop a run."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"

    @classmethod
    def bad(cls, *, needed: bool) -> Level:
        """The level of something that does not work."""
        return cls.FAIL if needed else cls.WARN


@dataclass(frozen=True)
class Finding:
    """What one check found, and where it is not ``ok``, what to do about it."""

    check: str
    level: Level
    message: str
    advice: str = ""

    def __str__(self) -> str:
        told = f"{self.message}; {self.advice}" if self.advice else self.message
        return f"{self.level.value:<4}  {self.check:<10}  {told}"


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its name."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
