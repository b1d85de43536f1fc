"""Rehearsal: each fault can be had, as often as asked for, and alike with one seed."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image
from server_fixture import (
    PORTRAIT,
    SAMPLES,
    decoded,
    is_bare,
    message,
    picture,
    running,
)
from waiting import until

from humanbody_cli.core import api_spec
from humanbody_cli.core.settings import LocalSettings
from humanbody_cli.embedded.engine import load_segmenter
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import read_header
from humanbody_cli.imaging.uploads import prepare
from humanbody_cli.server.config import FaultInjector, FaultPlan, parse_latency, parse_rates


def test_every_error_of_the_tables_can_be_injected() -> None:
    """Each of them meets 7 calls in 100, with its own status, bare where the gateway answers."""
    rows = {row.code: row for row in api_spec.ROWS}
    names = [name.replace("Request Entity Too Large", "413") for name in rows]
    with running("--inject", ",".join(f"{name}=0.07" for name in names), "--seed", "7") as server:
        met: dict[str, httpx.Response] = {}
        for _ in range(400):
            answer = server.form(return_grayscale="none")
            if answer.status_code == 413:
                met[api_spec.ENTITY_TOO_LARGE] = answer
            else:
                met[api_spec.split_message(message(answer))[0]] = answer
            if len(met) == len(rows):
                break
    assert set(met) == set(rows)
    for code, answer in met.items():
        assert answer.status_code == rows[code].http_status
        if code != api_spec.ENTITY_TOO_LARGE:
            assert is_bare(answer) == rows[code].bare


def test_reset() -> None:
    """The connection is reset without an answer."""
    with running("--inject", "reset=1") as server, pytest.raises(httpx.ReadError):
        server.post(image=PORTRAIT)


def test_html502() -> None:
    """A proxy's page, not JSON."""
    with running("--inject", "html502=1") as server:
        answer = server.post(image=PORTRAIT)
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
    assert "502 Bad Gateway" in answer.text


def test_hang() -> None:
    """No answer, until the client gives up; the server notices and can be stopped meanwhile."""
    with running("--inject", "hang=1") as server:
        fields = {"api_key": server.key, "api_secret": server.secret}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url, data=fields, timeout=0.3, trust_env=False)
        assert until(lambda: " 0 hang " in server.log.read_text())
        assert server.stop() == 0


def test_half() -> None:
    """The body breaks off before its announced length."""
    with running("--inject", "half=1") as server:
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            server.post(image=PORTRAIT)
        assert until(lambda: " 200 half " in server.log.read_text())


def test_garbage() -> None:
    """A 200 that is not JSON."""
    with running("--inject", "garbage=1") as server:
        answer = server.post(image=PORTRAIT)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r".+"):
        answer.json()


def test_wrong_size() -> None:
    """Sound images of another size than the photo's."""
    with running("--inject", "wrongsize=1") as server:
        answer = server.post(image=PORTRAIT)
    assert decoded(answer, "result").size == decoded(answer, "body_image").size == (256, 300)


def test_latency() -> None:
    """Every call takes that much longer, the engine's time aside."""
    with running("--latency", "0.3") as server:
        started = time.monotonic()
        assert server.post(image=picture()).status_code == 200
        assert time.monotonic() - started >= 0.3


def test_quota_option() -> None:
    """--qps holds for the key that was made."""
    with running("--qps", "2") as server:
        answers = [server.form() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [400, 400, 403, 403]


def test_wrong_keys_are_not_moody() -> None:
    """A call that does not come in meets no fault: a bad key is always told so."""
    with running("--inject", "INTERNAL_ERROR=1") as server:
        assert server.form(api_secret="wrong").status_code == 401
        assert server.form().status_code == 500


def test_made_keys_differ() -> None:
    """Each start without a keys file makes a pair of its own, said in the first line."""
    pairs = set()
    for _ in range(2):
        with running() as server:
            assert server.said[0] == f"api_key={server.key} api_secret={server.secret}"
            pairs.add((server.key, server.secret))
    assert len(pairs) == 2
    assert all(len(word) == 32 and word.isalnum() for pair in pairs for word in pair)


def test_rates_are_kept() -> None:
    """Over many calls each fault comes as often as its rate says."""
    dice = FaultInjector(FaultPlan(rates=(("reset", 0.1), ("hang", 0.05)), seed=1))
    met = [dice.fault() for _ in range(20_000)]
    assert met.count("reset") / len(met) == pytest.approx(0.1, abs=0.01)
    assert met.count("hang") / len(met) == pytest.approx(0.05, abs=0.01)


def test_one_seed_one_run() -> None:
    """The same seed gives the same faults and delays; another worker gives others."""

    def run(worker: int) -> list[object]:
        dice = FaultInjector(FaultPlan((0.1, 0.9), (("reset", 0.5),), seed=5), worker=worker)
        return [(dice.fault(), dice.delay()) for _ in range(50)]

    assert run(0) == run(0) != run(1)


def test_option_forms() -> None:
    """Both forms of latency; names of faults in any case, 413 by its number."""
    assert parse_latency("0.3") == (0.3, 0.3)
    assert parse_latency("0.2-0.8") == (0.2, 0.8)
    assert parse_rates("") == ()
    assert parse_rates("Reset=0.1, 413=0.2") == (("reset", 0.1), (api_spec.ENTITY_TOO_LARGE, 0.2))


def test_mask_is_the_embedded_engines() -> None:
    """Byte for byte the mask that the embedded engine makes of the same photo."""
    segmenter = load_segmenter(LocalSettings(threads=1))
    with running() as server:
        for path in sorted([*SAMPLES.rglob("*.jpg"), *SAMPLES.rglob("*.png")]):
            upload = prepare(read_header(path.read_bytes()), fit=False)
            image, _ = segmenter(upload.pixels())
            answer = server.post(image=upload.data)
            assert base64.b64decode(answer.json()["result"]) == Mask(image).png
            assert decoded(answer, "body_image").size == upload.size


def hbseg(out: Path, *options: str, **environment: str) -> dict[str, bytes]:
    """A run of the batch client over the sample photos: its masks by name."""
    done = subprocess.run(
        [sys.executable, "-m", "humanbody_cli", "segment", SAMPLES, "-o", out, *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    masks = out / "masks"
    return {str(path.relative_to(masks)): pixels(path) for path in masks.rglob("*.png")}


def pixels(path: Path) -> bytes:
    """A mask's pixels: the file itself also says which engine made it."""
    with Image.open(path) as mask:
        return mask.tobytes()


def test_client_gets_the_masks_of_the_embedded_engine(tmp_path: Path) -> None:
    """The batch client writes the same masks from this server and from --engine local."""
    local = hbseg(tmp_path / "local", "--engine", "local")
    with running() as server:
        pair = {"HBSEG_API_KEY": server.key, "HBSEG_API_SECRET": server.secret}
        options = ("--engine", "api", "--endpoint", server.endpoint, "--qps", "50")
        served = hbseg(tmp_path / "served", *options, **pair)
    assert served == local
    assert len(served) >= 6
