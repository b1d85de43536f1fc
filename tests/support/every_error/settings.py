"""Settings files, files with key pairs and variables that are wrong."""

from __future__ import annotations

from every_error.case import Case, usage

_FILES: dict[str, tuple[str, ...]] = {
    "wrong.toml": ("qps", "'fast'", "correct it there"),
    "broken.toml": ("line 1", "not TOML", "write"),
    "number.toml": ("too long",),
    "deep.toml": ("too long",),
    "digits.toml": ("threads", "digits"),
    "slip.toml": ("max_calls", "did you mean max-calls?"),
    "other.toml": ("zzzzzz", "hbseg config"),
    "type.toml": ("quiet", "true or false"),
    "both.toml": ("no-sync and sync", "remove one"),
    "table.toml": ("segment", "[profile.NAME]"),
    "place.toml": ("port", "move it there"),
    "place2.toml": ("retries", "move it there"),
    "profile.toml": ("profile", "must be a table"),
    "profiles.toml": ("qps", "[profile.qps]"),
    "default.toml": ("default-profile", "in quotes"),
    "nul.toml": ("name", "NUL", "remove it"),
    "edge.toml": ("--no-mask is set by", "drop one"),
    "latin.toml": ("line 2", "UTF-8", "save"),
    "/dev/zero": ("1 MiB",),
    "photos": ("cannot be read", "check"),
}

_PAIRS: dict[str, tuple[str, ...]] = {
    "half.env": ("api_secret", "missing", "needs"),
    "quote.env": ("line 1", "write"),
    "number.json": ("api_key", "in quotes"),
    "broken.json": ("line 1", "not JSON", "write"),
    "deep.json": ("not JSON with a key pair", "write"),
    "accent.env": ("key", "copy it again"),
    "bytes.env": ("cannot be read", "check"),
    "large.env": ("too large",),
    "photos": ("cannot be read", "check"),
    "empty.txt": ("missing", "needs"),
}


def cases() -> list[Case]:
    """All of them."""
    segment = "segment photos -o new"
    home = {"HBSEG_CONFIG": "pair.toml"}
    return [
        *(usage(f"{segment} --config {file}", file, *says) for file, says in _FILES.items()),
        *(usage(f"{segment} --credentials {file}", file, *says) for file, says in _PAIRS.items()),
        usage(f"{segment} --config locked.txt", "locked.txt", "check", unprivileged=True),
        usage(f"{segment} --credentials locked.txt", "locked.txt", "check", unprivileged=True),
        usage(f"{segment} --config night.toml --profile nigth", "nigth", "did you mean night?"),
        usage(f"{segment} --profile night", "--profile night", "hbseg config --init"),
        usage(segment, "HBSEG_PROFILE night", "hbseg config", env={"HBSEG_PROFILE": "night"}),
        usage(segment, "HBSEG_CONFIG gone", "check", env={"HBSEG_CONFIG": "gone"}),
        usage(segment, "HBSEG_QPS", "'z'", "correct it there", env={"HBSEG_QPS": "z"}),
        usage(segment, "HBSEG_FIT", "'perhaps'", "correct", env={"HBSEG_FIT": "perhaps"}),
        usage(segment, "HBSEG_API_SECRET", "set", env={"HBSEG_API_KEY": "k"}),
        usage(segment, "HBSEG_API_KEY", "set", env={"HBSEG_API_SECRET": "s"}),
        usage(segment, "pair.toml", "set both", env={**home, "HBSEG_API_KEY": "other"}),
        Case(f"{segment} --engine api", 4, ("--engine api", "HBSEG_API_KEY", "--credentials")),
        Case("doctor --offline --engine api", 4, ("--engine api", "set HBSEG_API_KEY")),
    ]
