"""The bar on a terminal, drawn by tqdm; counts, rates and words are hbseg's own.

tqdm would count photos that an earlier run settled as speed, and knows of no total that grows.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from humanbody_cli.jobs.progress.figures import Figures
from humanbody_cli.jobs.progress.words import bar_line

_COLUMNS = 80
"""Columns where the terminal does not tell."""


class Bar:
    """One line at the bottom of the terminal; other lines go above it."""

    def __init__(self) -> None:
        self._tqdm: Any = None

    def paint(self, figures: Figures) -> None:
        """Show these figures."""
        width = _columns() - 1  # a full line would make some terminals scroll
        left, right = bar_line(figures, width)
        bar = self._made()
        bar.ncols = width
        bar.total = max(1, figures.total)
        bar.n = figures.done
        bar.bar_format = f"{_literal(left)} |{{bar}}| {_literal(right)}"
        bar.refresh()

    def write(self, line: str) -> None:
        """A line above the bar."""
        if self._tqdm is None:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - the bar is not there yet
        else:
            self._tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        if self._tqdm is not None:
            self._tqdm.close()
            self._tqdm = None

    def _made(self) -> Any:
        if self._tqdm is None:
            from tqdm import tqdm

            # Its own threads and locks between processes are for what is not done here.
            tqdm.monitor_interval = 0
            tqdm.set_lock(threading.RLock())
            self._tqdm = tqdm(total=1, leave=False, file=sys.stderr, bar_format="{bar}")
        return self._tqdm


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
