"""What stops a run, or one photo of it: folders, disks, streams, servers, keys, pictures."""

from __future__ import annotations

from every_error.case import Case

_TO = "-o new --qps 300 --endpoint"


def _stops(line: str, *says: str, code: int = 4, **how: object) -> Case:
    return Case(line, code, says, **how)  # type: ignore[arg-type] # the fields of a case


FOLDERS = [
    _stops("segment photos -o file.txt/x", "file.txt", "move it away"),
    _stops("segment photos -o file.txt", "file.txt", "move it away"),
    _stops("segment photos -o readonly --force", "readonly", "permissions", unprivileged=True),
    _stops("segment photos -o locked/new", "locked/new", "permissions", unprivileged=True),
    _stops("segment me.jpg -o locked/me.png", "locked/me.png", "permissions", unprivileged=True),
    _stops("segment me.jpg -o file.txt/me.png", "file.txt", "move it away"),
    _stops("segment me.jpg -o theirs.png", "theirs.png", "move it away"),
    _stops("segment photos -o blocked", "blocked", "move it away"),
    _stops("segment photos -o newer", "newer", "update hbseg"),
    _stops("status newer", "newer", "update hbseg"),
    _stops("status damaged", "damaged", "run `hbseg segment`"),
    _stops("report damaged", "damaged", "run `hbseg segment`"),
    _stops("recompose damaged", "damaged", "run `hbseg segment`"),
    _stops("status stopped", "stopped", "run it again"),
    _stops("segment photos -o held", "held", "--lock-wait", code=6),
    _stops("segment me.jpg -o held.png", "held.png", "--lock-wait", code=6),
    _stops("report foreign", "foreign/report.html", "-o FILE"),
    _stops("report readonly", "readonly", "-o FILE", unprivileged=True),
    _stops("report out -o typo/x.html", "typo", "check", code=2),
    _stops("report out -o out/masks/x.html", "out/masks", "choose", code=2),
    _stops("report out -o folder.html", "folder.html", "-o FILE"),
    _stops("recompose out --into {world}/photos", "photos", "choose", code=2),
    _stops("recompose out --into out/cutouts/x", "out/cutouts", "choose", code=2),
    _stops("recompose out --into file.txt", "file.txt", "--into"),
    _stops("recompose out --into locked/x", "locked/x", "--into", unprivileged=True),
    _stops("recompose lost", "lost/masks", "run hbseg segment", code=3),
    _stops("doctor --offline -o locked/x", "locked", unprivileged=True),
]

LIMITS = [
    _stops("segment photos -o new", "free space", limits={"RLIMIT_FSIZE": 20_000}),
    _stops("status out --json", "stdout", "free", stdout="/dev/full"),
    _stops("status out --json", "stdout", stdout="broken"),
    _stops("segment me.jpg -o -", "stdout", "free", stdout="/dev/full"),
    _stops("segment me.jpg -o -", "stdout", stdout="broken"),
    _stops("segment photos -o new --json", "stdout", stdout="broken"),
]

MODELS = [
    _stops("segment me.jpg --model broken.onnx", "broken.onnx", "check --model"),
    _stops("segment me.jpg --model two.onnx", "two.onnx", "one input"),
    _stops("segment me.jpg --model flat.onnx", "flat.onnx", "N x 3"),
    _stops("segment me.jpg --model wide.onnx", "wide.onnx", "one mask"),
    _stops("segment me.jpg --model photos", "photos", "give an .onnx", code=2),
]

CALLS = [
    _stops(f"segment photos {_TO} {{wrongkey}}", "key", "check", keyed=True),
    _stops(f"segment photos {_TO} {{forbidden}}", "key", "check", keyed=True),
    _stops(f"segment photos {_TO} {{empty}}", "balance", "top it up", keyed=True),
    _stops(f"segment photos {_TO} {{elsewhere}}", "--endpoint", "check", keyed=True),
    _stops(f"segment photos {_TO} {{page}}", "photos/a.jpg", keyed=True, code=3),
    _stops(f"segment photos {_TO} {{arguments}}", "report", keyed=True),
    _stops(f"segment photos {_TO} {{tls}}", "https://", keyed=True),
    _stops(f"segment photos {_TO} http://127.0.0.1:1", "127.0.0.1:1", "check --endpoint",
           keyed=True),
    _stops(f"segment photos {_TO} {{selfsigned}}", "SSL_CERT_FILE", "check", keyed=True),
    _stops(f"segment photos {_TO} {{selfsigned}}", "SSL_CERT_FILE", "gone.pem", "fix or unset",
           keyed=True, env={"SSL_CERT_FILE": "gone.pem"}),
    _stops(f"segment photos {_TO} {{api}}", "HTTP_PROXY", "fix or unset", keyed=True,
           env={"ALL_PROXY": "nonsense://x"}),
    _stops(f"segment photos {_TO} {{api}} --max-calls 0", "--max-calls", "run", keyed=True, code=5),
    _stops(f"segment photos {_TO} {{broken}} --retries 0", "photos/a.jpg", keyed=True, code=3),
    _stops(f"segment photos {_TO} {{refusing}}", "photos/a.jpg", keyed=True, code=3),
    _stops("doctor --network --endpoint http://127.0.0.1:1", "host", keyed=True),
]  # fmt: skip

PHOTOS = [
    ("bad/tiny.png", ("48 to 4096", "--fit")),
    ("bad/wide.png", ("48 to 4096", "--fit")),
    ("bad/cut.jpg", ("replace the file",)),
    ("bad/heavy.jpg", ("bytes", "--fit")),
    ("bad/vast.jpg", ("bytes",)),
    ("bad/text.jpg", ("replace",)),
    ("bad/empty.jpg", ("empty",)),
    ("bad/page.jpg", ("page",)),
    ("bad/me.heic", ("HEIC",)),
    ("bad/me.webp", ("--fit",)),
    ("bad/me.gif", ("--fit",)),
    ("bad/me.svg", ("replace",)),
    ("bad/bomb.png", ("pixels",)),
    ("pipe.jpg", ("file",)),
    ("bad/dangling.jpg", ("file",)),
]


def _photo_cases() -> list[Case]:
    found = []
    for name, says in PHOTOS:
        found.append(_stops(f"check {name}", name, *says, code=3))
    found.append(_stops("segment bad/cut.jpg -o new", "bad/cut.jpg", "replace the file", code=3))
    fitted = ("bad/bomb.png", "bad/text.jpg", "bad/cut.jpg", "bad/me.heic")
    found += [_stops(f"check {name} --fit", name, code=3) for name in fitted]
    found.append(_stops("check secret", "secret/me.jpg", "check", code=3, unprivileged=True))
    found.append(_stops("segment {api}/me.jpg -o new", "me.jpg", "check", code=3))
    found.append(_stops("segment http://127.0.0.1:1/me.jpg -o new", "me.jpg", "check", code=3))
    return found


def cases() -> list[Case]:
    """All of them."""
    return FOLDERS + LIMITS + MODELS + CALLS + _photo_cases()
