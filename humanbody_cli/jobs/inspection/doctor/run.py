"""``hbseg doctor``: all checks, one after the other, and what is printed of them.

Nothing is left on disk, no photo is read and no call is made. The API's host alone is contacted,
with a HEAD request without the key.
"""

from __future__ import annotations

import json as _json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from humanbody_cli.core import console
from humanbody_cli.core.errors import FatalError
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.jobs.inspection.doctor import disk, host, machine
from humanbody_cli.jobs.inspection.doctor.finding import Finding, Level


@dataclass(frozen=True)
class Examined:
    """What is examined: the settings of a run; where its key is from; what is wrong with options,
    by the names of checks; whether the host is contacted (``None``: if a run would)."""

    run: RunSettings
    key_from: str = ""
    faults: tuple[Finding, ...] = ()
    network: bool | None = None

    def has_fault(self, check: str) -> bool:
        """Whether an option is wrong, so that this check has nothing to examine."""
        return any(fault.check == check for fault in self.faults)


def doctor(examined: Examined, *, json: bool) -> int:
    """Make all checks and print what they find; the exit code: 4 if something would stop a run.

    Raises:
        StdoutError: stdout cannot be written.
    """
    found = []
    for finding in _findings(examined):
        found.append(finding)
        if not json:
            console.write_line(console.shown(str(finding)))
    is_ok = all(finding.level is not Level.FAIL for finding in found)
    if json:
        checks = [asdict(finding) for finding in found]
        console.write_line(_json.dumps({"ok": is_ok, "checks": checks}))
    return 0 if is_ok else FatalError.exit_code


def _findings(examined: Examined) -> Iterator[Finding]:
    run = examined.run
    yield machine.versions()
    yield from map(machine.extra, machine.EXTRAS)
    yield from examined.faults
    if not examined.has_fault("key"):
        yield _key(examined)
    yield from _host_and_clock(examined)
    yield machine.engine(needed=not run.uses_api and run.local.model is None)
    if run.local.model is not None and not examined.has_fault("model"):
        yield machine.model(run.local, needed=not run.uses_api)
    if run.output.given is not None:
        yield from disk.findings(run.output.given)
    yield machine.text(sys.stdout.encoding, sys.getfilesystemencoding())


def _key(examined: Examined) -> Finding:
    run = examined.run
    if run.api.credentials is not None:
        unused = "" if run.uses_api else ", and not used with these options"
        return Finding("key", Level.OK, f"key and secret are set ({examined.key_from}){unused}")
    if run.uses_api:
        advice = "set HBSEG_API_KEY and HBSEG_API_SECRET, or give --credentials FILE"
        return Finding("key", Level.FAIL, "--engine api needs a key, and none is set", advice)
    return Finding("key", Level.OK, "none is set, so photos stay on this machine")


def _host_and_clock(examined: Examined) -> Iterator[Finding]:
    uses_api, date = examined.run.uses_api, None
    asks = uses_api if examined.network is None else examined.network
    if asks and not examined.has_fault("host"):
        finding, date = host.host(examined.run.api.endpoint, needed=uses_api)
        yield finding
    elif not examined.has_fault("host"):
        why = "--offline" if examined.network is False else "no run would call it"
        yield Finding("host", Level.OK, f"not contacted ({why})")
    yield host.clock(time.time(), date)
