"""The circuit breaker: a shared retry budget, and a pause when the server only fails.

If every call retries on its own, a broken server is hammered for nothing. The budget is therefore
shared by the whole run (as in Google SRE's retry budget and botocore's retry quota): successes earn
retries, failures spend them. An empty budget, or a streak of failures with no success in between,
opens the breaker. While it is open, calls wait for a pause and then go one at a time, as probes; a
successful probe closes it again.

`FirstContact` handles the case where no connection has ever been made, for example because the
host name is mistyped: the run then ends sooner.
"""

from __future__ import annotations

START = 50.0
"""Retries that a run may make before any success has earned one."""

EARNED = 0.35
"""Retries earned by one success: 20 % of faults need .25 per photo, and bad luck some more."""

STREAK = 12
"""Failures in a row: at one fault in five that happens once in 240 million calls."""

PROBE_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each probe; when the last one has failed, the run stops."""


class CircuitBreaker:
    """Counts the successes and failures of the whole run; the gate reports them and obeys."""

    def __init__(self) -> None:
        self._budget = START
        self._streak = 0
        self._probes = 0  # made or scheduled since the breaker opened; 0 while it is closed

    def success(self) -> None:
        """An answer that shows the server at work: an open breaker closes."""
        self._streak = 0
        if self._probes:
            self._probes = 0
            self._budget = max(self._budget, START / 2)
        self._budget = min(START, self._budget + EARNED)

    def failure(self) -> float | None:
        """A failure worth a retry: seconds to pause before the next call.

        0 while the breaker stays closed; ``None`` when every probe failed and the run should stop.
        """
        self._streak += 1
        self._budget -= 1
        if not self._probes and self._streak < STREAK and self._budget > 0:
            return 0.0
        if self._probes >= len(PROBE_PAUSES):
            return None
        pause = PROBE_PAUSES[self._probes]
        self._probes += 1
        return pause


FIRST_TRIES = 3
"""Connections tried where none has been made yet in this run."""

UNREACHED_PAUSES = (1.0, 3.0)
"""Seconds before the second and third of them: enough for a network that comes up at boot."""

FIRST_SECONDS = 5.0
"""Where connecting is slow, the second failure is the last one after this many seconds: while one
connection times out, the kernel has sent several requests for it."""


class FirstContact:
    """Counts the connections that failed before any was made; calls go one at a time until then."""

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
        return UNREACHED_PAUSES[self._failures - 1]
