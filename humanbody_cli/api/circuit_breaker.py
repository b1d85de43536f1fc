"""When a server only fails: a budget for retries, and a pause that one call probes.

A server that was never reached is another matter (`FirstContact`): nobody waits long for a name
that was mistyped.

Retries that everyone makes on their own hammer a broken server and pay for nothing. The budget is
one for the run (Google SRE's retry budget, botocore's retry quota): successes earn it, retries
spend it. An empty budget, or a streak of failures with no success between, closes the breaker.
"""

from __future__ import annotations

START = 50.0
"""Retries that a run may make before any success has earned one."""

EARNED = 0.35
"""Retries that a success earns: 20 % of faults need .25 a photo, and bad luck some more."""

STREAK = 12
"""Failures in a row: at one fault in five that happens once in 240 million calls."""

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each probe; after the last failed one the run stops."""


class Breaker:
    """Counts successes and failures of the whole run. Told by the gate, asked by the gate."""

    def __init__(self) -> None:
        self._budget = START
        self._streak = 0
        self._probes = 0

    @property
    def is_closed(self) -> bool:
        """Whether calls go one at a time, as probes."""
        return self._probes > 0

    def success(self) -> None:
        """An answer that shows the server at work."""
        self._streak = 0
        if self._probes:
            self._probes = 0
            self._budget = max(self._budget, START / 2)
        self._budget = min(START, self._budget + EARNED)

    def failure(self) -> float | None:
        """A failure worth a retry: seconds to pause before the next call, 0 for none.

        ``None``: every probe failed, and the run should stop.
        """
        self._streak += 1
        self._budget -= 1
        if not self._probes and self._streak < STREAK and self._budget > 0:
            return 0.0
        if self._probes >= len(PAUSES):
            return None
        pause = PAUSES[self._probes]
        self._probes += 1
        return pause


FIRST_TRIES = 3
"""Connections tried where none has ever come about in this run."""

FIRST_PAUSES = (1.0, 3.0)
"""Seconds before the second and third of them: a network that comes up at boot is waited for."""

FIRST_SECONDS = 5.0
"""Where connecting is slow, the second failure is the last once this time is over: while one
connection times out, the kernel has sent several requests for it."""


class FirstContact:
    """The connections that failed before any came about. Calls go one at a time meanwhile."""

    def __init__(self) -> None:
        self._failures = 0
        self._began = 0.0

    def failure(self, start: float, now: float) -> float | None:
        """A connection begun at ``start`` failed ``now``: seconds to pause; ``None`` to give up."""
        if not self._failures:
            self._began = start
        self._failures += 1
        late = self._failures > 1 and now - self._began >= FIRST_SECONDS
        if late or self._failures >= FIRST_TRIES:
            return None
        return FIRST_PAUSES[self._failures - 1]
