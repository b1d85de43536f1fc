"""docs/server.md: its options and its curl line are the server's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from server_fixture import PORTRAIT, running

from humanbody_cli.cli.commands.segment import segment_command
from humanbody_cli.cli.commands.serve import serve_command

TEXT = (ROOT / "docs" / "server.md").read_text()


def test_every_option_is_described() -> None:
    """Each option of the command is on the page, and the page names no other."""
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    serve = {one for param in serve_command.params for one in param.opts + param.secondary_opts}
    serve -= {"--help", "-h", "--access-log"}
    segment = {one for param in segment_command.params for one in param.opts}
    assert serve - named <= {"--port", "--config", "--profile"}  # the last two are every command's
    assert named <= serve | segment


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_line_makes_a_cutout(tmp_path: Path) -> None:
    """As it is written, with this server's port, and Python in the place of jq where that is not
    installed."""
    (block,) = re.findall(r"^```\n(curl .*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    (tmp_path / "photo.jpg").write_bytes(PORTRAIT)
    with running() as server:
        pair = {"HBSEG_API_KEY": server.key, "HBSEG_API_SECRET": server.secret}
        text = block.replace("http://127.0.0.1:8000", server.endpoint)
        if shutil.which("jq") is None:
            picked = "python3 -c \"import json, sys; print(json.load(sys.stdin)['body_image'])\""
            text = text.replace("jq -r .body_image", picked)
        subprocess.run(["sh", "-ec", text], cwd=tmp_path, env={**os.environ, **pair}, check=True)
    assert (tmp_path / "cutout.png").read_bytes().startswith(b"\x89PNG")
