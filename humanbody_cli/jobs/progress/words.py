"""Progress in words: the line of the bar, fitted to the terminal, and the plain line. Pure."""

from __future__ import annotations

from humanbody_cli.core.console import counted, duration, shown
from humanbody_cli.jobs.progress.figures import Figures

_NARROWEST = 6
"""Columns of the bar itself below which words are left out instead."""


_STOPPING = "stopping when the photos in progress are done"
"""Calls in flight take up to half a minute, in which Ctrl-C would seem to have done nothing."""


def bar_line(figures: Figures, width: int) -> tuple[str, str]:
    """The words to the left and to the right of a bar, in ``width`` columns.

    What matters most is kept longest: what is done, the time left, then calls/s, photos/s, what
    was left out. Of a run that is to stop, only that.
    """
    left = _counts(figures)
    time, calls, pace = _time_left(figures), _calls(figures), _pace(figures)
    few, by_reason = _left_out(figures, 0), _left_out(figures, 2)
    choices = [
        (pace, calls, time, by_reason),
        (pace, calls, time, few),
        (calls or pace, time, few),
        (time, few),
        (time,),
    ]
    if figures.is_stopping:
        choices = [(_STOPPING,), ("stopping",)]
    for parts in choices:
        right = ", ".join(part for part in parts if part)
        if len(left) + len(right) + _NARROWEST + 4 <= width:
            break
    return left, right


def plain_line(figures: Figures) -> str:
    """The same as a sentence for a log."""
    at_least = "" if figures.is_counted else "at least "
    percent = f" ({_percent(figures)})" if figures.is_counted else ""
    parts = [
        f"{figures.done:,} of {at_least}{counted(figures.total, 'photo')} done{percent}",
        f"{at_least}{figures.left:,} left",
        _pace(figures),
        _calls(figures),
        _STOPPING if figures.is_stopping else _time_left(figures) or "time left unknown",
        _left_out(figures, 4),
    ]
    return ", ".join(part for part in parts if part)


def _counts(figures: Figures) -> str:
    if not figures.is_counted:
        return f"{figures.done:,}/{figures.total:,}+"
    return f"{figures.done:,}/{figures.total:,} {_percent(figures)}"


def _percent(figures: Figures) -> str:
    """Rounded down: 100% is the end."""
    return f"{100 * figures.done // figures.total if figures.total else 0}%"


def _pace(figures: Figures) -> str:
    return f"{_rate(figures.pace)} photos/s" if figures.pace is not None else ""


def _calls(figures: Figures) -> str:
    if figures.calls is None or figures.quota is None:
        return ""
    about = "~" if figures.is_found else ""
    return f"{_rate(figures.calls)} of {about}{figures.quota:.3g} calls/s"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 99.5 else f"{rate:.1f}" if rate >= 0.095 else f"{rate:.2g}"


def _time_left(figures: Figures) -> str:
    seconds = figures.seconds_left
    if seconds is None:
        return ""
    more = "" if figures.is_counted else "+"
    text = f"{max(1, round(seconds))} s" if seconds < 59.5 else duration(seconds)
    return f"{text}{more} left"


def _left_out(figures: Figures, most: int) -> str:
    """``55 left out (42 HEIC, 13 damaged)``, with at most so many reasons; ``55 out`` with none."""
    total = sum(figures.left_out.values())
    if not total or not most:
        return f"{total:,} out" if total else ""
    reasons = [f"{count:,} {shown(why)}" for why, count in figures.left_out.items()]
    others = ["..."] if len(reasons) > most else []
    return f"{total:,} left out ({', '.join(reasons[:most] + others)})"
