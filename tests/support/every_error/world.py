"""The folder in which each command of the table runs: photos, results, files of each wrong kind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path

from conftest import photo
from models import Shape, mean_model, write_model
from PIL import Image

PNG_HEADER = b"\x89PNG\r\n\x1a\n"


def build(world: Path) -> None:
    """Everything but the output folders, which a run has to make."""
    photo(world / "me.jpg", seed=1)
    photo(world / "photos" / "a.jpg", seed=2)
    _pictures(world)
    _texts(world)
    _models(world)
    (world / "empty").mkdir()
    (world / "locked").mkdir()
    (world / "locked.txt").write_text("not for you\n")
    os.mkfifo(world / "pipe.jpg")


def _pictures(world: Path) -> None:
    bad = world / "bad"
    for name, size in (("tiny", (47, 80)), ("wide", (4097, 48))):
        path = bad / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", size).save(path)
    whole = (world / "me.jpg").read_bytes()
    (bad / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name, length in (("heavy", 2_200_000), ("vast", 65_000_000)):  # sparse: quick to copy
        (bad / f"{name}.jpg").write_bytes(whole)
        os.truncate(bad / f"{name}.jpg", length)
    (bad / "text.jpg").write_text("no picture\n")
    (bad / "empty.jpg").touch()
    (bad / "page.jpg").write_text("<!DOCTYPE html><html></html>\n")
    (bad / "me.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    Image.new("RGB", (100, 100)).save(bad / "me.webp")
    Image.new("RGB", (100, 100)).save(bad / "me.gif")
    (bad / "me.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    header = b"IHDR" + struct.pack(">IIBBBBB", 65_536, 65_536, 8, 0, 0, 0, 0)
    (bad / "bomb.png").write_bytes(
        PNG_HEADER + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    )
    photo(world / "secret" / "me.jpg", seed=9)
    photo(world / "theirs.png", seed=3)
    os.symlink("gone", bad / "dangling.jpg")


def _texts(world: Path) -> None:
    texts = {
        "file.txt": "text\n",
        "list.txt": "me.jpg\n",
        "gone.txt": "gone.jpg\n",
        "long.txt": "a" * 200_000,
        "nul.txt": "me.jpg\0photos/a.jpg\0",
        "keys.txt": "one-key one-secret\n",
        "empty.txt": "",
        "lone.txt": "one-key\n",
        "twice.txt": "a-key a-secret\na-key another\n",
        "word.txt": "a-key a-secret fast\n",
        "half.env": "api_key=abc\n",
        "quote.env": 'api_key="abc\napi_secret=x\n',
        "number.json": '{"api_key": 5, "api_secret": "x"}',
        "broken.json": '{"api_key": ',
        "deep.json": '{"a": ' + "[" * 10_000,
        "accent.env": "api_key=ü\napi_secret=x\n",
        "good.toml": "qps = 3\n",
        "wrong.toml": "qps = 'fast'\n",
        "broken.toml": "qps = \n",
        "number.toml": "qps = " + "9" * 5000,
        "deep.toml": "qps = " + "[" * 5000,
        "slip.toml": "max_calls = 5\n",
        "other.toml": "zzzzzz = 5\n",
        "type.toml": "quiet = 'yes'\n",
        "digits.toml": "threads = " + "9" * 4000,
        "both.toml": "sync = true\nno-sync = true\n",
        "table.toml": "[segment]\nqps = 3\n",
        "place.toml": "port = 1\n",
        "place2.toml": "[serve]\nretries = 1\n",
        "profile.toml": "profile = 'a'\n",
        "profiles.toml": "[profile]\nqps = 1\n",
        "default.toml": "default-profile = 3\n[profile.a]\n",
        "night.toml": "[profile.night]\nqps = 2\n",
        "nul.toml": 'name = "a\\u0000b"\n',
        "edge.toml": "no-mask = true\nno-cutout = true\n",
        "pair.toml": "api-key = 'k'\napi-secret = 's'\n",
    }
    for name, text in texts.items():
        (world / name).write_text(text)
    (world / "latin.toml").write_bytes(b"qps = 1\nname = '\xff'\n")
    (world / "bytes.env").write_bytes(b"api_key=\xff\xfe\n")
    (world / "large.env").touch()
    os.truncate(world / "large.env", 2_000_000)
    (world / "nul.log").write_bytes(b"a\0b")
    (world / "nul.keys").write_bytes(b"a\xff\0b")


def _models(world: Path) -> None:
    mean_model(world / "mean.onnx", [1, 3, "h", "w"], 1)
    (world / "broken.onnx").write_bytes(b"no model")
    image: tuple[str, Shape] = ("x", [1, 3, "h", "w"])
    mean = ("ReduceMean", ["x"], "y", {"axes": [1]})
    out: tuple[str, Shape] = ("y", [1, 1, "h", "w"])
    write_model(world / "two.onnx", [image, ("z", image[1])], [mean], [out])
    write_model(world / "flat.onnx", [("x", [1, 7])], [mean], [("y", [1, 1])])
    write_model(world / "wide.onnx", [image], [("Identity", ["x"], "y", {})], [("y", image[1])])


def with_results(world: Path, out: Path) -> None:
    """Output folders in each state, from the results of one run."""
    for name in ("out", "damaged", "newer", "stopped", "foreign", "lost", "readonly"):
        shutil.copytree(out, world / name)
    journal = ".hbseg/journal.sqlite3"
    (world / "damaged" / journal).write_bytes(b"no journal at all" * 100)
    with closing(sqlite3.connect(world / "newer" / journal)) as db:
        db.execute("PRAGMA user_version=999")
    (world / "stopped" / journal).write_bytes(b"")
    (world / "foreign" / "report.html").write_text("mine\n")
    (world / "foreign" / "cutouts" / "a.png").write_bytes(PNG_HEADER + b"mine")
    shutil.rmtree(world / "lost" / "masks")
    (world / "blocked").mkdir()
    (world / "blocked" / ".hbseg").write_text("a file\n")


def shut(world: Path) -> None:
    """Take the rights from what nobody else may read or write."""
    for path in world.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    for path in (*world.glob("*.env"), *world.glob("*.json"), world / "empty.txt"):
        path.chmod(0o600)  # others may not read a key
    for name in ("locked", "locked.txt", "secret/me.jpg"):
        (world / name).chmod(0)
    for path in (world / "readonly", *(world / "readonly").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    world.chmod(0o777)
