"""A page's blocks as one session of a shell, as a reader would type them one after the other.

The session has a folder with photos and small models, a home and a key of its own. ``/srv`` and
``/etc`` are below that folder, https://example.com is a server of the test, the API is a fake, and
dots in place of a key are one. Commands that install something are noted and not run; servers and
watchers are in the background once they are ready, as in a second terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import GRACE, KEY, ROOT, SECRET, photo
from models import mean_model
from pages import Block, Page
from server_fixture import site
from waiting import PATIENCE, until

SHELLS = ("", "sh", "bash", "console")
"""Languages of blocks that a shell reads."""

NOTED = ("make", "pip", "pipx", "uv")
"""Commands that are noted and not run: they install something, or are what CI does."""

_HBSEG = """\
#!/bin/sh
case "$1 $*" in
    *--help*) ;;
    serve*|watch*)
        # A reader ends a server before starting the next one.
        for last in {folder}/background/*; do
            test -e "$last/pid" && kill "$(cat "$last/pid")" 2> /dev/null
            while test -e "$last/pid" && ! test -s "$last/code"; do sleep 0.1; done
        done
        here={folder}/background/$$; mkdir -p "$here"; : > "$here/told"
        (
            export HBSEG_VERBOSE=1
            sh -c 'echo $$ > "$0/pid"; exec "$@"' "$here" {python} -m humanbody_cli "$@"
            echo $? > "$here/code"
        ) > "$here/told" 2>&1 < /dev/null &
        until grep -Eq 'http://|: done' "$here/told"; do
            test -e "$here/code" && {{ cat "$here/told" >&2; exit 1; }}
            sleep 0.1
        done
        cat "$here/told"; exit 0 ;;
esac
exec {python} -m humanbody_cli "$@"
"""

_DOCKER = """\
#!{python}
import os, sys
words = sys.argv[1:]
if words[0] != "run":
    sys.exit()
options, inside = words[: words.index("hbseg")], words[words.index("hbseg") + 1 :]
for volume in (value for name, value in zip(options, options[1:]) if name == "-v"):
    here, there = volume.split(":")[:2]
    assert here[0] != "/" or os.path.exists(here), here
    inside = [here if word == there else word for word in inside]
os.execvp("hbseg", ["hbseg", *inside])
"""
"""``docker run`` without Docker: the command on this machine, with the paths of its volumes. What
the image is made of, and that it works as any user on a read-only root, is tested elsewhere."""


@dataclass
class Session:
    """A shell in a folder of its own."""

    folder: Path
    environment: dict[str, str]
    example: str
    port: int

    def prepare(self) -> None:
        """What the pages take for granted."""
        folder = self.folder
        for name in ("bin", "background", "home", "srv", "etc"):
            (folder / name).mkdir()
        python = shlex.quote(sys.executable)
        self._program("hbseg", _HBSEG.format(folder=shlex.quote(str(folder)), python=python))
        self._program("python", f'#!/bin/sh\nexec {python} "$@"\n')
        self._program("browser", "#!/bin/sh\n")
        self._program("docker", _DOCKER.format(python=sys.executable))
        for name in NOTED:
            noted = shlex.quote(str(folder / "noted"))
            self._program(name, f'#!/bin/sh\necho {name} "$@" >> {noted}\n')
        for seed, name in enumerate("bcdefg"):
            photo(folder / "photos" / "a" / f"{name}.jpg", seed=seed)
        shutil.copy(GRACE, folder / "photos" / "grace.jpg")
        for name in ("me.jpg", "photo.jpg"):
            shutil.copy(GRACE, folder / name)
        shutil.copytree(ROOT / "sample_images", folder / "sample_images")
        shutil.copytree(folder / "photos", folder / "srv" / "photos")
        (folder / "last").touch()
        os.utime(folder / "last", (1, 1))
        for name in ("my-model.onnx", "isnet-general-use.onnx"):
            mean_model(folder / name, ["n", 3, "h", "w"], 1)
        for keys in (folder / "etc" / "hbseg.key", folder / "home" / "hbseg.key"):
            keys.write_text(f"api_key={KEY}\napi_secret={SECRET}\n")
            keys.chmod(0o600)
        served = folder / "etc" / "served"
        served.write_text(f"{KEY} {SECRET}\n")
        served.chmod(0o600)

    def _program(self, name: str, text: str) -> None:
        program = self.folder / "bin" / name
        program.write_text(text)
        program.chmod(0o755)

    def typed(self, block: Block) -> str:
        """A block as it is given to the shell."""
        if block.language == "python":
            path = self.folder / f"block{block.line}.py"
            path.write_text(self._moved(block.text))
            return f"python {shlex.quote(str(path))}\n"
        if not block.commands:
            return self._moved(block.text)
        # As on a terminal, the next command comes whatever the exit code of the one before.
        told = [shlex.quote(str(self._told(block, n))) for n in range(len(block.commands))]
        return "".join(
            f"{{ {self._moved(command)}\n}} > {path} 2>&1 || :\n"
            for command, path in zip(block.commands, told, strict=True)
        )

    def _moved(self, text: str) -> str:
        """Commands with their places, addresses and keys replaced."""
        text = re.sub(r"(?<![\w/.$}])/(srv|etc)/", rf"{self.folder}/\1/", text)
        text = text.replace("https://example.com", self.example).replace(":8000", f":{self.port}")
        for name, value in (("KEY", KEY), ("SECRET", SECRET)):
            text = re.sub(rf"(HBSEG_API_{name})=(\.\.\.|your-\w+)", rf"\1={value}", text)
        return text

    def _told(self, block: Block, number: int) -> Path:
        """Where a command of a transcript prints to."""
        return self.folder / "home" / f"{block.line}.{number}"

    def transcript(self, block: Block) -> str:
        """A block with ``$ commands`` as it came out now."""
        return "".join(
            f"$ {command}\n{self._told(block, number).read_text()}"
            for number, command in enumerate(block.commands)
        )

    def run(self, page: Page, blocks: list[Block]) -> None:
        """Type a page's blocks; the first command that fails ends it."""
        at = self.folder / "home" / "at"
        script = "set -e\n" + "".join(
            f"echo {page.name}:{block.line} > {shlex.quote(str(at))}\n{self.typed(block)}\n"
            for block in blocks
        )
        path = os.pathsep.join((str(self.folder / "bin"), self.environment["PATH"]))
        ended = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**self.environment, "PATH": path, "BROWSER": "browser"},
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )
        assert ended.returncode == 0, f"{at.read_text()}{ended.stdout}{ended.stderr}"
        assert "Traceback" not in ended.stderr, ended.stderr

    def noted(self) -> list[str]:
        """The commands that were noted and not run."""
        path = self.folder / "noted"
        return path.read_text().splitlines() if path.exists() else []

    def end(self) -> None:
        """End servers and watchers, which must end well."""
        for place in sorted((self.folder / "background").iterdir()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((place / "pid").read_text()), signal.SIGTERM)
            code_file = place / "code"
            assert until(lambda path=code_file: path.exists() and path.read_text() != "")  # type: ignore[misc]
            code = int(code_file.read_text())
            assert code in (0, 128 + signal.SIGTERM), (place / "told").read_text()


@contextlib.contextmanager
def session(folder: Path, environment: dict[str, str]) -> Iterator[Session]:
    """A session that is ready, and everything that it started ended behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with site({"/me.jpg": GRACE.read_bytes()}) as example:
        more = {"HBSEG_SERVE_PORT": str(port), "HOME": str(folder / "home")}
        more["HBSEG_SERVE_KEYS"] = str(folder / "etc" / "served")
        one = Session(folder, {**environment, **more}, example, port)
        one.prepare()
        try:
            yield one
        finally:
            one.end()
