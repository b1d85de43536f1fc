"""The peers that hbseg is compared with, in an environment of their own. ``make peers``

rembg runs with u2netp, its lightest model. Its weights are taken from where rembg looks for them
($U2NET_HOME); where they are not, a file with the same graph and random weights is made, which is
as fast and as large, and whose cutouts mean nothing. Nothing is downloaded while measuring.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from lab import ROOT

ENVIRONMENT = ROOT / ".venv-peers"
REMBG = ENVIRONMENT / "bin" / "rembg"
PUBLISHED = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
"""SHA-256 of the u2netp.onnx of rembg's own releases."""


def prepare_rembg(folder: Path) -> str:
    """Have rembg use u2netp from here on, in this process's environment; says which weights.

    Raises:
        SystemExit: the peers are not installed.
    """
    if not REMBG.exists():
        raise SystemExit("rembg is not installed: run `make peers` first")
    given = os.environ.get("U2NET_HOME")
    weights = Path(given) / "u2netp.onnx" if given else folder / "u2netp.onnx"
    if not weights.exists():
        script = str(ROOT / "benchmarks" / "u2netp_graph.py")
        subprocess.run([str(ENVIRONMENT / "bin" / "python"), script, str(weights)], check=True)
    os.environ["U2NET_HOME"] = str(weights.parent)
    os.environ["MODEL_CHECKSUM_DISABLED"] = "1"  # the stand-in has another sum
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return "the published weights" if digest == PUBLISHED else "the same graph, random weights"


def versions() -> str:
    """The versions of what is in the environment."""
    python = str(ENVIRONMENT / "bin" / "python")
    script = (
        "from importlib.metadata import version\n"
        "names = 'rembg', 'onnxruntime', 'numpy', 'pillow'\n"
        "print(*(f'{name} {version(name)}' for name in names), sep=', ')"
    )
    told = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    return told.stdout.strip()
