"""A command that sees other mounts than everyone else: a real full or read-only disk."""

from __future__ import annotations

import subprocess

import pytest
from conftest import Ended, Hbseg

CANNOT_MOUNT = 99
"""The exit code with which a script says that it may not mount."""


def in_own_mounts(hbseg: Hbseg, script: str) -> Ended:
    """Run a shell script in a mount namespace of its own; skips where that is not allowed."""
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        cwd=hbseg.cwd,
        env=hbseg.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == CANNOT_MOUNT or "unshare failed" in ended.stderr:
        pytest.skip("needs the right to mount")
    return Ended(ended.returncode, ended.stdout, ended.stderr)
