"""What is made of each photo, where it is written, and what is printed."""

from __future__ import annotations

from pathlib import Path

from humanbody_cli.cli.options.declare import FiniteRange, group, one_of, option
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import Edges, Metadata, OutputSettings, Wanted


def _wanted(no_mask: bool, no_cutout: bool, edges: str, fit: bool, metadata: str) -> Wanted:
    if no_mask and no_cutout:
        raise UsageError("--no-mask and --no-cutout together leave nothing to make; drop one")
    return Wanted(not no_mask, not no_cutout, Edges(edges), fit, Metadata(metadata))


def _output(
    output: str, sync: bool | None, force: bool, retry_failed: bool, lock_wait: float
) -> OutputSettings:
    if not output:
        raise UsageError("-o needs the name of a folder")
    return OutputSettings(Path(output), sync, force, retry_failed, lock_wait)


wanted = group(
    "wanted",
    _wanted,
    option("--no-mask", is_flag=True, help="Write no masks (the API then answers faster)."),
    option("--no-cutout", is_flag=True, help="Write no cutouts."),
    one_of(
        "--edges",
        Edges.HARD,
        help="hard: the API's own cutout, cut at 0.5; soft: the confidence as alpha.",
    ),
    option(
        "--fit",
        is_flag=True,
        help="Shrink or convert photos outside the API's limits instead of rejecting them.",
    ),
    one_of(
        "--metadata",
        Metadata.STRIP,
        help="Keep or strip Exif in the cutouts; it may reveal where a photo was taken.",
    ),
)

output = group(
    "output",
    _output,
    option("-o", "--output", required=True, metavar="OUT", help="Output folder; '-' for stdout."),
    option(
        "--sync/--no-sync",
        default=None,
        help="Flush each file to disk before going on.  [default: with the API only]",
    ),
    option("--force", is_flag=True, help="Process every photo again, even if it is done."),
    option("--retry-failed", is_flag=True, help="Try photos again that failed permanently."),
    option(
        "--lock-wait",
        type=FiniteRange(min=0),
        default=0.0,
        metavar="S",
        help="Seconds to wait for another run on OUT to end.",
    ),
)

verbosity = group(
    "verbosity",
    lambda quiet, verbose: -1 if quiet else verbose,
    option(
        "-q",
        "--quiet",
        is_flag=True,
        help="Print only what is new: photos newly rejected or failed, and why a run stopped.",
    ),
    option("-v", "--verbose", count=True, help="Print one line per photo."),
)

as_json = option("--json", "json", is_flag=True, help="Print one JSON object per photo on stdout.")
